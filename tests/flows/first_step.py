"""An engine's process as its supervisor starts it, up to its loop's first step; then it ends.

python first_step.py RUN MATRIX SUPERVISOR: prints {"ns": CLOCK_MONOTONIC when the loop had stepped,
"processor_s": what this process had used by then, "modules": names of all it had imported}
"""

import functools
import json
import os
import resource
import sys
import time

from alephtx.engine import main as engine
from alephtx.engine.loop import Loop


class Watched(Loop):
    """A loop whose first step is the process's last."""

    def start(self):
        """Start the thread, wait until it has stepped, tell, end."""
        super().start()
        mono, first = self.ctx.now[3:4], 0
        while first == 0 or mono[0] == first:
            first = first or int(mono[0])
            time.sleep(0.000_1)
        used = resource.getrusage(resource.RUSAGE_SELF)
        told = {
            "ns": time.monotonic_ns(),
            "processor_s": used.ru_utime + used.ru_stime,
            "modules": sorted(sys.modules),
        }
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    engine.Host = functools.partial(engine.Host, drive=Watched)
    sys.exit(engine.main(sys.argv[1:]))
