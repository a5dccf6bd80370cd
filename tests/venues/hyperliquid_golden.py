"""Binds Hyperliquid codecs to the golden instruments; what the tests of its files share."""

from pathlib import Path

import msgspec

from alephtx.core import words
from alephtx.core.identity import first_order_id
from alephtx.core.instruments import Instruments
from alephtx.core.secrets import Secret
from alephtx.signers.evm import EvmSigner
from alephtx.venues.hyperliquid import Hyperliquid

GOLDEN = Path(__file__).parent.parent / "golden" / "hyperliquid"
KEY = "0x0123456789012345678901234567890123456789012345678901234567890123"
ADDRESS = "0x14791697260E4c9A71f18484C9f997B308e59325"
META = (GOLDEN / "instruments.json").read_bytes()
INFO = msgspec.json.decode((GOLDEN / "info.json").read_bytes())
NOW = 1_760_000_000_000_000_000
NONCE = NOW // 1_000_000
ORDER_ID = first_order_id(1, 1) + 1
PLACE = {
    "op": words.PLACE, "type": words.LIMIT, "tif": words.GTC, "side": words.BUY,
    "order_id": ORDER_ID, "price": 1_050_555, "qty": 123,
}  # fmt: skip


def codec(symbols=("BTC", "ETH"), **options):
    venue = options.pop("venue", Hyperliquid())
    signer = options.pop("signer", EvmSigner(Secret(KEY)))
    return venue.bind(Instruments(venue.parse_instruments(META, symbols)), signer, 1, **options)


def body_of(request):
    """Return what a request carries, without the envelope of a post."""
    said = msgspec.json.decode(request.body)
    return said["request"]["payload"] if request.transport == "trade" else said


class OverHttp(Hyperliquid):
    """Orders as the killer sends them."""

    def bind(self, *given, **options):
        bound = super().bind(*given, **options)
        bound.spec = msgspec.structs.replace(bound.spec, transport="http")
        return bound
