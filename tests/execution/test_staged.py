"""Plain orders leave at once, as the venue's compiled stages write them, and nothing else changes.

The gateway is the real one with a real codec; the wire keeps what was sent, and time is moved.
"""

import asyncio

import msgspec
import numpy as np
import pytest

from alephtx.core import words
from alephtx.core.clock import ManualClock
from alephtx.core.errors import ConfigError
from alephtx.core.identity import first_order_id
from alephtx.core.records import INTENT
from alephtx.core.secrets import Secret
from alephtx.execution.gateway import Gateway
from alephtx.execution.outbox import KEPT_FOR_CANCELS
from alephtx.execution.staged import Staged, Writer
from alephtx.net.buckets import Buckets
from alephtx.signers.evm import EvmSigner
from tests.execution.toy import ToyWire
from tests.venues import binance_golden, hyperliquid_golden

ENGINE = 3
FIRST = first_order_id(ENGINE, 1)
MS, SECOND = 1_000_000, 1_000_000_000
PLACE = {
    "op": words.PLACE, "type": words.LIMIT, "tif": words.GTC, "side": words.BUY,
    "price": 6_180_010, "qty": 1_000,
}  # fmt: skip
HYPER = {**PLACE, "price": 1_050_550, "qty": 123}
UNSAYABLE = {"flags": words.POST_ONLY, "tif": words.IOC}
VENUES = ("spot", "usdm", "hyperliquid")


def codec_of(venue):
    """A codec bound anew, with a signer, and the index of an instrument of its."""
    if venue == "hyperliquid":
        return hyperliquid_golden.codec(), 0
    made = binance_golden.codec(venue)
    return made, binance_golden.instruments().of_venue(made.spec.name)[0]


class Wire(ToyWire):
    """Takes from real budgets; what would wait for one never gets it."""

    def __init__(self, codec, clock):
        super().__init__()
        self.clock = clock
        self.buckets = Buckets(codec.spec.buckets, clock)

    async def take(self, request, *, urgent):
        await self.buckets.take(request.weights, cancel=urgent)


