"""The kill: cancels what is ours at every venue without an engine, and says so only when proven."""

import asyncio

import pytest

from alephtx.core import identity, words
from alephtx.engine import kill_door
from alephtx.engine.kill_words import KillReport
from alephtx.engine.killer import Killer
from alephtx.execution.killing import AccountReport
from tests.engine.killing import ENGINE, EPOCH_NUMBER, VENUES, standing

every_venue = pytest.mark.parametrize("venue", VENUES)


@pytest.mark.parametrize("exclusive", [True, False])
async def test_five_hundred_orders_over_four_venues_are_gone_and_that_is_proven(
    tmp_path, exclusive
):
    async with standing(tmp_path, exclusive=exclusive) as desk:
        for venue in VENUES:
            for _ in range(125):
                desk.rest(venue, desk.intend(venue))
        report = await desk.kill()
        assert [desk.open_at(venue) for venue in VENUES] == [[], [], [], []]
        assert report.confirmed, report.said
        assert report.live_orders == 0
        assert report.engine == "is not there"
        assert [account.cancels for account in report.accounts] == [125] * 4
        assert report.last_cancel_ns > 0
        requests = {account.venue: account.requests for account in report.accounts}
        ways = {"binance_usdm": 13, "binance_coinm": 13, "binance_spot": 125, "hyperliquid": 1}
        for venue, count in requests.items():
            symbols = len(desk.instruments.of_venue(venue))
            bulk = exclusive and venue != "hyperliquid"
            assert count == (symbols if bulk else ways[venue])
        assert kill_door.report_of(desk.run, "1") == report


@pytest.mark.parametrize("skew_ms", [-4_000, 8_000])
async def test_kill_needs_no_right_clock(tmp_path, skew_ms):
    async with standing(tmp_path, exclusive=False, skew_ms=skew_ms) as desk:
        for venue in VENUES:
            for _ in range(30):
                desk.rest(venue, desk.intend(venue))
        report = await desk.kill()
        assert [desk.open_at(venue) for venue in VENUES] == [[], [], [], []]
        assert report.confirmed, report.said


@every_venue
async def test_orders_of_others_on_a_shared_account_are_left_alone(tmp_path, venue):
    async with standing(tmp_path, venue, exclusive=False) as desk:
        desk.rest(venue, desk.intend(venue))
        other = identity.first_order_id(ENGINE + 1, EPOCH_NUMBER) + 1
        theirs = [desk.rest(venue).client_id, desk.rest(venue, other).client_id]
        report = await desk.kill()
        assert desk.open_at(venue) == theirs
        assert report.confirmed


@every_venue
async def test_orders_of_others_on_an_exclusive_account_go_too(tmp_path, venue):
    async with standing(tmp_path, venue) as desk:
        desk.rest(venue)
        desk.rest(venue, desk.intend(venue))
        report = await desk.kill()
        assert desk.open_at(venue) == []
        assert report.confirmed


@every_venue
async def test_order_of_ours_that_the_journal_lost_is_found_at_the_venue(tmp_path, venue):
    async with standing(tmp_path, venue, exclusive=False) as desk:
        desk.rest(venue, identity.first_order_id(ENGINE, EPOCH_NUMBER - 1) + 77)
        report = await desk.kill()
        assert desk.open_at(venue) == []
        assert report.confirmed


async def test_young_order_that_nobody_acknowledged_is_waited_for(tmp_path):
    """It may be on its way: an empty book proves nothing yet."""
    venue = "binance_usdm"
    async with standing(tmp_path, venue, exclusive=False) as desk:
        order_id = desk.intend(venue, age_s=4, proven=False)
        killing = asyncio.ensure_future(desk.kill(wait_s=20.0))
        await asyncio.sleep(0.7)
        assert not killing.done()
        desk.rest(venue, order_id)
        report = await killing
        assert desk.open_at(venue) == []
        assert report.confirmed
        assert report.took_ns > 1_500_000_000, "until it could not arrive any more"


async def test_old_order_that_nobody_acknowledged_is_not_waited_for(tmp_path):
    async with standing(tmp_path, "binance_usdm", exclusive=False) as desk:
        desk.intend("binance_usdm", age_s=7, proven=False)
        report = await desk.kill()
        assert report.confirmed
        assert report.took_ns < 3_000_000_000


@pytest.mark.parametrize("exclusive", [True, False])
async def test_cancels_that_fail_are_sent_again(tmp_path, exclusive):
    venue = "binance_usdm"
    async with standing(tmp_path, venue, exclusive=exclusive) as desk:
        desk.rest(venue, desk.intend(venue))
        path = "/fapi/v1/allOpenOrders" if exclusive else "/fapi/v1/batchOrders"
        for _ in range(2):
            await desk.served.fault(venue, kind="5xx", target="http", match=path)
        report = await desk.kill()
        assert desk.open_at(venue) == []
        assert report.confirmed
        assert report.accounts[0].error == ""


