"""Orders on the Hyperliquid twin, driven by the venue's SDK and by raw signed requests."""

import json
import time
from decimal import Decimal

import pytest
from hyperliquid.utils.types import Cloid

from tests.twins.clients import serving
from tests.twins.hyperliquid_clients import (
    ALO,
    GTC,
    IOC,
    ME,
    STRANGER,
    VENUE,
    act,
    book_frame,
    error_of,
    feed,
    info,
    order,
    orders,
    place,
    post,
    sdk,
    signed,
    trade_frame,
)

BID, ASK = "105055", "105056"  # the touch of the first recorded book
CLOID = "0x" + "0" * 31 + "5"


def only(answer):
    (status,) = answer["response"]["data"]["statuses"]
    return status


@pytest.mark.smoke
async def test_sdk_walks_through_a_whole_trading_day():
    """Markets, book, rest, query, cancel by both ids, take, fills, position, close."""
    async with serving(VENUE) as served:
        await served.call(_trading_day, served)
        truth = await served.ask(VENUE, "account")
        assert truth["main"]["positions"]["BTC"]["qty"] == 0
        assert truth["main"]["open_orders"] == []
        kinds = [row["kind"] for row in await served.ask(VENUE, "journal")]
        assert kinds == ["ACCEPTED", "CANCELED", "ACCEPTED", "CANCELED"] + ["ACCEPTED", "FILL"] * 2


def _trading_day(served):
    with sdk(served) as (exchange, desk):
        book = desk.l2_snapshot("BTC")
        assert [half[0]["px"] for half in book["levels"]] == ["105055.0", "105056.0"]
        assert desk.all_mids() == {"BTC": "105055.5"}
        resting = only(exchange.order("BTC", True, 0.01, 105000, GTC))["resting"]
        assert [row["oid"] for row in desk.open_orders(ME)] == [resting["oid"]]
        found = desk.query_order_by_oid(ME, resting["oid"])
        assert (found["status"], found["order"]["status"]) == ("order", "open")
        assert only(exchange.cancel("BTC", resting["oid"])) == "success"
        assert desk.query_order_by_oid(ME, resting["oid"])["order"]["status"] == "canceled"

        cloid = Cloid.from_str(CLOID)
        named = only(exchange.order("BTC", False, 0.01, 106000, ALO, cloid=cloid))
        assert named["resting"]["cloid"] == CLOID
        assert desk.query_order_by_cloid(ME, cloid)["order"]["order"]["tif"] == "Alo"
        assert only(exchange.cancel_by_cloid("BTC", cloid)) == "success"

        bought = only(exchange.market_open("BTC", True, 0.05))["filled"]
        assert (bought["totalSz"], bought["avgPx"]) == ("0.05", "105056.0")
        state = desk.user_state(ME)
        assert state["assetPositions"][0]["position"]["szi"] == "0.05"
        assert state["assetPositions"][0]["position"]["entryPx"] == "105056.0"
        sold = only(exchange.market_close("BTC"))["filled"]
        assert sold["avgPx"] == "105055.0"
        newest, oldest = desk.user_fills(ME)
        assert (oldest["dir"], newest["dir"]) == ("Open Long", "Close Long")
        assert (oldest["startPosition"], newest["startPosition"]) == ("0.0", "0.05")
        assert newest["closedPnl"] == "-0.05"
        assert Decimal(oldest["fee"]) == Decimal("0.05") * 105056 * Decimal("0.00045")
        assert (oldest["crossed"], oldest["feeToken"]) == (True, "USDC")
        assert oldest["tid"] != newest["tid"]
        fees = sum(Decimal(fill["fee"]) for fill in (oldest, newest))
        value = Decimal(desk.user_state(ME)["marginSummary"]["accountValue"])
        assert value == 100_000 - Decimal("0.05") - fees


