"""Rules: gross and net exposure by base asset, and the firm's gross, over all our accounts.

A cell is one instrument on one account. Its worst case is the larger of |position + open bids| and
|position - open asks|, marked to the middle (the last known one where a side is missing) and
brought to the reference currency. Gross is the sum of worst cases; net is what the base comes to
with every open order of the order's side filled and none of the other.
"""

import numpy as np

from alephtx.core.exposure import middle, quote_value
from alephtx.core.kernel import Int, inline_kernel, kernel
from alephtx.core.units import CEIL, OVERFLOW, mul_div_checked
from alephtx.core.view import View
from alephtx.core.words import AMEND, DENY_EXPOSURE, INVERSE, PASS, PLACE
from alephtx.risk.grid import order_price
from alephtx.risk.reduce import pending_lots
from alephtx.risk.state import (
    ACCOUNT_GROSS,
    BASE_GROSS,
    BASE_NET,
    CELL_COUNT,
    FIRM_GROSS,
    GROSS,
    GROWS,
    LEVERAGE_MAX,
    MIDDLE,
    NET,
    NO_LIMIT,
    RESCAN,
    RULE_EXPOSURE,
    RULE_FIRM_GROSS,
    Rows,
)

RATE_ONE = 100_000_000


@inline_kernel
def worth(instruments: Rows, i: Int, price: Int, lots: Int, rate_e8: Int) -> int:
    """Return lots as 10^-8 of the reference, rounded up, or OVERFLOW at NO_LIMIT and beyond."""
    if lots == 0:
        return 0
    if abs(lots) >= NO_LIMIT or (price <= 0 and instruments[i]["contract"] != INVERSE):
        return OVERFLOW
    value = quote_value(instruments, i, price, lots, CEIL)
    if rate_e8 != RATE_ONE and value != OVERFLOW:
        value = mul_div_checked(value, rate_e8, RATE_ONE, CEIL)
    return value if abs(value) < NO_LIMIT else OVERFLOW


@inline_kernel
def mark(top: Rows, market: Rows, i: Int) -> Int:
    """Return the middle, or the last one there was; 0 when there never was one."""
    price: Int = middle(top, i)
    if price > 0:
        market[i, MIDDLE] = price
        return price
    return market[i, MIDDLE]


@inline_kernel
def activate(cells: Rows, firm: Rows, a: Int, i: Int, instruments: Int) -> None:
    """Take a cell into the list that `survey` walks; it stays there. instruments: how many."""
    cell = a * instruments + i
    if cells[cell, 1] == 0:
        cells[cell, 1] = 1
        cells[firm[CELL_COUNT], 0] = a << 32 | i
        firm[CELL_COUNT] += 1


@kernel
def find_cells(cells: Rows, firm: Rows, positions: Rows, going: Rows) -> None:
    """Look at every cell; after a start and when an account was asked for anew."""
    for a in range(positions.shape[0]):
        for i in range(positions.shape[1]):
            row = positions[a, i]
            used = row["qty"] != 0 or row["realized"] != 0 or row["fees"] != 0
            if used or going[a, i, 0] != 0 or going[a, i, 1] != 0:
                activate(cells, firm, a, i, positions.shape[1])
    firm[RESCAN] = 0


@inline_kernel
def is_limited(firm_gross_max: Rows, base_max: Rows, accounts: Rows, a: Int, base: Int) -> bool:
    """Tell whether anything of this file, or leverage, is limited for an order."""
    if firm_gross_max[0] < NO_LIMIT or accounts[a, LEVERAGE_MAX] != 0:
        return True
    return bool(base_max[base, GROSS] < NO_LIMIT or base_max[base, NET] < NO_LIMIT)


@inline_kernel
def _toward(
    instruments: Rows, i: Int, price: Int, lots: Int, most: Int, value: Int, rate_e8: Int
) -> int:
    """Return what lots, at most `most` of which the value is known, are worth; rounded up.

    One of the two sides is the worst case itself, so a second division is the exception.
    """
    if lots == most:
        return value
    if lots == -most:
        return 1 - value  # -value rounded up would be this or less
    return worth(instruments, i, price, lots, rate_e8)


