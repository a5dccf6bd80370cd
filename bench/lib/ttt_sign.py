"""What one signature of the library costs, on a core: prints ns, the median of many.

python ttt_sign.py CORE
"""

import os
import statistics
import sys
import time

import coincurve

TIMES = 400


def main() -> None:
    """Sign digests, one after the other."""
    os.sched_setaffinity(0, {int(sys.argv[1])})
    key = coincurve.PrivateKey(b"\x01" * 32)
    took = []
    for n in range(TIMES):
        digest = n.to_bytes(32, "big")
        begun = time.perf_counter_ns()
        key.sign_recoverable(digest, hasher=None)
        took.append(time.perf_counter_ns() - begun)
    sys.stdout.write(f"{statistics.median(took):.0f}\n")


if __name__ == "__main__":
    main()