REFUSED = [
    (order(BID[:5] + "5.5"), "Price must be divisible by tick size. asset=0", "tickRejected"),
    (order("100000.25"), "Price must be divisible by tick size. asset=0", None),
    (order(size="0.0000001"), "Order has invalid size.", None),
    (order(size="0"), "Order has zero size.", None),
    (order("0"), "Order has invalid price.", None),
    (order(size="0.00009"), "Order must have minimum value of $10. asset=0", "minTradeNtlRejected"),
    (order("20000"), "Order price cannot be more than 80% away", "oracleRejected"),
    (order("190000", buy=False), "Order price cannot be more than 80% away", "oracleRejected"),
    (order(size="21"), "Insufficient margin to place order. asset=0", "perpMarginRejected"),
    (order(reduce=True), "Reduce only order would increase position.", "reduceOnlyRejected"),
    (
        order(ASK, tif="Alo"),
        "Post only order would have immediately matched, bbo was 105055@105056. asset=0",
        "badAloPxRejected",
    ),
    (
        order(BID, tif="Ioc"),
        "Order could not immediately match against any resting orders. asset=0",
        "iocCancelRejected",
    ),
    (order(asset=7), "Invalid asset 7.", None),
    (
        order() | {"t": {"trigger": {"isMarket": True, "triggerPx": "1", "tpsl": "sl"}}},
        "Trigger orders are not simulated by this twin.",
        None,
    ),
]


async def test_refused_order_gets_the_venues_text_and_where_documented_leaves_an_order_behind():
    async with serving(VENUE) as served:
        for number, (wire, text, status) in enumerate(REFUSED):
            cloid = f"0x{number + 1:032x}"
            assert (await error_of(served, wire | {"c": cloid})).startswith(text), wire
            found = await info(served, "orderStatus", user=ME, oid=cloid)
            if status is None:
                assert found == {"status": "unknownOid"}
            else:
                assert (found["order"]["status"], found["order"]["order"]["cloid"]) == (
                    status,
                    cloid,
                )
        assert await served.ask(VENUE, "journal") == []
        assert await info(served, "openOrders", user=ME) == []


async def test_price_on_the_grid_of_five_figures_or_any_integer_is_taken():
    async with serving(VENUE) as served:
        for price in ("100001", "99999", "94321", "104999"):
            assert "resting" in (await place(served, order(price)))[0], price
        # A book near 9,000 makes half dollars five figures, and tenths six.
        feed(served, book_frame([("9000", "5")], [("9001", "5")]))
        assert "resting" in (await place(served, order("8999.5")))[0]
        assert "tick" in await error_of(served, order("8999.55"))
        feed(served, book_frame([("10500", "5")], [("10501", "5")]))
        assert "tick" in await error_of(served, order("10499.5"))


async def test_batch_is_answered_in_order_with_each_its_own_status():
    async with serving(VENUE) as served:
        statuses = await place(
            served, order("100000"), order(size="0"), order(ASK, "0.02", tif="Ioc")
        )
        assert [next(iter(status)) for status in statuses] == ["resting", "error", "filled"]
        oid = statuses[0]["resting"]["oid"]
        cancels = [{"a": 0, "o": oid}, {"a": 0, "o": oid}, {"a": 1, "o": oid}, {"a": 0, "o": 0}]
        answer = await act(served, {"type": "cancel", "cancels": cancels})
        statuses = answer["response"]["data"]["statuses"]
        gone = "Order was never placed, already canceled, or filled. asset="
        assert statuses[0] == "success"
        assert [status["error"] for status in statuses[1:]] == [gone + n for n in "010"]


async def test_number_zero_and_a_reused_client_id_name_no_other_order():
    async with serving(VENUE) as served:
        await place(served, order())
        answer = await act(served, {"type": "cancel", "cancels": [{"a": 0, "o": 0}]})
        assert "never placed" in answer["response"]["data"]["statuses"][0]["error"]
        assert await info(served, "orderStatus", user=ME, oid=0) == {"status": "unknownOid"}
        await place(served, order(cloid=CLOID))
        assert "Duplicate cloid" in await error_of(served, order(cloid=CLOID))
        assert "tick" in await error_of(served, order("105055.5", cloid=CLOID))
        cancel = {"type": "cancelByCloid", "cancels": [{"asset": 0, "cloid": CLOID}]}
        assert (await act(served, cancel))["response"]["data"]["statuses"] == ["success"]
        found = await info(served, "orderStatus", user=ME, oid=CLOID)
        assert found["order"]["status"] == "canceled"
        assert "resting" in (await place(served, order(cloid=CLOID)))[0]