async def test_venue_that_does_not_answer_is_named_and_nothing_is_claimed(tmp_path):
    async with standing(tmp_path, "binance_usdm", "hyperliquid") as desk:
        for venue in ("binance_usdm", "hyperliquid"):
            desk.rest(venue, desk.intend(venue))
        for _ in range(200):
            await desk.served.fault("binance_usdm", kind="5xx", target="http")
        report = await desk.kill(wait_s=2.0)
        assert not report.confirmed
        assert report.said.startswith("not confirmed at binance_usdm")
        assert report.live_orders != 0
        assert desk.open_at("hyperliquid") == [], "the other venue does not wait for it"


async def test_account_whose_key_is_gone_is_named_and_spares_no_other(tmp_path):
    async with standing(tmp_path, "binance_spot", "binance_usdm") as desk:
        for venue in ("binance_spot", "binance_usdm"):
            desk.rest(venue, desk.intend(venue))
        text = desk.run.config.read_text()
        account = text.index("[accounts.binance_spot]")
        text = text[:account] + text[account:].replace('"twin:key"', '"file:/no/such/key"', 1)
        desk.run.config.write_text(text)
        report = await desk.kill(wait_s=1.0)
        assert desk.open_at("binance_usdm") == []
        assert not report.confirmed
        assert report.said.startswith("not confirmed at binance_spot")
        assert report.live_orders == -1
        assert "/no/such/key" in report.accounts[-1].error


async def test_journal_that_is_damaged_stops_no_kill(tmp_path, capfd):
    """What it does not tell, the venue does."""
    venue = "binance_usdm"
    async with standing(tmp_path, venue, exclusive=False) as desk:
        for _ in range(3):
            desk.rest(venue, desk.intend(venue))
        desk.journal.sync()
        (segment,) = desk.run.journal.glob("*.seg")
        data = bytearray(segment.read_bytes())
        data[:64] = bytes(64)
        segment.write_bytes(data)
        report = await desk.kill(flatten=True)
        assert desk.open_at(venue) == []
        assert report.confirmed
        assert report.flat is False, "nobody knows what is ours"
        killer = Killer(desk.run)
        killer.follow()
        killer.follow()
        assert capfd.readouterr().err.count("journal_not_followed") == 2, "once for each killer"
        await killer.close()


async def test_run_without_a_journal_is_killed_by_the_venues_word(tmp_path):
    venue = "binance_usdm"
    async with standing(tmp_path, venue, exclusive=False) as desk:
        desk.rest(venue, desk.intend(venue))
        for segment in desk.run.journal.glob("*.seg"):
            segment.unlink()
        report = await desk.kill()
        assert desk.open_at(venue) == []
        assert report.confirmed


async def test_garbage_is_not_collected_while_a_kill_is_under_way(tmp_path):
    """A pause then is a pause of the last cancel."""
    async with standing(tmp_path, "binance_usdm") as desk:
        killer = Killer(desk.run)
        assert killer._idle()
        kill_door.ask(desk.run, "test", "file")
        request = kill_door.take(desk.run)
        assert request is not None
        assert not killer._idle()
        await killer.close()


# -- flattening ----------------------------------------------------------------------------

CONTRACTS = ("binance_usdm", "binance_coinm", "hyperliquid")


@pytest.mark.parametrize("venue", CONTRACTS)
@pytest.mark.parametrize("side", [words.BUY, words.SELL])
async def test_contracts_are_closed_with_orders_that_only_reduce(tmp_path, venue, side):
    async with standing(tmp_path, venue) as desk:
        lots = 30 if venue == "binance_coinm" else 20
        desk.fill(venue, lots * desk.exchange(venue).by_symbol[
            desk.instruments[0].symbol].lot, side)  # fmt: skip
        assert desk.position(venue) * side > 0
        before = len(desk.exchange(venue).journal)
        report = await desk.kill(flatten=True)
        assert desk.position(venue) == 0
        assert (report.confirmed, report.flat) == (True, True), report
        placed = [r for r in list(desk.exchange(venue).journal)[before:] if r["kind"] == "ACCEPTED"]
        orders = [desk.exchange(venue).orders[row["order_id"]] for row in placed]
        assert orders
        assert all(order.reduce_only and order.side == -side for order in orders)
        read = identity.from_cloid if venue == "hyperliquid" else identity.from_text
        ids = [read(order.client_id) for order in orders]
        assert all(identity.is_killers(order_id) for order_id in ids)
        recorded = (desk.run.path / "kill" / "orders.jsonl").read_text()
        assert all(str(order_id) in recorded for order_id in ids)


