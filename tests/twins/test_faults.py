"""Faults on command are seen by a client exactly as ordered, and counted."""

import asyncio
import json

import aiohttp
import pytest

from alephtx.twins.faults import FaultRefused, Faults, parse_fault
from tests.twins.clients import serving
from tests.twins.test_binance_rest import limit_order, signed
from tests.twins.test_binance_streams import receive, sign, socket

VENUE = "binance_usdm"


async def push(served, n):
    """Publish a numbered frame to the subscribers of the test's stream."""
    served.twins[VENUE].market_feed.publish("test@stream", b'{"n":%d}' % n)
    await asyncio.sleep(0)


async def market_link(served):
    ws = await socket(served, VENUE, "/public/ws/test@stream")
    await asyncio.sleep(0.05)
    return ws


async def numbers(ws, count):
    return [(await receive(ws, within=3))["n"] for _ in range(count)]


@pytest.mark.parametrize(
    ("kind", "count", "sent", "seen"),
    [
        ("gap", 2, 5, [2, 3, 4]),
        ("duplicate", 1, 3, [0, 0, 1, 2]),
        ("reorder", 1, 4, [1, 0, 2, 3]),
    ],
)
async def test_frame_fault_shapes_the_stream_as_ordered(kind, count, sent, seen):
    async with serving(VENUE) as served:
        ws = await market_link(served)
        assert (await served.fault(VENUE, kind=kind, count=count))[0] == 200
        for n in range(sent):
            await push(served, n)
        assert await numbers(ws, len(seen)) == seen
        stats = await served.ask(VENUE, "stats")
        assert stats["faults"] == {f"{kind}:market": count}
        await ws.close()


async def test_frame_that_is_to_change_places_with_nobody_goes_out_alone():
    async with serving(VENUE) as served:
        ws = await market_link(served)
        await served.fault(VENUE, kind="reorder")
        await push(served, 0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ws.receive(), 0.3)
        await ws.close()
        ws = await market_link(served)
        await served.fault(VENUE, kind="reorder")
        await push(served, 1)
        assert await numbers(ws, 1) == [1]
        await push(served, 2)
        assert await numbers(ws, 1) == [2], "once, and it swaps no later one"
        await ws.close()


async def test_match_narrows_a_fault_to_frames_with_that_text():
    async with serving(VENUE) as served:
        ws = await market_link(served)
        await served.fault(VENUE, kind="gap", match='"n":1')
        for n in range(3):
            await push(served, n)
        assert await numbers(ws, 2) == [0, 2]
        await ws.close()


async def test_stall_holds_frames_back_and_loses_none():
    async with serving(VENUE) as served:
        ws = await market_link(served)
        await served.fault(VENUE, kind="stall", duration_ms=400)
        for n in range(3):
            await push(served, n)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ws.receive(), 0.2)
        await ws.close()
        ws = await market_link(served)
        await asyncio.sleep(0.4)
        await push(served, 9)
        assert await numbers(ws, 1) == [9]
        await ws.close()


async def test_disconnect_cuts_the_market_links_only():
    async with serving(VENUE) as served:
        market = await market_link(served)
        trade = await socket(served, VENUE, "/ws-fapi/v1")
        await asyncio.sleep(0.05)
        status, body = await served.fault(VENUE, kind="disconnect", target="market")
        assert (status, json.loads(body)) == (200, {"links": 1})
        message = await asyncio.wait_for(market.receive(), 3)
        assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        await trade.send_json({"id": 1, "method": "ping"})
        assert (await receive(trade))["status"] == 200
        await trade.close()


async def test_slow_client_is_cut_and_the_others_go_on():
    async with serving(VENUE) as served:
        served.twins[VENUE].queue_max = 50
        ws = await market_link(served)
        await served.fault(VENUE, kind="stall", duration_ms=300)
        for n in range(60):
            await push(served, n)
        stats = await served.ask(VENUE, "stats")
        assert stats["counts"]["slow_clients_cut"] == 1
        again = await market_link(served)
        await asyncio.sleep(0.3)
        await push(served, 7)
        assert await numbers(again, 1) == [7]
        await ws.close()
        await again.close()


async def test_http_faults_answer_as_the_venue_would_and_pass():
    async with serving(VENUE) as served:
        url = served.url(VENUE, "/fapi/v1/time")
        await served.fault(VENUE, kind="429", target="http")
        await served.fault(VENUE, kind="5xx", target="http", status=502)
        statuses = []
        for _ in range(3):
            async with served.session.get(url) as answer:
                statuses.append(answer.status)
        assert statuses == [429, 502, 200]


async def test_ambiguous_order_is_accepted_and_its_answer_lost_on_both_transports():
    async with serving(VENUE) as served:
        await served.fault(VENUE, kind="ambiguous", target="http")
        order = limit_order(VENUE, newClientOrderId="lost-1")
        with pytest.raises(aiohttp.ClientError):
            await signed(served, VENUE, "POST", "/order", order)
        await served.fault(VENUE, kind="ambiguous", target="trade")
        ws = await socket(served, VENUE, "/ws-fapi/v1")
        params = sign(limit_order(VENUE, newClientOrderId="lost-2"))
        await ws.send_json({"id": 1, "method": "order.place", "params": params})
        assert (await asyncio.wait_for(ws.receive(), 3)).type is not aiohttp.WSMsgType.TEXT
        journal = await served.ask(VENUE, "journal")
        assert [row["client_id"] for row in journal] == ["lost-1", "lost-2"]
        which = {"symbol": "BTCUSDT", "origClientOrderId": "lost-1"}
        status, found = await signed(served, VENUE, "GET", "/order", which)
        assert (status, found["status"]) == (200, "NEW")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"kind": 7}',
        b'{"kind": "flood"}',
        b'{"kind": "gap", "target": "moon"}',
        b'{"kind": "gap", "count": 0}',
        b'{"kind": "stall"}',
        b'{"kind": "429", "target": "market"}',
        b'{"kind": "gap", "surprise": 1}',
        b'{"kind": "slow", "duration_ms": -1}',
    ],
)
def test_fault_that_makes_no_sense_is_refused_by_name(body):
    with pytest.raises(FaultRefused):
        parse_fault(body)


async def test_refused_fault_answers_400_and_changes_nothing():
    async with serving(VENUE) as served:
        status, text = await served.fault(VENUE, kind="flood")
        assert status == 400
        assert "known:" in text
        assert served.twins[VENUE].faults.quiet


def test_timed_fault_ends_by_itself():
    now = [0]
    faults = Faults(lambda: now[0])
    faults.order(parse_fault(b'{"kind": "slow", "duration_ms": 10, "delay_ms": 3}'))
    assert faults.delay_ns("market") == 3_000_000
    assert faults.delay_ns("http") == 0
    now[0] = 10_000_000
    assert faults.delay_ns("market") == 0
    assert faults.quiet