@inline_kernel
def survey(
    intents: Rows,
    k: Int,
    view: View,
    cells: Rows,
    found: Rows,
    market: Rows,
    rate_e8: Rows,
    open_account: Rows,
    account_positions: Rows,
) -> int:
    """Put into `found` (GateState.firm) what gross and net would be with the order; 0, or OVERFLOW.

    FIRM_GROSS, BASE_GROSS, ACCOUNT_GROSS, BASE_NET (positive = on the order's side), and GROWS: 1
    when the order makes its cell's worst case larger. About 12 ns a cell.
    """
    i, side = np.int64(intents[k]["instrument"]), np.int64(intents[k]["side"])
    a, base = np.int64(intents[k]["account"]), view.instruments[i]["underlying"]
    firm, gross, net, mine, unknown = 0, 0, 0, 0, 0
    for n in range(found[CELL_COUNT]):
        b, j = cells[n, 0] >> 32, cells[n, 0] & 0xFFFFFFFF
        if b == a and j == i:
            continue
        held = account_positions[b, j]["qty"]
        bids, asks = open_account[b, j, 0], open_account[b, j, 1]
        if max(abs(held), bids, asks) >= NO_LIMIT:
            return OVERFLOW
        most = max(abs(held + bids), abs(held - asks))
        if most == 0:
            continue
        price = mark(view.top, market, j)
        value = worth(view.instruments, j, price, most, rate_e8[j])
        if value == OVERFLOW or firm >= NO_LIMIT:
            return OVERFLOW
        firm += value
        mine += value if b == a else 0
        if view.instruments[j]["underlying"] == base:
            gross += value
            toward = held + bids if side > 0 else asks - held
            net += _toward(view.instruments, j, price, toward, most, value, rate_e8[j])
    for j in range(k):
        other = np.int64(intents[j]["instrument"])
        adds = np.int64(intents[j]["op"]) in (PLACE, AMEND) and other != i
        if intents[j]["verdict"] != PASS or not adds:
            continue
        price = max(order_price(intents, j, view), mark(view.top, market, other))
        value = worth(view.instruments, other, price, intents[j]["qty"], rate_e8[other])
        unknown += 1 if value == OVERFLOW else 0
        firm += value
        mine += value if intents[j]["account"] == a else 0
        if view.instruments[other]["underlying"] == base:
            gross += value
            net += value if intents[j]["side"] == side else 0
    held, qty = account_positions[a, i]["qty"], intents[k]["qty"]
    bids = open_account[a, i, 0] + pending_lots(intents, k, i, 1)
    asks = open_account[a, i, 1] + pending_lots(intents, k, i, -1)
    before = max(abs(held + bids), abs(held - asks))
    toward = held + bids + qty if side > 0 else asks + qty - held
    most = max(before, abs(toward))
    price = max(order_price(intents, k, view), mark(view.top, market, i))
    value = worth(view.instruments, i, price, most, rate_e8[i])
    if value == OVERFLOW or firm >= NO_LIMIT or unknown != 0:
        return OVERFLOW
    directed = _toward(view.instruments, i, price, toward, most, value, rate_e8[i])
    found[FIRM_GROSS], found[ACCOUNT_GROSS] = firm + value, mine + value
    found[BASE_GROSS], found[BASE_NET] = gross + value, net + directed
    found[GROWS] = 1 if most > before else 0
    return 0


@kernel
def gross_now(
    top: Rows, instruments: Rows, market: Rows, rate_e8: Rows, open_account: Rows,
    account_positions: Rows,
) -> int:  # fmt: skip
    """Return the worst-case gross over all accounts as it is, or OVERFLOW; `survey`'s arithmetic.

    OVERFLOW too where something without a price is held. May be read beside the loop: a hint of how
    much of a share is in use. Looks at every cell, because the list that `survey` walks is made
    when the first order comes. About 5 ns a cell.
    """
    total = 0
    for a in range(account_positions.shape[0]):
        for i in range(account_positions.shape[1]):
            held = account_positions[a, i]["qty"]
            bids, asks = open_account[a, i, 0], open_account[a, i, 1]
            most = max(abs(held + bids), abs(held - asks))
            if most == 0:
                continue
            price = middle(top, i)
            if price <= 0:
                price = market[i, MIDDLE]
            value = worth(instruments, i, price, most, rate_e8[i])
            if value == OVERFLOW or total >= NO_LIMIT:
                return OVERFLOW
            total += value
    return total


@inline_kernel
def check_exposure(found: Rows, most: Rows, firm_gross_max: Rows) -> tuple[int, int]:
    """Refuse what `survey` found beyond a limit; returns (verdict, rule). most: of the base.

    An order that does not make its cell's worst case larger passes whatever the gross is: a limit
    of 0 leaves what reduces.
    """
    if found[BASE_NET] > most[NET]:
        return DENY_EXPOSURE, RULE_EXPOSURE
    if found[GROWS] == 0:
        return PASS, 0
    if found[BASE_GROSS] > most[GROSS]:
        return DENY_EXPOSURE, RULE_EXPOSURE
    if found[FIRM_GROSS] > firm_gross_max[0]:
        return DENY_EXPOSURE, RULE_FIRM_GROSS
    return PASS, 0
