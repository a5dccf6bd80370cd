"""Money that moves at Binance without a fill: deposits, transfers, rebates, insurance.

Futures tell of it on the stream without a number, so the stream only makes us ask: every row of
GET income has a `tranId`, unique within its type. Spot's `balanceUpdate` has none and there is no
list to ask for in the trading API: its own time stands for it, and one that was missed shows as a
difference of the wallet. Source: the income type list of the futures documentation.
"""

from alephtx.core import words
from alephtx.core.ports import Batch, Control
from alephtx.venues.binance_account import Account, BalanceUpdate, Income, money
from alephtx.venues.binance_wire import MS

BOOKED_BY_FILLS = frozenset(("COMMISSION", "REALIZED_PNL"))
SETTLED = "DELIVERED_SETTELMENT"  # sic
"""A dated contract ended: its price is not told here, so a person must look."""

CAUSES = {
    "TRANSFER": words.MONEY_TRANSFER,
    "INTERNAL_TRANSFER": words.MONEY_TRANSFER,
    "CROSS_COLLATERAL_TRANSFER": words.MONEY_TRANSFER,
    "COIN_SWAP_DEPOSIT": words.MONEY_TRANSFER,
    "COIN_SWAP_WITHDRAW": words.MONEY_TRANSFER,
    "STRATEGY_UMFUTURES_TRANSFER": words.MONEY_TRANSFER,
    "WELCOME_BONUS": words.MONEY_AIRDROP,
    "CONTEST_REWARD": words.MONEY_AIRDROP,
    "BFUSD_REWARD": words.MONEY_INTEREST,
    "INSURANCE_CLEAR": words.MONEY_INSURANCE,
    "REFERRAL_KICKBACK": words.MONEY_REBATE,
    "COMMISSION_REBATE": words.MONEY_REBATE,
    "API_REBATE": words.MONEY_REBATE,
    "FEE_RETURN": words.MONEY_REBATE,
    "OPTIONS_PREMIUM_FEE": words.MONEY_FEE,
    "POSITION_LIMIT_INCREASE_FEE": words.MONEY_FEE,
    "AUTO_EXCHANGE": words.MONEY_CONVERSION,
}


def put_income(account: Account, row: Income, out: Batch) -> None:
    """Append what a row of income says: funding, or why else the wallet moved.

    A type that is not in the list is booked as the venue's correction, and named.
    """
    if row.kind in BOOKED_BY_FILLS:
        return
    if row.kind in ("FUNDING_FEE", ""):
        account.put_funding(row.income, row.asset, row.symbol, row.time, 0, out)
        return
    said = f"{row.kind[:40]}: {row.income[:30]} {row.asset[:12]}"
    if row.kind == SETTLED:
        out.controls.append(Control("forced", said))
        return
    cause = CAUSES.get(row.kind, 0)
    if not cause:
        out.controls.append(Control("foreign", said))
    _put(account, row.income, row.asset, row.time, cause or words.MONEY_CORRECTION, row.id, out)


def put_balance(account: Account, update: BalanceUpdate, ts_recv: int, out: Batch) -> int:
    """Append a spot wallet's movement: a deposit, a withdrawal, a transfer."""
    stamp = update.T or update.E
    _put(account, update.d, update.a, stamp, words.MONEY_TRANSFER, -stamp, out, ts_recv)
    return 1


def _put(
    account: Account,
    text: str,
    asset: str,
    time_ms: int,
    cause: int,
    number: int,
    out: Batch,
    ts_recv: int = 0,
) -> None:
    out.add_update(
        trade_id=number or -time_ms,
        realized=money(text),
        ts_event=time_ms * MS,
        ts_recv=ts_recv,
        code=cause,
        fee_currency=account.instruments.currency(asset),
        account=account.account,
        kind=words.MONEY_MOVED,
    )