async def test_ioc_takes_what_is_displayed_up_to_its_limit_and_the_rest_is_canceled():
    async with serving(VENUE) as served:
        feed(served, book_frame([("105000", "1")], [("105010", "0.01"), ("105020", "1")]))
        (status,) = await place(served, order("105010", "0.03", tif="Ioc", cloid=CLOID))
        assert status["filled"]["totalSz"] == "0.01"
        found = await info(served, "orderStatus", user=ME, oid=CLOID)
        assert (found["order"]["status"], found["order"]["order"]["sz"]) == ("canceled", "0.02")


async def test_maker_waits_behind_the_queue_then_fills_at_its_price_for_the_maker_fee():
    async with serving(VENUE) as served:
        (status,) = await place(served, order(BID, "0.01", cloid=CLOID))
        oid = status["resting"]["oid"]
        feed(served, trade_frame("105055.0", "3.03", "A"))  # 3.03622 were displayed ahead
        assert await info(served, "userFills", user=ME) == []
        feed(served, trade_frame("105055.0", "0.01022", "A", 2))
        (fill,) = await info(served, "userFills", user=ME)
        assert (fill["sz"], fill["px"], fill["crossed"]) == ("0.004", "105055.0", False)
        assert Decimal(fill["fee"]) == Decimal("0.004") * 105055 * Decimal("0.00015")
        assert (fill["oid"], fill["cloid"]) == (oid, CLOID)
        (front,) = await info(served, "frontendOpenOrders", user=ME)
        assert (front["sz"], front["origSz"]) == ("0.006", "0.01")
        # The venue's orderStatus is as of the last change of status: the fill does not show.
        found = await info(served, "orderStatus", user=ME, oid=oid)
        assert (found["order"]["status"], found["order"]["order"]["sz"]) == ("open", "0.01")
        feed(served, book_frame([("105040", "1")], [("105050", "1")]))  # crossed: filled whole
        found = await info(served, "orderStatus", user=ME, oid=oid)
        assert (found["order"]["status"], found["order"]["order"]["sz"]) == ("filled", "0.0")


async def test_level_that_shrinks_in_the_next_book_moves_the_queue():
    async with serving(VENUE) as served:
        await place(served, order(BID, "0.01"))
        feed(served, book_frame([("105055.0", "0.002")], [("105056.0", "1")]))
        feed(served, trade_frame("105055.0", "0.012", "A"))
        assert [fill["sz"] for fill in await info(served, "userFills", user=ME)] == ["0.01"]


async def test_modify_replaces_under_a_new_number_and_can_only_rest():
    async with serving(VENUE) as served:
        await served.call(_modifies, served)


def _modifies(served):
    with sdk(served) as (exchange, desk):
        cloid = Cloid.from_str(CLOID)
        first = only(exchange.order("BTC", True, 0.01, 105000, GTC, cloid=cloid))["resting"]
        bad = only(exchange.modify_order(cloid, "BTC", True, 0.01, 105000.5, GTC, cloid=cloid))
        assert bad["error"].startswith("Price must be divisible")
        ioc = only(exchange.modify_order(cloid, "BTC", True, 0.01, 105060, IOC, cloid=cloid))
        assert ioc["error"] == "Attempted to modify to invalid new order"
        assert [row["oid"] for row in desk.open_orders(ME)] == [first["oid"]]

        moved = only(exchange.modify_order(cloid, "BTC", True, 0.02, 105001, GTC, cloid=cloid))
        assert moved["resting"]["oid"] > first["oid"]
        assert desk.query_order_by_oid(ME, first["oid"])["order"]["status"] == "canceled"
        gone = only(exchange.modify_order(first["oid"], "BTC", True, 0.02, 105001, GTC))
        assert gone["error"] == "Cannot modify canceled or filled order"
        crossing = only(exchange.modify_order(cloid, "BTC", True, 0.02, 105060, GTC, cloid=cloid))
        assert "during modify: Post only order" in crossing["error"]
        assert desk.open_orders(ME) == []
        assert desk.user_fills(ME) == []


async def test_single_modify_answers_default_or_err():
    async with serving(VENUE) as served:
        (status,) = await place(served, order())
        modify = {"type": "modify", "oid": status["resting"]["oid"], "order": order("100001")}
        assert (await act(served, modify))["response"] == {"type": "default"}
        again = await act(served, modify)
        assert again == {"status": "err", "response": "Cannot modify canceled or filled order"}


