"""The Hyperliquid twin's socket: through the venue's SDK, and frame by frame."""

import asyncio
import queue

import pytest

from tests.twins.clients import replaying, serving
from tests.twins.hyperliquid_clients import (
    ME,
    VENUE,
    WALLET,
    act,
    book_frame,
    feed,
    info,
    order,
    orders,
    place,
    sdk_streams,
    signed,
    socket,
    trade_frame,
)


def _watch_day(served, loop):
    """Subscribe to everything through the SDK, let the loop trade, return what came by channel."""
    inbox = queue.Queue()
    wanted = [{"type": kind, "coin": "BTC"} for kind in ("l2Book", "bbo", "trades")]
    wanted += [{"type": "activeAssetCtx", "coin": "BTC"}, {"type": "allMids"}]
    kinds = ("orderUpdates", "userEvents", "userFills", "userFundings")
    wanted += [{"type": kind, "user": WALLET.address} for kind in kinds]
    seen = {}

    def until(channel, count):
        while len(seen.get(channel, [])) < count:
            message = inbox.get(timeout=5)
            seen.setdefault(message["channel"], []).append(message["data"])

    with sdk_streams(served) as desk:
        for subscription in wanted:
            desk.subscribe(subscription, inbox.put)
        for channel in ("l2Book", "bbo", "activeAssetCtx", "allMids", "userFills", "userFundings"):
            until(channel, 1)
        taken = asyncio.run_coroutine_threadsafe(
            place(served, order("105056", "0.02", tif="Ioc")), loop
        ).result(5)
        until("orderUpdates", 2)
        until("userFills", 2)
        until("user", 1)
        return seen, taken


@pytest.mark.smoke
async def test_sdk_streams_tell_of_books_orders_fills_and_events():
    async with serving(VENUE) as served:
        loop = asyncio.get_running_loop()
        seen, (taken,) = await served.call(_watch_day, served, loop)
        assert seen["l2Book"][0]["levels"][0][0]["px"] == "105055.0"
        assert seen["bbo"][0]["bbo"][1] == {"px": "105056.0", "sz": "6.34472", "n": 13}
        assert seen["allMids"][0] == {"mids": {"BTC": "105055.5"}}
        assert seen["activeAssetCtx"][0]["ctx"]["markPx"] == "105055.5"
        snapshot, live = seen["userFills"][:2]
        assert (snapshot["isSnapshot"], snapshot["fills"]) == (True, [])
        assert "isSnapshot" not in live
        assert live["fills"][0]["oid"] == taken["filled"]["oid"]
        assert seen["user"][0] == {"fills": live["fills"]}
        assert [update[0]["status"] for update in seen["orderUpdates"]] == ["open", "filled"]
        assert seen["userFundings"][0]["isSnapshot"] is True


async def test_replay_publishes_recorded_books_with_times_of_now():
    async with serving(VENUE, start_at_ns=replaying(), speed=20.0) as served, socket(served) as ws:
        await ws.subscribe(type="l2Book", coin="BTC")
        await ws.subscribe(type="trades", coin="BTC")
        twin, times = served.twins[VENUE], []
        for _ in range(6):
            book = await ws.until("l2Book")
            times.append(book["time"])
            assert len(book["levels"][0]) == len(book["levels"][1]) == 20
        assert times == sorted(times)
        assert abs(times[-1] - twin.now_ms()) < 2_000


async def test_loop_of_the_recording_cuts_no_link_and_repeats_no_trade_id():
    async with serving(VENUE, start_at_ns=replaying(), speed=60.0) as served, socket(served) as ws:
        await ws.subscribe(type="trades", coin="BTC")
        twin, seen = served.twins[VENUE], []
        await ws.until("trades")  # the recent ones
        while twin.market_feed.laps < 2 or not seen:
            seen += [trade["tid"] for trade in await ws.until("trades")]
        assert len(set(seen)) == len(seen)
        assert twin.replay.laps == twin.market_feed.laps


async def test_first_trades_are_history_and_take_no_queue():
    async with serving(VENUE, start_at_ns=replaying()) as served, socket(served) as ws:
        await ws.subscribe(type="trades", coin="BTC")
        # The recorded backlog is the second line fed: two more books follow it within a second.
        await ws.subscribe(type="l2Book", coin="BTC")
        for _ in range(4):
            await ws.until("l2Book")
        assert not served.twins[VENUE].market_feed.coins["BTC"].trades
        recent = await info(served, "recentTrades", coin="BTC")
        assert len(recent) == 30
        assert len({trade["tid"] for trade in recent}) == 30


async def test_subscription_is_confirmed_once_and_ended_once():
    async with serving(VENUE) as served, socket(served) as ws:
        l2 = {"type": "l2Book", "coin": "BTC"}
        confirmed = await ws.subscribe(**l2)
        assert confirmed["subscription"] == l2 | {"nSigFigs": None, "mantissa": None}
        assert (await ws.until("l2Book"))["coin"] == "BTC"
        await ws.send({"method": "subscribe", "subscription": l2})
        assert (await ws.until("error")).startswith("Already subscribed: ")
        await ws.send({"method": "unsubscribe", "subscription": l2})
        assert (await ws.until("subscriptionResponse"))["method"] == "unsubscribe"
        feed(served, book_frame([("105000", "1")], [("105001", "1")]))
        assert await ws.silent()
        await ws.send({"method": "unsubscribe", "subscription": l2})
        assert (await ws.until("error")).startswith("Already unsubscribed: ")


