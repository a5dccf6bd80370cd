"""The accounts of a session, each with the gateway its mode asks for, as the journal left it."""

from typing import TYPE_CHECKING, TypeAlias, Union

from alephtx.core.config_schema import Account
from alephtx.core.errors import ConfigError
from alephtx.core.log import logger
from alephtx.engine import truth
from alephtx.engine.opening import contracts_of
from alephtx.engine.venues import bind_account
from alephtx.engine.wire import AccountWire
from alephtx.execution.gateway import Gateway, LiveOrder
from alephtx.execution.staged import Staged, Writer

if TYPE_CHECKING:  # the rest is imported by the mode that has it: a live start is to be short
    from alephtx.engine.paper import PaperGateway
    from alephtx.engine.session import Session
    from alephtx.engine.shadow import ShadowGateway

log = logger("engine")

AnyGateway: TypeAlias = Union[Gateway, "PaperGateway", "ShadowGateway"]


def open_accounts(session: "Session") -> list[AnyGateway]:
    """Return the gateways of all accounts, in the config's order; nothing is sent yet."""
    mode = session.config.node.mode
    made: list[AnyGateway] = []
    for index, (name, section) in enumerate(session.config.accounts.items()):
        if mode == "paper":
            made.append(_paper_gateway(session, index, section))
        elif mode == "shadow":
            made.append(_shadow_gateway(session, index, section))
        else:
            made.append(_venue_gateway(session, index, section))
        log.info("account_bound", account=name, venue=section.venue, mode=mode)
    return made


def _shadow_gateway(session: "Session", index: int, section: Account) -> "ShadowGateway":
    from alephtx.engine.shadow import ShadowGateway

    codec, _ = bind_account(session.config, section, index, session.instruments)
    push = session.engine.rings.updates[index].push
    return ShadowGateway(index, codec, session.clock, push, on_sent=session.note_sent)


def _venue_gateway(session: "Session", index: int, section: Account) -> Gateway:
    codec, endpoints = bind_account(session.config, section, index, session.instruments)
    push, found = session.engine.rings.updates[index].push, session.recovered
    wire = AccountWire(section.venue, endpoints, codec.spec.buckets, session.clock, session.random)
    gateway = Gateway(
        index, codec, wire, session.clock, push, traded=_traded(session, index, section),
        engine=session.config.node.engine, on_sent=session.note_sent, on_failed=session.failed,
    )  # fmt: skip
    truth.keep_books(session, gateway, session.follow_journal, exclusive=section.exclusive)
    wire.on_frame, wire.on_up, wire.on_down = gateway.on_frame, gateway.on_up, gateway.on_down
    name = session.engine.account_names[index]
    if session.direct is not None and name in session.config.loop_accounts:
        session.direct.enter(name, gateway, wire)

        def on_frame(role: str, frame: bytes, ts_recv: int) -> None:
            session.pump()  # a report must not find an order that the loop sent unheard of
            gateway.on_frame(role, frame, ts_recv)

        wire.on_frame = on_frame
    if session.direct is None or index not in session.direct.entries:
        _write_staged(name, gateway, wire)
    wire.on_failed = session.failed
    session.halts.keep(gateway, wire)
    gateway.resume(
        _live_orders(session, index), found.venue_ids.get(index, {}),
        found.since_ns.get(index, 0), found.foreign.get(index, ()),
    )  # fmt: skip
    gateway.opened(found.opened_ns.get(index, 0))
    gateway.closed(found.closed.get(index, 0))
    return gateway


def _write_staged(name: str, gateway: Gateway, wire: AccountWire) -> None:
    """Let plain orders of an account leave without Python, where its venue has stages for that."""
    try:
        staged = Staged(name, gateway.codec, wire.buckets)
    except ConfigError as error:
        log.debug("account_writes_in_python", account=name, why=str(error))
        return
    gateway.outbox.write_with(Writer(staged))


def _paper_gateway(session: "Session", index: int, section: Account) -> "PaperGateway":
    from alephtx.engine.paper import PAPER_BALANCES, PaperGateway

    gateway = PaperGateway(
        index, section.venue, section.paper or PAPER_BALANCES, session.instruments, session.matrix,
        session.clock, session.engine.rings.updates[index].push, on_sent=session.note_sent,
    )  # fmt: skip
    if index in session.recovered.opened_ns:
        gateway.resume(
            session.ledger.balances(index),
            contracts_of(session.ledger, index),
            _live_orders(session, index),
        )
    return gateway


def _traded(session: "Session", index: int, section: Account) -> list[int]:
    ctx, venue = session.ctx, session.instruments.venues.index(section.venue)
    return sorted(
        {
            i
            for strategy in session.engine.strategies
            for i in strategy.instruments
            if ctx.account_of[strategy.index, venue] == index and ctx.venue_of[i] == venue
        }
    )


def _live_orders(session: "Session", index: int) -> list[LiveOrder]:
    """Return what the journal knows of an account's orders that are not over."""
    return [
        LiveOrder(
            int(row[0]["order_id"]), int(row[0]["instrument"]), int(row[0]["ts_intent"]),
            int(row[0]["venue_order_id"]),
        )
        for row in session.recovered.live.get(index, [])
    ]  # fmt: skip