class Desk:
    """A gateway whose links are up. said: what told the ring; left: (op, order) that left."""

    def __init__(self, venue, *, stages=True, codec=None):
        self.clock = ManualClock()
        self.codec, self.instrument = (codec, 0) if codec is not None else codec_of(venue)
        self.plain = HYPER if venue == "hyperliquid" else PLACE
        self.wire = Wire(self.codec, self.clock)
        self.ring, self.failures, self.left = [], [], []
        self.gateway = Gateway(
            0, self.codec, self.wire, self.clock, self._push, traded=[self.instrument],
            engine=ENGINE, on_failed=self.failures.append,
            on_sent=lambda op, order_id, ns: self.left.append((op, order_id - FIRST)),
        )  # fmt: skip
        self.outbox = self.gateway.outbox
        if stages:
            self.outbox.write_with(Writer(Staged("main", self.codec, self.wire.buckets)))

    def _push(self, rows):
        self.ring.append((int(rows["kind"][0]), int(rows["order_id"][0]) - FIRST))
        return True

    def rows(self, *fields):
        """INTENT rows, each of the fields that are not as in PLACE; n: which order of ours."""
        made = np.zeros(len(fields), INTENT)
        for k, own in enumerate(fields):
            cancels = own.get("op") == words.CANCEL
            named = {"target_order_id" if cancels else "order_id": FIRST + own["n"]}
            plain = {"op": words.CANCEL} if cancels else self.plain
            for name, value in {"instrument": self.instrument, **plain, **own, **named}.items():
                if name != "n":
                    made[name][k] = value
        return made

    def submit(self, *fields):
        self.gateway.submit(self.rows(*fields))

    async def turns(self, condition, seconds=20):
        """Let the loop turn; how long an order may wait for its budget is the loop's own time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not condition():
            assert loop.time() < deadline, f"it never came to it: {self.ring}"
            await self.clock.sleep(0)


def cancel(n):
    return {"op": words.CANCEL, "n": n}


@pytest.fixture(params=VENUES)
def desk(request):
    made = Desk(request.param)
    yield made
    assert made.failures == []


@pytest.fixture
def usdm():
    made = Desk("usdm")
    yield made
    assert made.failures == []


def nonce_in(venue, frame):
    said = msgspec.json.decode(frame)
    if venue == "hyperliquid":
        return said["id"]
    return int(said["id"].split("-")[1]) if "-" in said["id"] else 0


@pytest.mark.kernel
@pytest.mark.parametrize("venue", VENUES)
async def test_what_leaves_at_once_is_what_encode_makes_byte_for_byte(venue):
    desk = Desk(venue)
    sides = [{"side": side, "tif": tif} for side in (1, -1) for tif in (words.GTC, words.IOC)]
    given = [{**fields, "n": n} for n, fields in enumerate(sides)]
    given.append({"n": 5, "flags": words.POST_ONLY})
    given += [cancel(n) for n in range(3)]
    for fields in given:
        desk.submit(fields)
        desk.clock.now_ns += 7 * MS
    assert len(desk.wire.sent) == len(given), "all of it was sent before anybody waited"
    for k, (fields, frame) in enumerate(zip(given, desk.wire.sent, strict=True)):
        at = desk.clock.start_ns + k * 7 * MS
        (request,) = codec_of(venue)[0].encode(desk.rows(fields), at, nonce_in(venue, frame))
        assert frame == request.body.decode()
    assert desk.left == [(f.get("op", words.PLACE), f["n"]) for f in given]
    await desk.gateway.close()


async def test_orders_of_one_call_are_one_request_where_the_venue_has_such(desk):
    desk.submit(*({"n": n} for n in range(18)))
    assert [n for _, n in desk.left] == list(range(18))
    per_request = desk.outbox.writer.rows_max
    assert len(desk.wire.sent) == -(-18 // per_request)
    assert [n for kind, n in desk.ring if kind == words.SENT] == list(range(18))
    assert set(desk.gateway.live) == {FIRST + n for n in range(18)}
    await desk.gateway.close()


async def test_no_number_is_used_twice_whoever_writes_the_request(desk):
    """Half of the cancels are written by Python, from the same count."""
    desk.submit(*({"n": n} for n in range(4)))
    writer = desk.outbox.writer
    for n in range(4):
        desk.outbox.writer = writer if n % 2 else None
        desk.submit(cancel(n))
        await desk.turns(lambda n=n: (words.CANCEL, n) in desk.left)
    ids = [msgspec.json.decode(frame)["id"] for frame in desk.wire.sent]
    numbers = [nonce_in("hyperliquid" if "nonce" in frame else "", frame)
               for frame in desk.wire.sent[-4:]]  # fmt: skip
    assert len(set(ids)) == len(ids)
    assert numbers == sorted(set(numbers))
    await desk.gateway.close()


async def test_link_that_is_down_refuses_the_order_and_keeps_the_cancel(desk):
    desk.submit({"n": 1})
    desk.wire.up = False
    desk.submit({"n": 2})
    desk.submit(cancel(1))
    assert desk.ring == [(words.SENT, 1), (words.REJECT, 2)]
    assert desk.left == [(words.PLACE, 1)]
    assert not [key for key in desk.outbox._pending if str(2) == key], "no answer is awaited"
    desk.wire.up = True
    desk.outbox.link_up()
    await desk.turns(lambda: (words.CANCEL, 1) in desk.left)
    assert len(desk.wire.sent) == 2
    await desk.gateway.close()


async def test_what_left_before_the_link_broke_is_in_doubt_and_never_sent_again(usdm):
    usdm.submit({"n": 1}, {"n": 2})
    usdm.outbox.link_lost("cut")
    kinds = [kind for kind, _ in usdm.ring]
    assert kinds == [words.SENT, words.SENT, words.AMBIGUOUS, words.AMBIGUOUS]
    assert usdm.outbox.counts == {"sent": 2, "rejected": 0, "ambiguous": 2}
    assert sum('"id":"p' in frame for frame in usdm.wire.sent) == 2
    await usdm.gateway.close()


async def test_order_without_budget_waits_and_nothing_overtakes_it(usdm):
    spent = usdm.codec.order_stages().costs[words.PLACE]
    while not usdm.wire.buckets.try_take(spent):
        pass
    usdm.submit({"n": 1}, {"n": 2})
    assert usdm.wire.sent == []
    usdm.clock.now_ns += 200 * MS
    usdm.submit({"n": 3})
    assert usdm.wire.sent == [], "it would have the budget now"
    await usdm.turns(lambda: len(usdm.ring) == 3)
    assert usdm.left == [(words.PLACE, n) for n in (1, 2, 3)], "and each of them once"
    await usdm.gateway.close()


async def test_cancel_uses_the_share_that_is_kept_for_cancels(usdm):
    usdm.submit({"n": 1})
    spent = usdm.codec.order_stages().costs[words.PLACE]
    while not usdm.wire.buckets.try_take(spent):
        pass
    usdm.submit(cancel(1))
    assert usdm.left == [(words.PLACE, 1), (words.CANCEL, 1)]
    await usdm.gateway.close()


async def test_halt_lets_cancels_through_and_no_order(desk):
    desk.submit({"n": 1})
    desk.outbox.halted = lambda: True
    desk.submit({"n": 2})
    desk.submit(cancel(1))
    await desk.turns(lambda: (words.REJECT, 2) in desk.ring)
    await desk.turns(lambda: (words.CANCEL, 1) in desk.left)
    assert (words.PLACE, 2) not in desk.left
    assert len(desk.wire.sent) == 2
    await desk.gateway.close()


async def test_row_without_words_spoils_no_other_and_is_refused_with_its_reason(desk):
    desk.submit({"n": 1}, {"n": 2, **UNSAYABLE}, {"n": 3})
    await desk.turns(lambda: (words.SENT, 3) in desk.ring)
    assert sorted(desk.ring) == sorted([(words.SENT, 1), (words.REJECT, 2), (words.SENT, 3)])
    assert len(desk.wire.sent) == 2
    await desk.gateway.close()


async def test_order_that_is_cancelled_in_the_same_call_is_never_sent(desk):
    desk.submit({"n": 1}, {"n": 2}, cancel(1))
    await desk.turns(lambda: (words.REJECT, 1) in desk.ring)
    await desk.turns(lambda: (words.SENT, 2) in desk.ring)
    assert desk.left == [(words.PLACE, 2)]
    await desk.gateway.close()


async def test_order_taken_back_while_its_request_waits_is_cancelled_when_others_take_it_along():
    desk = Desk("hyperliquid", stages=False)
    desk.submit({"n": 1}, {"n": 2})
    desk.submit(cancel(1))
    await desk.turns(lambda: (words.CANCEL, 1) in desk.left)
    assert desk.left == [(words.PLACE, 1), (words.PLACE, 2), (words.CANCEL, 1)]
    await desk.gateway.close()


async def test_next_cancel_of_an_order_waits_after_a_refused_one(usdm):
    usdm.submit({"n": 1})
    order = usdm.gateway.live[FIRST + 1]
    order.cancel_at_ns = usdm.clock.monotonic() + SECOND
    usdm.submit(cancel(1))
    assert usdm.left == [(words.PLACE, 1)]
    begun = usdm.clock.monotonic()
    await usdm.turns(lambda: len(usdm.left) == 2)
    assert usdm.clock.monotonic() - begun >= SECOND
    await usdm.gateway.close()


async def test_venue_that_owes_many_answers_gets_no_order_and_cancels_still():
    desk = Desk("hyperliquid")
    most = desk.codec.spec.inflight_max
    for n in range(most - KEPT_FOR_CANCELS):
        desk.submit({"n": n})
    sent = len(desk.wire.sent)
    desk.submit({"n": most})
    assert len(desk.wire.sent) == sent == most - KEPT_FOR_CANCELS
    await desk.turns(lambda: (words.REJECT, most) in desk.ring)
    desk.submit(cancel(0))
    assert desk.left[-1] == (words.CANCEL, 0)
    await desk.gateway.close()


async def test_amend_goes_its_way_and_a_cancel_does_not_overtake_it(usdm):
    usdm.submit({"n": 1})
    row = {"op": words.AMEND, "n": 0, "target_order_id": FIRST + 1, "price": 6_180_020}
    usdm.submit(row, cancel(1))
    await usdm.turns(lambda: len(usdm.left) == 3)
    assert [op for op, _ in usdm.left] == [words.PLACE, words.AMEND, words.CANCEL]
    await usdm.gateway.close()


async def test_nonces_that_an_account_asks_for_are_prepared_and_used():
    signer = EvmSigner(Secret(hyperliquid_golden.KEY), 6)
    desk = Desk("hyperliquid", codec=hyperliquid_golden.codec(signer=signer))
    await desk.gateway.start()
    await desk.turns(lambda: signer.pool.ready == 6)
    desk.submit({"n": 1}, {"n": 2, "side": -1})
    desk.submit(cancel(1))
    assert (len(desk.wire.sent), signer.pool.drawn, signer.pool.missed) == (2, 2, 0)
    await desk.gateway.close()


async def test_answer_to_what_left_at_once_settles_it(usdm):
    usdm.submit({"n": 1})
    key = msgspec.json.decode(usdm.wire.sent[0])["id"]
    refusal = {"id": key, "status": 400, "error": {"code": -2019, "msg": "Margin is insufficient."}}
    usdm.gateway.on_frame("trade", msgspec.json.encode(refusal), usdm.clock.now())
    assert usdm.ring == [(words.SENT, 1), (words.REJECT, 1)]
    assert usdm.outbox._pending == {}
    await usdm.gateway.close()


def test_venue_without_stages_is_named_with_the_remedy():
    codec, _ = codec_of("coinm")
    with pytest.raises(ConfigError, match="account main: binance_coinm has no compiled order"):
        Staged("main", codec, Buckets(codec.spec.buckets, ManualClock()))
