"""What a backtest had to suppose, or could not do, in words: notes of its summary."""

from collections.abc import Iterator

from alephtx.core.config_schema import Config, VenueConfig
from alephtx.core.instruments import Instrument
from alephtx.core.words import BINARY, DELTA, ORDER_ADD, SPOT, TOP, TRADE
from alephtx.engine.market import Market
from alephtx.engine.tape_check import Seen


def notes_of(config: Config, market: Market, seen: list[Seen]) -> list[str]:
    """Return a line for each thing that nobody stated, with what was counted instead."""
    return [
        note
        for instrument, one in zip(market.instruments, seen, strict=True)
        for found in (
            _fees(instrument, config.venues.get(instrument.venue)),
            _contract_value(instrument),
            _market(instrument, one, market.venue.depth_levels),
        )
        for note in found
    ]


def _fees(instrument: Instrument, section: VenueConfig | None) -> Iterator[str]:
    """Tell which fees nobody stated: files of market data leave both at 0."""
    if instrument.maker_fee or instrument.taker_fee:
        return
    lacks = [
        side for side in ("maker", "taker") if getattr(section, f"{side}_fee_bps", None) is None
    ]
    if lacks:
        which = "fees" if len(lacks) > 1 else f"{lacks[0]} fees"
        keys = " and ".join(f"{side}_fee_bps" for side in lacks)
        yield (
            f"{which} of {instrument.key} are not known: counted as 0; "
            f"state {keys} in [venues.{instrument.venue}]"
        )


def _contract_value(instrument: Instrument) -> Iterator[str]:
    """Tell of a contract that only its file speaks for, counted in whole pieces of who knows what.

    Who knows the venue states limits, or names the instrument other than by its symbol; sizes with
    decimals are of the underlying itself.
    """
    derived = instrument.contract not in (SPOT, BINARY)
    known = instrument.qty_max or instrument.price_max or instrument.qty_scale
    named = instrument.key != f"{instrument.venue}:{instrument.symbol}"
    if derived and instrument.contract_value == 1 and not known and not named:
        yield (
            f"contract value of {instrument.key} is not known: counted as 1; "
            "import it with --instrument FILE, which states contract_value"
        )


def _market(instrument: Instrument, seen: Seen, depth_levels: int) -> Iterator[str]:
    """Tell of a tape that makes no bid and no ask."""
    if seen.has(TOP, DELTA, ORDER_ADD):
        return
    why = "nothing could be traded"
    if not seen.has(TRADE):
        yield f"{instrument.key} has neither prices nor trades: {why}"
    elif depth_levels:
        yield (
            f"no trade of {instrument.key} says which side took, so depth_levels makes no bid and "
            f"no ask of them: {why}; import trades with their sides"
        )
    else:
        yield (
            f"{instrument.key} has trades alone, so there is no bid and no ask: {why}; "
            "backtest.depth_levels makes them up"
        )