async def test_spot_gives_back_what_our_fills_bought_and_no_more(tmp_path):
    venue = "binance_spot"
    async with standing(tmp_path, venue) as desk:
        owned = desk.exchange(venue).accounts[0].total["BTC"]
        desk.fill(venue, 1000 * desk.exchange(venue).by_symbol["BTCUSDT"].lot)
        assert desk.exchange(venue).accounts[0].total["BTC"] > owned
        report = await desk.kill(flatten=True)
        assert report.flat, report
        left = desk.exchange(venue).accounts[0].total["BTC"] - owned
        bought = 1000 * desk.instruments[0].lot_size
        assert abs(left) <= bought / 500, "what its fees took, in base on both ways"


async def test_flattening_waits_for_the_proof_that_nothing_is_open(tmp_path):
    """An order that may still fill would open what was just closed."""
    venue = "binance_usdm"
    async with standing(tmp_path, venue) as desk:
        desk.fill(venue, 10)
        held = desk.position(venue)
        desk.intend(venue, age_s=0, proven=False)
        report = await desk.kill(flatten=True, wait_s=1.0)
        assert desk.position(venue) == held
        assert report.flat is False
        assert "orders may be open" in report.said


async def test_flatten_order_whose_answer_is_lost_is_not_sent_again(tmp_path):
    venue = "binance_usdm"
    async with standing(tmp_path, venue) as desk:
        desk.fill(venue, 10)
        before = len(desk.exchange(venue).orders)
        await desk.served.fault(venue, kind="ambiguous", target="http", match="/fapi/v1/order")
        report = await desk.kill(flatten=True)
        assert desk.position(venue) == 0
        assert report.flat
        assert len(desk.exchange(venue).orders) == before + 1


@pytest.mark.parametrize("mode", ["live", "paper"])
async def test_judgement_of_every_outcome(tmp_path, mode):
    async with standing(tmp_path, "binance_usdm") as desk:
        killer = Killer(desk.run)
        try:
            for given, want in JUDGED[mode]:
                accounts = [AccountReport(f"a{k}", "v", **a) for k, a in enumerate(given[0])]
                report = KillReport(
                    "run", desk.request(flatten=given[1]), halted=given[2], engine=given[3],
                    accounts=accounts,
                )  # fmt: skip
                said = killer._judge(report)
                assert (report.confirmed, report.live_orders, report.flat, said) == want, given
        finally:
            await killer.close()


GONE = {"confirmed": True}
HALTED = "halted, no order is open"
BACK = "was hung, and was started again"
JUDGED = {
    "live": [  # accounts, flatten, halted, engine -> confirmed, live orders, flat, said
        (([GONE, GONE], False, True, ""), (True, 0, None, HALTED)),
        (([GONE], False, False, ""), (True, 0, None, "no order is open")),
        (([GONE], False, True, "is not there"),
         (True, 0, None, f"{HALTED}; its engine is not there")),
        (([GONE, {"open": ["x", "y"], "unproven": 3}, {"open": ["z"]}], False, True, ""),
         (False, 6, None, "not confirmed at a1, a2: orders may be open")),
        (([GONE, {"open": ["x"], "error": "silent"}], False, True, ""),
         (False, -1, None, "not confirmed at a1: orders may be open")),
        (([GONE | {"error": "was slow"}, {"open": ["x"]}], False, True, ""),
         (False, 1, None, "not confirmed at a1: orders may be open")),
        (([GONE | {"flat": True}] * 2, True, True, ""),
         (True, 0, True, f"{HALTED}, positions are closed")),
        (([GONE | {"flat": True}, GONE | {"flat": False}], True, True, ""),
         (True, 0, False, f"{HALTED}, positions are left")),
        (([GONE | {"flat": True}, {"flat": False}], True, True, ""),
         (False, 0, False, "not confirmed at a1: orders may be open")),
    ],
    "paper": [
        (([], False, True, ""), (True, 0, None, HALTED)),
        (([], False, True, BACK), (True, 0, None, HALTED)),
        (([], False, True, "is not there"),
         (True, 0, None, "nobody runs it, and its orders were simulated")),
        (([], False, True, "hung and was ended"),
         (False, 0, None, "its engine hung and was ended")),
    ],
}  # fmt: skip


async def test_shared_position_is_closed_as_far_as_it_is_ours(tmp_path):
    venue = "binance_usdm"
    async with standing(tmp_path, venue, exclusive=False) as desk:
        desk.fill(venue, 10)
        ours = desk.position(venue)
        desk.rest(venue, qty=7, side=words.BUY, **desk.taking(venue, words.BUY))  # by hand
        assert desk.position(venue) == ours + 7
        report = await desk.kill(flatten=True)
        assert (report.confirmed, report.flat) == (True, True), report
        assert desk.position(venue) == 7