async def test_taker_that_meets_its_own_maker_expires_the_maker():
    async with serving(VENUE) as served:
        feed(served, book_frame([("100000", "1")], [("105100", "1")]))
        (resting,) = await place(served, order("105090", buy=False))
        (status,) = await place(served, order("105100", "0.02", tif="Ioc"))
        assert status["filled"]["avgPx"] == "105100.0"
        found = await info(served, "orderStatus", user=ME, oid=resting["resting"]["oid"])
        assert found["order"]["status"] == "selfTradeCanceled"
        (resting,) = await place(served, order("105000", buy=False))
        assert "could not immediately match" in await error_of(served, order("105001", tif="Ioc"))


async def test_reduce_only_order_is_canceled_when_the_position_is_gone():
    async with serving(VENUE) as served:
        await place(served, order(ASK, "0.02", tif="Ioc"))
        (closing,) = await place(served, order("106000", "0.02", buy=False, reduce=True))
        await place(served, order(BID, "0.02", buy=False, tif="Ioc"))
        found = await info(served, "orderStatus", user=ME, oid=closing["resting"]["oid"])
        assert found["order"]["status"] == "reduceOnlyCanceled"


async def test_flip_through_zero_is_named_and_realizes_only_the_closed_part():
    async with serving(VENUE) as served:
        await place(served, order(ASK, "0.02", tif="Ioc"))
        await place(served, order(BID, "0.05", buy=False, tif="Ioc"))
        fill = (await info(served, "userFills", user=ME))[0]
        assert (fill["dir"], fill["closedPnl"]) == ("Long > Short", "-0.02")
        state = await info(served, "clearinghouseState", user=ME)
        assert state["assetPositions"][0]["position"]["szi"] == "-0.03"


async def test_funding_on_command_moves_money_and_is_told_in_both_histories():
    async with serving(VENUE) as served:
        await place(served, order(ASK, "0.02", tif="Ioc"))
        before = (await served.ask(VENUE, "account"))["main"]["balances"]["USDC"]["total"]
        data = json.dumps({"symbol": "BTC", "rate": "0.0001"})
        async with served.session.post(served.url(VENUE, "/_twin/funding"), data=data) as answer:
            assert await answer.json() == {"positions": 1}
        paid = Decimal("0.02") * Decimal("105055.5") * Decimal("0.0001")
        after = (await served.ask(VENUE, "account"))["main"]["balances"]["USDC"]["total"]
        assert Decimal(before) - Decimal(after) == paid
        (row,) = await info(served, "userFunding", user=ME, startTime=0)
        assert Decimal(row["delta"]["usdc"]) == -paid
        assert (row["delta"]["szi"], row["delta"]["fundingRate"]) == ("0.02", "0.0001")
        (rate,) = await info(served, "fundingHistory", coin="BTC", startTime=0)
        assert rate["fundingRate"] == "0.0001"
        position = (await info(served, "clearinghouseState", user=ME))["assetPositions"][0]
        assert Decimal(position["position"]["cumFunding"]["allTime"]) == paid


async def test_wrong_key_nonce_or_expiry_is_refused_in_the_venues_words():
    async with serving(VENUE) as served:
        stranger = await act(served, orders(order()), wallet=STRANGER)
        name = f"User or API Wallet {STRANGER.address.lower()} does not exist."
        assert stranger == {"status": "err", "response": name}
        body = signed(orders(order()))
        assert json.loads((await post(served, "/exchange", body))[1])["status"] == "ok"
        again = json.loads((await post(served, "/exchange", body))[1])
        assert again["response"] == f"Invalid nonce: duplicate nonce {body['nonce']}"
        old = await act(served, orders(order()), nonce=1_000)
        assert old["response"].startswith("Invalid nonce: nonce too low 1000 <")
        late = await act(served, orders(order()), expires=1_000)
        assert late["response"].startswith("Action expired: expiresAfter 1000")
        vault = await act(served, orders(order()), vault="0x" + "ab" * 20)
        assert vault["response"].startswith("Vault not registered: 0xab")
        mainnet = await act(served, orders(order()), mainnet=True)
        assert "does not exist" in mainnet["response"]
        broken = signed(orders(order()))
        broken["signature"] = {"r": "0x0", "s": "0x1", "v": 27}
        answer = json.loads((await post(served, "/exchange", broken))[1])
        assert answer == {"status": "err", "response": "Unable to recover signer."}
        assert len(await info(served, "openOrders", user=ME)) == 1


