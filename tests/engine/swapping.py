"""Versions of the quoter for tests of swaps, and an engine on a table that swaps them."""

import re
from pathlib import Path

import numpy as np

from alephtx.engine import context as c
from alephtx.engine.assemble import data_of, entry_columns
from alephtx.engine.swap_canary import Beside
from alephtx.engine.swap_load import afresh, load_version, make_switch, transfer_of
from tests.engine.bench import QUOTER, Bench

TEXT = Path(QUOTER).read_text()
STATE = """STATE = np.dtype(
    [("tops", "i8"), ("gaps", "i8"), ("lapped", "i8"), ("updates", "i8"), ("timers", "i8"),
     ("started", "i8"), ("stopped", "i8"), ("last_kind", "i8")]
)  # fmt: skip
"""
WIDER = """STATE = np.dtype([("seen", "i8"), ("tops", "i8"), ("odd", "u1")])
def migrate(old_state, new_state):
    if old_state[0]["tops"] > 1000:
        return -1
    new_state[0]["seen"] = old_state[0]["tops"]
    new_state[0]["tops"] = old_state[0]["tops"]
    return 0
"""
TOP = '    state[0]["tops"] += 1\n'


def changed(*changes, text=TEXT):
    """Return the quoter's text with (old, new) passages changed; each must be there."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def sparse(text):
    """Return a text that passes over what only the first STATE has."""
    gone = r'^( +)state\[0\]\["(gaps|lapped|updates|timers|started|stopped|last_kind)"\].*$'
    return re.sub(gone, r"\1pass", text, flags=re.MULTILINE)


DOUBLE = changed((TOP, '    state[0]["tops"] += 2\n'))
FAILING = changed((TOP, TOP + "    return -7\n"))
WILD = changed((TOP, TOP + "    return 65\n"))
GREEDY = changed(('params[0]["qty"]\n', "10**9\n"), ('view.open_count[0] >= params[0]["live_max"]',
                                                     "view.open_count[0] < 0"))  # fmt: skip
OTHER_STATE = sparse(changed((STATE, WIDER)))
UNMIGRATED = sparse(changed((STATE, 'STATE = np.dtype([("tops", "i8"), ("seen", "i4")])\n')))


class Swapping(Bench):
    """A bench whose strategy can be exchanged by hand, a step at a time."""

    def load(self, text, name="new"):
        file = self.folder / f"{name}.py"
        file.write_text(text)
        return load_version(self.config, self.instruments, self.ctx, self.running, str(file))

    @property
    def running(self):
        return self.engine.strategies[0]

    def at(self, column):
        return int(self.ctx.strategies[0, column : column + 1].ctypes.data)

    def serve(self, words):
        """Let the loop do a switch; its outcome."""
        row = np.zeros(8, np.int64)
        row[:3] = c.COMMAND_SWAP, words.ctypes.data, len(words)
        assert self.engine.rings.commands.push(row)
        self.step(0)
        return int(words[0])

    def canary(self, new):
        self.trial = afresh(self.ctx, new)
        beside = Beside(self.ctx, 0, self.trial)
        transfer = transfer_of(self.running, self.trial)
        words = make_switch(
            {self.at(c.S_CANARY): beside.address},
            transfer=transfer, old=self.running, new=self.trial,
        )  # fmt: skip
        return beside, self.serve(words)

    def exchange(self, new, record=b"{}", *, transfer=True):
        old = self.running
        payload = np.frombuffer(record, np.uint8).copy()
        stores = {self.at(column): int(value) for column, value in entry_columns(new).items()}
        at = int(self.ctx.data[0].ctypes.data)
        stores |= {at + 8 * k: int(word) for k, word in enumerate(data_of(new))}
        words = make_switch(
            stores, record=payload, transfer=transfer_of(old, new) if transfer else None,
            old=old, new=new,
        )  # fmt: skip
        outcome = self.serve(words)
        if outcome == 1:
            self.engine.strategies[0] = new
        return outcome