async def test_bbo_comes_only_when_the_touch_changes():
    async with serving(VENUE) as served, socket(served) as ws:
        await ws.subscribe(type="bbo", coin="BTC")
        await ws.until("bbo")
        first = book_frame([("105000", "1"), ("104999", "1")], [("105001", "1")])
        deeper = book_frame([("105000", "1"), ("104999", "2")], [("105001", "1")])
        feed(served, first, deeper)
        assert (await ws.until("bbo"))["bbo"][0]["px"] == "105000"
        assert await ws.silent()
        feed(served, book_frame([], [("105001", "1")]))
        assert (await ws.until("bbo"))["bbo"][0] is None


async def test_candles_fold_the_replayed_trades():
    async with serving(VENUE) as served, socket(served) as ws:
        await ws.subscribe(type="candle", coin="BTC", interval="1d")
        prints = [("105055", "0.1"), ("105060", "0.2"), ("105050", "0.3")]
        feed(served, *(trade_frame(p, s, "B", tid) for tid, (p, s) in enumerate(prints)))
        for _ in prints:
            candle = await ws.until("candle")
        assert [candle[key] for key in "ohlcvn"] == [
            "105055", "105060", "105050", "105050", "0.6", 3,
        ]  # fmt: skip
        request = {"coin": "BTC", "interval": "1d", "startTime": 0, "endTime": candle["T"]}
        assert await info(served, "candleSnapshot", req=request) == [candle]


async def test_ping_is_answered_and_a_silent_client_is_cut():
    async with serving(VENUE) as served:
        served.twins[VENUE].idle_s = 0.3
        async with socket(served) as ws:
            for _ in range(3):
                await asyncio.sleep(0.15)
                await ws.send({"method": "ping"})
                assert await ws.next() == {"channel": "pong"}
            with pytest.raises(TypeError):  # aiohttp's word for a close where text was wanted
                await ws.next()
        assert (await served.ask(VENUE, "stats"))["counts"]["idle_clients_cut"] == 1


async def test_posts_run_queries_and_actions_and_echo_their_id():
    async with serving(VENUE) as served, socket(served) as ws:
        query = {"type": "info", "payload": {"type": "l2Book", "coin": "BTC"}}
        await ws.send({"method": "post", "id": 7, "request": query})
        answer = await ws.until("post")
        assert (answer["id"], answer["response"]["type"]) == (7, "info")
        assert answer["response"]["payload"]["type"] == "l2Book"
        assert answer["response"]["payload"]["data"]["coin"] == "BTC"
        request = {"type": "action", "payload": signed(orders(order()))}
        await ws.send({"method": "post", "id": 8, "request": request})
        answer = await ws.until("post")
        assert answer["response"]["payload"]["status"] == "ok"
        await ws.send({"method": "post", "id": 9, "request": request})
        answer = await ws.until("post")
        assert "duplicate nonce" in answer["response"]["payload"]["response"]
        bad = {"type": "info", "payload": {"type": "nothing"}}
        await ws.send({"method": "post", "id": 10, "request": bad})
        answer = await ws.until("post")
        assert (answer["id"], answer["response"]["type"]) == (10, "error")
        assert answer["response"]["payload"].startswith("422: ")


async def test_orders_ended_by_the_venue_are_told_to_their_owner():
    async with serving(VENUE) as served, socket(served) as ws:
        await ws.subscribe(type="userEvents", user=ME)
        await ws.subscribe(type="orderUpdates", user=ME)
        (status,) = await place(served, order(cloid="0x" + "c" * 32))
        oid = status["resting"]["oid"]
        update = (await ws.until("orderUpdates"))[0]
        assert (update["status"], update["order"]["cloid"]) == ("open", "0x" + "c" * 32)
        await act(served, {"type": "cancel", "cancels": [{"a": 0, "o": oid}]})
        assert (await ws.until("orderUpdates"))[0]["status"] == "canceled"
        assert await ws.silent()
        (status,) = await place(served, order())
        twin = served.twins[VENUE]
        twin.exchange.cancel_all(twin.exchange.accounts[0], reason="scheduled")
        assert (await ws.until("user"))["nonUserCancel"] == [
            {"coin": "BTC", "oid": status["resting"]["oid"]}
        ]


async def test_faults_find_private_links_by_what_they_carry():
    async with serving(VENUE) as served, socket(served) as public, socket(served) as private:
        await public.subscribe(type="bbo", coin="BTC")
        await private.subscribe(type="userFills", user=ME)
        await private.until("userFills")
        await served.fault(VENUE, kind="gap", target="private", count=1)
        await place(served, order("105056", tif="Ioc"))
        assert await private.silent()
        await served.fault(VENUE, kind="duplicate", target="private", count=1)
        await place(served, order("105056", tif="Ioc"))
        assert await private.until("userFills") == await private.until("userFills")
        _, links = await served.fault(VENUE, kind="disconnect", target="private")
        assert links == '{"links": 1}'
        await public.until("bbo")
        await public.send({"method": "ping"})
        assert await public.next() == {"channel": "pong"}


async def test_ambiguous_post_places_the_order_and_cuts_the_link():
    async with serving(VENUE) as served, socket(served) as ws:
        await served.fault(VENUE, kind="ambiguous", target="trade")
        request = {"type": "action", "payload": signed(orders(order()))}
        await ws.send({"method": "post", "id": 1, "request": request})
        with pytest.raises(TypeError):
            await ws.next()
        assert len(await info(served, "openOrders", user=ME)) == 1
