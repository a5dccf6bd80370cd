"""hftbacktest from a file, as its documentation shows: one run in a process of its own.

    .peers/hft/bin/python bench/lib/peer_hft_file.py write ROWS.npy FILE.npz FEW.npz
    .peers/hft/bin/python bench/lib/peer_hft_file.py run FILE.npz FEW.npz COUNT

FEW.npz: the first rows, on which it compiles before the clock starts.
"""

import json
import sys

import numpy as np
from peer_hft import run_maker
from peer_rows import events_of
from rounds import peak_mib


def main():
    """Write or run; see the module."""
    if sys.argv[1] == "write":
        events = events_of(np.load(sys.argv[2]))
        np.savez(sys.argv[3], data=events)
        np.savez(sys.argv[4], data=events[:3_000])
        return
    run_maker(sys.argv[3])
    seconds, told = run_maker(sys.argv[2])
    answer = {"ns": seconds / int(sys.argv[4]) * 1e9, "told": told, "peak_mib": peak_mib()}
    sys.stdout.write(json.dumps(answer) + "\n")


main()
