"""Venues as the config names them: rules fetched over a real socket, fees, signers, refusals."""

from decimal import Decimal

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from msgspec import structs

from alephtx.core.clock import ManualClock
from alephtx.core.config_schema import Account, Config, Node, Risk, VenueConfig
from alephtx.core.errors import ConfigError, PluginError, TransportError, VenueError
from alephtx.core.instruments import Instruments
from alephtx.core.ports import What
from alephtx.engine.venues import bind_account, fetch_instruments, load_venue, make_signer
from alephtx.signers.ed25519 import Ed25519Signer
from alephtx.signers.evm import EvmSigner
from alephtx.signers.hmac_sha256 import HmacSigner
from tests.engine.bench import instrument
from tests.twins.clients import serving


def config(port, venue="binance_usdm", symbols=("BTCUSDT",), **more):
    section = VenueConfig(
        symbols=symbols, environment="twin", http=f"http://127.0.0.1:{port}",
        market=f"ws://127.0.0.1:{port}", **more,
    )  # fmt: skip
    account = Account(venue=venue, key="twin", secret="twin")
    return Config(venues={venue: section}, accounts={"a": account}, risk=Risk())


async def test_rules_are_fetched_and_take_the_accounts_fee_tier():
    async with serving("binance_usdm") as served:
        table = await fetch_instruments(
            config(served.ports["binance_usdm"], maker_fee_bps=Decimal("-0.5")), ManualClock()
        )
    (rules,) = table
    assert rules.key == "binance_usdm:BTC-USDT-PERP"
    assert rules.maker_fee == Decimal("-0.00005")
    assert rules.tick_size > 0


def test_one_venue_is_one_object_however_it_is_asked_for():
    assert load_venue("binance_usdm") is load_venue("binance_usdm", "")


DROPPED = """
import msgspec
from alephtx.venues.binance_usdm import BinanceUsdm

class PLUGIN(BinanceUsdm):
    spec = msgspec.structs.replace(BinanceUsdm.spec, name="dropped_in")
"""


async def test_venue_that_was_dropped_into_the_plugins_folder_trades_as_those_of_the_package(
    tmp_path,
):
    (tmp_path / "venues").mkdir()
    (tmp_path / "venues" / "dropped_in.py").write_text(DROPPED)
    async with serving("binance_usdm") as served:
        plain = config(served.ports["binance_usdm"], venue="dropped_in")
        with pytest.raises(PluginError, match="dropped_in"):
            await fetch_instruments(plain, ManualClock())
        own = structs.replace(plain, node=Node(plugins=str(tmp_path)))
        table = await fetch_instruments(own, ManualClock())
    codec, endpoints = bind_account(own, own.accounts["a"], 0, table)
    assert codec.spec.name == "dropped_in"
    assert endpoints.http.endswith(str(served.ports["binance_usdm"]))


async def test_symbol_that_the_venue_does_not_list_is_named():
    async with serving("binance_usdm") as served:
        wanted = config(served.ports["binance_usdm"], symbols=("BTCUSDT", "NOSUCH"))
        with pytest.raises(ConfigError, match=r"does not list '?NOSUCH"):
            await fetch_instruments(wanted, ManualClock())


@pytest.mark.parametrize(("status", "asked"), [(503, 5), (429, 5), (403, 1)])
async def test_venue_that_fails_is_asked_again_only_where_it_may_pass(status, asked):
    heard = []

    async def handle(request):
        heard.append(request.path)
        return web.Response(status=status, body=b"{}")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as server:
        with pytest.raises(VenueError, match=f"HTTP {status}"):
            await fetch_instruments(config(server.port), ManualClock())
    assert len(heard) == asked


async def test_venue_that_is_not_there_is_a_transport_error():
    with pytest.raises(TransportError):
        await fetch_instruments(config(1), ManualClock())


def test_unknown_venue_is_named():
    with pytest.raises(PluginError, match="no_such_venue"):
        load_venue("no_such_venue")


def test_signer_follows_the_venue():
    hmac = make_signer(load_venue("binance_spot"), Account(venue="binance_spot", key="twin",
                                                          secret="twin"))  # fmt: skip
    evm = make_signer(load_venue("hyperliquid"), Account(venue="hyperliquid", secret="twin"))
    assert isinstance(hmac, HmacSigner)
    assert isinstance(evm, EvmSigner)


def test_account_chooses_among_the_signers_of_its_venue():
    spot, perp = load_venue("binance_spot"), load_venue("hyperliquid")
    chosen = make_signer(
        spot, Account(venue="binance_spot", key="twin:key", signer="ed25519", nonce_pool=2)
    )
    assert isinstance(chosen, Ed25519Signer)
    assert chosen.pool.capacity == 2
    evm = make_signer(perp, Account(venue="hyperliquid", nonce_pool=3))
    assert evm.pool.capacity == 3
    with pytest.raises(ConfigError, match="takes no signer 'ed25519'"):
        make_signer(perp, Account(venue="hyperliquid", signer="ed25519"))
    with pytest.raises(ConfigError, match="takes no signer 'evm'"):
        make_signer(spot, Account(venue="binance_spot", key="twin:key", signer="evm"))


def test_pool_for_a_signature_without_nonces_is_a_config_error():
    account = Account(venue="binance_spot", key="twin:key", nonce_pool=1)
    with pytest.raises(ConfigError, match="has no nonces"):
        make_signer(load_venue("binance_spot"), account)


def test_signer_nobody_has_is_a_config_error():
    class Odd:
        class spec:  # noqa: N801
            name, signer, other_signers = "odd", "rot13", ()

    with pytest.raises(ConfigError, match="'rot13', unknown here"):
        make_signer(Odd, Account(venue="odd", key="twin", secret="twin"))


@pytest.mark.parametrize("venue", ["binance_usdm", "hyperliquid"])
def test_bound_codec_signs_for_its_own_addresses(venue):
    section = config(1, venue, ("BTC",))
    codec, endpoints = bind_account(
        section, section.accounts["a"], 0, Instruments([instrument(venue)])
    )
    assert endpoints.http == "http://127.0.0.1:1"
    assert codec.request(What.BALANCES, 1_700_000_000_000_000_000)
    assert "twin" not in repr(codec.request(What.BALANCES, 1_700_000_000_000_000_000)[0].headers)
