"""Venues as the config names them: plugin, endpoints, instruments with the account's fee tier."""

import asyncio
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec

from alephtx.core.clock import Clock
from alephtx.core.config_schema import Account, Config, VenueConfig
from alephtx.core.errors import ConfigError, VenueError
from alephtx.core.instruments import Instrument, Instruments
from alephtx.core.log import logger
from alephtx.core.plugins import find
from alephtx.core.ports import Codec, Endpoints, Signer, Venue, What
from alephtx.core.secrets import resolve
from alephtx.feed.endpoints import endpoints_of
from alephtx.net.http import HttpClient
from alephtx.signers.hmac_sha256 import HmacSigner

log = logger("venues")

ATTEMPTS = 5


def load_venue(name: str, plugins: str = "") -> Venue:
    """Return the venue plugin of a name; looked for once, it keeps no state.

    plugins: the config's folder of drop-ins, `node.plugins`.
    """
    return _loaded(name, plugins)


@cache
def _loaded(name: str, plugins: str) -> Venue:
    plugin = find("venues", name, plugins or None)
    venue: Venue = plugin() if isinstance(plugin, type) else plugin
    return venue


def with_fees(instrument: Instrument, section: VenueConfig) -> Instrument:
    """Return the instrument with the fee tier of the config, where it gives one."""
    changes = {}
    for side in ("maker", "taker"):
        bps = getattr(section, f"{side}_fee_bps", None)
        if bps is not None:
            changes[f"{side}_fee"] = Decimal(bps) / 10_000
    return msgspec.structs.replace(instrument, **changes) if changes else instrument


async def fetch_instruments(config: Config, clock: Clock) -> Instruments:
    """Ask every venue for the rules of the configured symbols; the table is in config order."""
    table = Instruments()
    found = await asyncio.gather(
        *(
            _fetch(load_venue(name, config.node.plugins), section, clock)
            for name, section in config.venues.items()
        )
    )
    for instruments in found:
        for instrument in instruments:
            table.add(instrument)
    return table


async def _fetch(venue: Venue, section: VenueConfig, clock: Clock) -> list[Instrument]:
    name = venue.spec.name
    endpoints = endpoints_of(venue, section)
    client = HttpClient(endpoints.http, venue=name)
    try:
        body = await _ask(venue, client, clock)
    finally:
        await client.close()
    instruments = venue.parse_instruments(body, list(section.symbols))
    missing = set(section.symbols) - {instrument.symbol for instrument in instruments}
    if missing:
        raise ConfigError(
            f"venue {name} does not list {', '.join(sorted(missing))}",
            remedy=f"check [venues.{name}] symbols",
        )
    return [with_fees(instrument, section) for instrument in instruments]


async def _ask(venue: Venue, client: HttpClient, clock: Clock) -> bytes:
    """Fetch the INSTRUMENTS answer, trying again where the failure may pass."""
    pause = 200_000_000
    for attempt in range(ATTEMPTS):
        try:
            request = venue.request(What.INSTRUMENTS, clock.now())[0]
            status, _, body = await client.fetch(request)
            if status == 200:
                return body
            raise VenueError(
                f"HTTP {status} when asked for instruments",
                venue=venue.spec.name,
                code=status,
                retryable=status in (418, 429) or status >= 500,
            )
        except VenueError as error:
            if not error.retryable or attempt == ATTEMPTS - 1:
                raise
            log.warning("instruments_not_answered", venue=venue.spec.name, error=str(error))
            await clock.sleep(pause)
            pause *= 2
    raise AssertionError


def make_signer(venue: Venue, account: Account) -> Signer:
    """Build the signer of an account from the references in its config."""
    spec = venue.spec
    kind = account.signer or spec.signer
    if kind not in (spec.signer, *spec.other_signers):
        ways = ", ".join((spec.signer, *spec.other_signers))
        raise ConfigError(f"venue {spec.name} takes no signer {kind!r}", remedy=f"use {ways}")
    if kind == "evm":
        from alephtx.signers.evm import EvmSigner  # curves and hashes that only its venues need

        return EvmSigner(resolve(account.secret), account.nonce_pool)
    if kind == "ed25519":
        from alephtx.signers.ed25519 import Ed25519Signer

        key = resolve(account.key).reveal()
        return Ed25519Signer(key, resolve(account.secret), account.nonce_pool)
    if account.nonce_pool:
        raise ConfigError(
            f"nonce_pool = {account.nonce_pool} at {spec.name}: {kind} has no nonces",
            remedy="remove it",
        )
    if kind == "hmac_sha256":
        return HmacSigner(resolve(account.key).reveal(), resolve(account.secret))
    raise ConfigError(f"venue {spec.name} wants a signer {kind!r}, unknown here")


def bind_codec(config: Config, account: Account, index: int, instruments: Instruments) -> Codec:
    """Return the signing codec of an account."""
    venue = load_venue(account.venue, config.node.plugins)
    signer = make_signer(venue, account)
    if venue.spec.signer == "evm":  # what is signed says which network it is for
        bind: Any = venue.bind
        mainnet = config.venues[account.venue].environment == "mainnet"
        made: Codec = bind(instruments, signer, index, mainnet=mainnet, user=account.address)
        return made
    return venue.bind(instruments, signer, index)


def bind_account(
    config: Config, account: Account, index: int, instruments: Instruments
) -> tuple[Codec, Endpoints]:
    """Return the signing codec of an account and the addresses it talks to."""
    section = config.venues[account.venue]
    codec = bind_codec(config, account, index, instruments)
    return codec, endpoints_of(load_venue(account.venue, config.node.plugins), section)