async def test_api_wallet_trades_for_its_owner_and_says_what_it_is():
    async with serving(VENUE) as served:
        twin, agent = served.twins[VENUE], STRANGER.address.lower()
        twin.users.agents[agent] = twin.exchange.accounts[0]
        (status,) = await place(served, order(), wallet=STRANGER)
        (row,) = await info(served, "openOrders", user=ME)
        assert row["oid"] == status["resting"]["oid"]
        role = await info(served, "userRole", user=agent)
        assert role == {"role": "agent", "data": {"user": ME}}
        assert await info(served, "userRole", user="0x" + "7" * 40) == {"role": "missing"}


async def test_leverage_decides_the_margin_and_what_is_too_high_is_refused():
    async with serving(VENUE) as served:
        leverage = {"type": "updateLeverage", "asset": 0, "isCross": True, "leverage": 1}
        assert (await act(served, leverage))["response"] == {"type": "default"}
        assert "Insufficient margin" in await error_of(served, order(size="1.01"))
        high = await act(served, leverage | {"leverage": 41})
        assert high["response"] == "Invalid leverage value: 41"
        isolated = await act(served, leverage | {"isCross": False})
        assert isolated["response"] == "Isolated margin is not simulated by this twin."


async def test_scheduled_cancel_takes_everything_off_at_its_time():
    async with serving(VENUE) as served:
        twin = served.twins[VENUE]
        await place(served, order(cloid=CLOID))
        soon = await act(served, {"type": "scheduleCancel", "time": int(time.time() * 1000)})
        assert soon["response"].startswith("Scheduled cancel time too early")
        when = int(time.time() * 1000) + 6_000
        assert (await act(served, {"type": "scheduleCancel", "time": when}))["status"] == "ok"
        twin.each_second()
        assert len(await info(served, "openOrders", user=ME)) == 1
        twin.skew_ms = 7_000
        twin.each_second()
        found = await info(served, "orderStatus", user=ME, oid=CLOID)
        assert found["order"]["status"] == "scheduledCancel"


async def test_request_budget_grows_with_traded_volume_and_cancels_may_go_on():
    async with serving(VENUE) as served:
        served.twins[VENUE].users.requests_free = 2
        (status,) = await place(served, order())
        await place(served, order())
        refused = await act(served, orders(order()))
        assert refused["response"].startswith("Too many cumulative requests sent (3 > 2)")
        cancel = {"type": "cancel", "cancels": [{"a": 0, "o": status["resting"]["oid"]}]}
        assert (await act(served, cancel))["response"]["data"]["statuses"] == ["success"]
        limit = await info(served, "userRateLimit", user=ME)
        assert (limit["nRequestsUsed"], limit["nRequestsCap"]) == (3, 2)


async def test_weight_of_a_minute_is_used_up_then_refused_with_429():
    async with serving(VENUE) as served:
        statuses = [
            (await post(served, "/info", {"type": "userRole", "user": ME}))[0] for _ in range(21)
        ]
        assert statuses == [200] * 20 + [429]


async def test_ordered_faults_hit_orders_and_queries_as_described():
    async with serving(VENUE) as served:
        await served.fault(VENUE, kind="ambiguous", target="http")
        with pytest.raises(Exception, match=r"(?i)disconnect|reset|closed"):
            await act(served, orders(order(cloid=CLOID)))
        found = await info(served, "orderStatus", user=ME, oid=CLOID)
        assert found["order"]["status"] == "open"  # the answer was lost, the order was not
        await served.fault(VENUE, kind="429", target="http")
        assert await post(served, "/info", {"type": "meta"}) == (429, "null")
        await served.fault(VENUE, kind="5xx", target="http", status=502)
        assert (await post(served, "/info", {"type": "meta"}))[0] == 502
        assert (await served.ask(VENUE, "stats"))["faults"]["ambiguous:http"] == 1
