"""What the compiled stages write, over real sockets: the twins verify and take every order."""

import asyncio
from decimal import Decimal

import pytest

from alephtx.core import words
from alephtx.core.clock import MachineClock
from alephtx.core.identity import first_order_id, to_cloid, to_text
from alephtx.core.instruments import Instruments
from alephtx.core.ports import Batch, What
from alephtx.core.secrets import resolve
from alephtx.engine.venues import load_venue
from alephtx.signers.evm import EvmSigner, keccak256, l1_digest
from alephtx.signers.hmac_sha256 import HmacSigner
from alephtx.testing.golden import intent_rows
from tests.twins.clients import serving
from tests.venues.entry import Desk

ORDER_ID = first_order_id(5, 1)
SYMBOLS = {"binance_spot": "BTCUSDT", "binance_usdm": "BTCUSDT", "hyperliquid": "BTC"}
PRICES = {  # below the market, so that orders rest
    "binance_spot": Decimal(60_000), "binance_usdm": Decimal(60_000), "hyperliquid": Decimal(99_999)
}  # fmt: skip
QTY = Decimal("0.01")
SECRET = resolve("twin")
CLOCK = MachineClock()


async def bound(served, venue):
    """Return the venue's codec as the engine binds it, over the twin's own instruments."""
    plugin = load_venue(venue)
    (asked,) = plugin.request(What.INSTRUMENTS, 0)
    how = {"data": asked.body, "headers": dict(asked.headers)}
    async with served.session.request(asked.method, served.url(venue, asked.path), **how) as said:
        table = Instruments(plugin.parse_instruments(await said.read(), [SYMBOLS[venue]]))
    if venue == "hyperliquid":
        return plugin.bind(table, EvmSigner(SECRET), 0)
    return plugin.bind(table, HmacSigner(resolve("twin:key").reveal(), SECRET), 0)


class Trader:
    """A codec's stages behind the trade link that it names."""

    def __init__(self, codec, ws):
        self.codec, self.ws, self.desk = codec, ws, Desk(codec)
        self.signer = EvmSigner(SECRET)

    def sign(self, payload):
        if self.codec.spec.signer == "evm":
            return self.signer.sign_digest(l1_digest(keccak256(payload), False))
        return HmacSigner("k", SECRET).sign(payload)

    async def send(self, *intents):
        """Write, sign, seal and send; return the kinds of the rows that the answer becomes."""
        rows = intent_rows(intents)
        payload = self.desk.written(rows, CLOCK.now())
        frame = self.desk.sealed(self.sign(payload))
        (request,) = self.codec.sent(rows)
        return await self._answered(frame, request.key)

    async def by_gateway(self, *intents):
        """Send what `encode` writes, as the split path does; return the same."""
        now = CLOCK.now()
        (request,) = self.codec.encode(intent_rows(intents), now, now // 1_000_000)
        return await self._answered(request.body, request.key)

    async def _answered(self, frame, key):
        await self.ws.send_str(frame.decode())
        out = Batch()
        while not any(control.key == key for control in out.controls):
            out.clear()
            frame = await asyncio.wait_for(self.ws.receive_str(), 5)
            self.codec.decode("trade", frame.encode(), CLOCK.now(), out)
        assert [c.kind for c in out.controls if c.key] == ["answer"], out.controls
        return [int(row["kind"]) for row in out.updates[: out.update_count]]


@pytest.mark.parametrize("venue", sorted(SYMBOLS))
async def test_orders_of_the_stages_are_taken_and_cancelled_by_the_twin(venue):
    """The twin checks signature, numbers and words with code of its own."""
    async with serving(venue) as served:
        codec = await bound(served, venue)
        instrument = codec.instruments[0]
        place = {
            "op": words.PLACE, "type": words.LIMIT, "tif": words.GTC, "side": words.BUY,
            "order_id": ORDER_ID + 1, "flags": words.POST_ONLY,
            "price": instrument.price_ticks(PRICES[venue]), "qty": instrument.qty_lots(QTY),
        }  # fmt: skip
        (link,) = codec.links("trade")
        url = served.url(venue, link.path).replace("http", "ws", 1)
        async with served.session.ws_connect(url) as ws:
            trader = Trader(codec, ws)
            assert await trader.send(place) == [words.ACK]
            assert await trader.send(place | {"order_id": ORDER_ID + 2, "flags": 0}) == [words.ACK]
            cancel = {"op": words.CANCEL, "target_order_id": ORDER_ID + 1}
            assert await trader.send(cancel) == [words.CANCEL_ACK]
            if venue == "hyperliquid":
                many = [place | {"order_id": ORDER_ID + k} for k in range(10, 26)]
                assert await trader.send(*many) == [words.ACK] * 16
        journal = await served.ask(venue, "journal")
        text = to_cloid if venue == "hyperliquid" else to_text
        assert [row["client_id"] for row in journal][:2] == [text(ORDER_ID + k) for k in (1, 2)]


async def test_both_paths_amend_over_the_socket():
    venue = "binance_usdm"
    async with serving(venue) as served:
        codec = await bound(served, venue)
        instrument = codec.instruments[0]
        price, qty = instrument.price_ticks(PRICES[venue]), instrument.qty_lots(QTY)
        row = {
            "type": words.LIMIT, "tif": words.GTC, "side": words.BUY, "price": price, "qty": qty,
        }  # fmt: skip
        (link,) = codec.links("trade")
        url = served.url(venue, link.path).replace("http", "ws", 1)
        async with served.session.ws_connect(url) as ws:
            trader = Trader(codec, ws)
            place = row | {"op": words.PLACE, "order_id": ORDER_ID + 1}
            assert await trader.send(place) == [words.ACK]
            amend = row | {"op": words.AMEND, "target_order_id": ORDER_ID + 1}
            step = instrument.price_ticks(instrument.tick_size)
            for k, way in enumerate((trader.send, trader.by_gateway), start=1):
                assert await way(amend | {"price": price + k * step}) == [words.REPLACE_ACK]
                (order,) = served.twins[venue].exchange.open_orders.values()
                amended = instrument.price_decimal(price + k * step)
                assert order.market.price(order.price) == amended
