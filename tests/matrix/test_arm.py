"""Memory order on ARM, without one: what the kernels become there must hold the barriers.

x86 orders stores by itself, so a missing fence would never show on it. The same LLVM carries the
AArch64 back end; the IR of a fresh compilation is handed to it.
"""

import json
import subprocess
import sys

import pytest

from alephtx.core.kernel import JIT

CODE = """
import json
import numpy as np
from llvmlite import binding as llvm
from alephtx.core.records import SIGNAL_ROW, TOP_ROW
from alephtx.matrix import levels, ring, signals, spsc, tops, writers

TRIPLE = "aarch64-unknown-linux-gnu"
llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
machine = llvm.Target.from_triple(TRIPLE).create_target_machine(opt=2)


def on_arm(kernel, *arguments):
    kernel(*arguments)
    (text,) = kernel.inspect_llvm().values()
    # `pause` asks for the machine it is compiled on, and orders nothing.
    text = "\\n".join(line for line in text.splitlines() if "x86.sse2.pause" not in line)
    module = llvm.parse_assembly(text)
    module.triple = TRIPLE
    module.data_layout = str(machine.target_data)
    # Only the kernel itself: the reference counts around it have barriers of their own.
    name, body, inside = kernel.__name__, [], False
    for line in machine.emit_assembly(module).splitlines():
        if line.startswith("_ZN"):
            inside = line.startswith("_ZN7alephtx") and f"{len(name)}{name}" in line
        elif line.startswith("\\t") and inside:
            words = line.split()
            body.append(" ".join(words[:2]) if words[0] == "dmb" else words[0])
    return body


halt_word = np.zeros(1, np.int64)
halt = np.full(16, halt_word.ctypes.data, np.int64)
map_ = np.zeros(16, np.int64)  # no venues, no instruments: every call returns at once
row = np.zeros(1, TOP_ROW)
ring_ = spsc.Spsc(64, 4)
shown, waiting = np.zeros((2, 4, 2), np.int64), np.ones(1, np.int64)
signal = np.zeros(1, SIGNAL_ROW)
print(json.dumps({
    "top_publish": on_arm(tops.top_publish, map_, 0, 0, 0, 0, 0, 0, 0, 0),
    "top_read": on_arm(tops.top_read, map_, 0, row),
    "touch_read": on_arm(tops.touch_read, map_, 0),
    "ring_publish": on_arm(ring.ring_publish, map_, 0, 0, 0, 0, 0, 0, 0, 0),
    "ring_read": on_arm(ring.ring_read, map_, 0, 1, row),
    "ring_news": on_arm(ring.ring_news, map_, waiting, 0),
    "ring_head": on_arm(ring.ring_head, map_, 0),
    "levels_publish": on_arm(levels.levels_publish, map_, 0, shown, 1),
    "levels_read": on_arm(levels.levels_read, map_, 0, shown),
    "signal_publish": on_arm(signals.signal_publish, map_, 0, 1.0, 0, 0, 0, 0, 0),
    "signal_read": on_arm(signals.signal_read, map_, 0, signal),
    "top_flag": on_arm(tops.top_flag, map_, 0, 1, 0),
    "halt_read": on_arm(writers.halt_read, halt),
    "halt_set": on_arm(writers.halt_set, halt, 0),
    "beat": on_arm(writers.beat, map_, 0, 1),
    "last_beat": on_arm(writers.last_beat, map_, 0),
    "spsc_push": on_arm(spsc.spsc_push, ring_.address, row.ctypes.data),
    "spsc_pop": on_arm(spsc.spsc_pop, ring_.address, row.ctypes.data),
}))
"""


@pytest.mark.skipif(not JIT, reason="nothing is compiled")
def test_kernels_hold_their_barriers_on_arm(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        check=False,
        env={"ALEPHTX_CACHE": str(tmp_path), "HOME": str(tmp_path), "NUMBA_OPT": "0"},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    seqlocks = ("top_publish", "top_flag", "ring_publish", "levels_publish", "signal_publish")
    for writer in seqlocks:
        # odd, fence, payload, release
        assert "dmb ish" in found[writer], writer
        assert "stlr" in found[writer][found[writer].index("dmb ish") :], writer
    for reader in ("top_read", "touch_read", "ring_read", "levels_read", "signal_read"):
        # acquire, payload, fence, look again
        assert any(word in found[reader] for word in ("ldar", "ldapr")), reader
        assert "dmb ishld" in found[reader], reader
    for word in ("ring_news", "ring_head", "halt_read", "last_beat"):
        assert any(kind in found[word] for kind in ("ldar", "ldapr")), word
    for word in ("halt_set", "beat"):
        assert "stlr" in found[word], word
    for end in ("spsc_push", "spsc_pop"):
        assert any(word in found[end] for word in ("ldar", "ldapr")), end
        assert "stlr" in found[end], end
