"""An engine's share in its gate: raised after a grant, lowered before it is given back."""

import asyncio
from contextlib import asynccontextmanager
from decimal import Decimal

import msgspec
import pytest

from alephtx.core import words
from alephtx.core.clock import ManualClock
from alephtx.core.config import parse_config
from alephtx.core.config_schema import Risk, Shared
from alephtx.core.errors import ConfigError, PoolError
from alephtx.engine import context as c
from alephtx.engine.pool_file import FilePool
from alephtx.engine.share_desk import ShareDesk, pool_of
from alephtx.matrix.journal import COMMAND, read
from alephtx.net.pool_redis import RedisPool
from alephtx.risk.shares import CENT_E6
from tests.engine.bench import Bench

pytestmark = pytest.mark.kernel

PRICE = 6_000_000  # 60,000
LOT_CENTS = 600  # a thousand lots of 0.00001 are 600 dollars
QTY = 1_000


class Engine:
    """A bench with a share desk and a loop that serves it; its strategy buys at the bid."""

    def __init__(self, folder, number, pool, *, total, engines, local=None, live_max=64):
        folder.mkdir()
        risk = Risk(
            notional_max=Decimal(10**6), position_notional_max=Decimal(10**9), orders_per_s=10_000,
            drawdown_max=Decimal(10**9), stale_ms=600_000,
        )  # fmt: skip
        self.bench = Bench(folder, engine=number, risk=risk, qty=QTY, live_max=live_max)
        shared = Shared(pool="file:/x", firm_gross_max=Decimal(total), engines=engines,
                        local_share=local, lost_ms=500)  # fmt: skip
        node = msgspec.structs.replace(self.bench.config.node, engine=number)
        config = msgspec.structs.replace(self.bench.config, shared=shared, node=node)
        self.config, self.clock, self.pool = config, ManualClock(), pool
        self.alarms = []
        self.desk = self.new_desk()
        self.orders = {}

    def new_desk(self):
        push = self.bench.engine.rings.commands.push
        desk = ShareDesk(self.config, self.clock, self.bench.ctx, push)
        desk.alarm = self.alarms.append
        return desk

    @property
    def limit(self):
        return int(self.bench.ctx.gate.firm_gross_max[0]) // CENT_E6

    def step(self):
        """Serve the loop once; takes what left."""
        self.bench.step()
        for row in self.bench.sent():
            if row["op"] == words.PLACE:
                self.orders[int(row["order_id"])] = row

    def quote(self):
        """Let the strategy see the touch once more."""
        self.bench.top(PRICE, PRICE + 100)
        self.step()

    def cancel_all(self):
        for order_id in list(self.orders):
            self.bench.update(kind=words.CANCEL_ACK, order_id=order_id)
            del self.orders[order_id]
        self.step()

    async def round(self):
        """One exchange with the pool while the loop goes on."""
        working = asyncio.ensure_future(self.desk.round(self.pool))
        while not working.done():
            self.step()
            await asyncio.sleep(0)
        await working


@asynccontextmanager
async def engines(tmp_path, *, count=2, total=10_000, pool=None, **more):
    """Some engines at one file pool."""
    numbers = tuple(range(1, count + 1))
    made = [
        Engine(tmp_path / str(n), n, pool or FilePool(str(tmp_path / "pool")), total=total,
               engines=numbers, **more)
        for n in numbers
    ]  # fmt: skip
    try:
        yield made
    finally:
        for engine in made:
            engine.bench.close()


class Dead:
    """A pool that does not answer."""

    async def ask(self, *arguments):
        raise PoolError("nobody there")


async def test_engine_begins_with_nothing_and_grows_once_all_are_there(tmp_path):
    async with engines(tmp_path) as (one, two):
        one.quote()
        assert (one.limit, one.orders) == (0, {})
        await one.round()
        assert one.limit == 0, "the other one has not said what it holds"
        await two.round()
        await one.round()
        assert 0 < one.limit <= 1_000_000
        one.quote()
        assert one.orders
        told = one.desk.told()
        assert (told.limit, told.missing, told.lost) == (one.limit, (), False)
        assert 0 <= told.use - LOT_CENTS * 100 * len(one.orders) <= len(one.orders), "rounded up"


async def test_two_gates_that_race_never_use_more_than_the_whole(tmp_path):
    """Real gates, constant prices: what is open over both is within the limit at every moment."""
    async with engines(tmp_path) as both:
        whole, most = 10_000 * 100, 0
        for turn in range(120):
            for engine in both:
                engine.quote()
                await engine.round()
                used = sum(e.desk.use() for e in both)
                most = max(most, used)
                assert used <= whole, turn
                assert sum(e.desk.held for e in both) <= whole
                assert all(e.limit <= e.desk.held for e in both)
            if turn % 25 == 24:
                both[turn // 25 % 2].cancel_all()
        assert most > whole * 0.8, "else nothing was tried"


async def test_what_is_not_used_any_more_is_given_back_and_used_by_the_other(tmp_path):
    async with engines(tmp_path) as (one, two):
        for _ in range(20):
            await two.round()
            one.quote()
            await one.round()
        full = one.limit
        assert full > 500_000
        one.cancel_all()
        await one.round()
        assert one.limit == one.desk.held <= 125_000
        for _ in range(20):
            two.quote()
            await two.round()
        assert two.limit > 500_000
        records = [msgspec.json.decode(r.payload) for r in read(tmp_path / "1" / "journal")
                   if r.kind == COMMAND]  # fmt: skip
        assert records[-1]["why"] == "returned"
        assert records[-1]["held"] == one.desk.held


async def test_order_that_slips_in_while_the_limit_is_lowered_keeps_its_share(tmp_path):
    async with engines(tmp_path, count=1) as (one,):
        for _ in range(8):
            one.quote()
            await one.round()
        held, orders = one.desk.held, len(one.orders)
        use = one.desk.use
        answers = iter([0])  # it looks as if nothing were used when it is decided
        one.desk.use = lambda: next(answers, use())
        await one.round()
        assert one.desk.held == one.limit == held
        assert len(one.orders) == orders


@pytest.mark.parametrize(("local", "left"), [(None, 0), (Decimal(1_200), 120_000)])
async def test_pool_that_is_lost_leaves_the_local_share_or_nothing(tmp_path, local, left):
    async with engines(tmp_path, count=1, local=local) as (one,):
        assert one.limit == left
        for _ in range(8):
            one.quote()
            await one.round()
        held, one.pool = one.desk.held, Dead()
        assert held > left
        await one.round()
        assert one.limit == held, "not at once"
        one.clock.advance(600_000_000)
        await one.round()
        assert (one.limit, one.desk.held, one.desk.lost) == (left, held, True)
        assert "is lost" in one.alarms[-1]
        orders = len(one.orders)
        one.quote()
        assert len(one.orders) == orders, "nothing that adds risk"
        one.pool = FilePool(str(tmp_path / "pool"))
        await one.round()
        assert (one.limit >= held, one.desk.lost) == (True, False)
        assert "heard again" in one.alarms[-1]


async def test_restarted_engine_claims_what_its_journal_says_it_may_have_used(tmp_path):
    async with engines(tmp_path) as (one, two):
        for _ in range(6):
            await two.round()
            one.quote()
            await one.round()
        held = one.desk.held
        again = one.new_desk()
        for record in read(tmp_path / "1" / "journal"):
            if record.kind == COMMAND:
                again.replay(record.payload)
        again.replay(b"{")
        again.replay(b'{"kind": "limit", "cents": 1, "held": 1, "why": ""}')
        assert (again.held, again.limit) == (held, 0), "and begins with nothing that adds risk"
        (tmp_path / "pool").unlink()
        one.desk = again
        await two.round()
        await one.round()
        assert one.limit >= held


async def test_share_that_the_journal_does_not_take_is_not_used(tmp_path):
    async with engines(tmp_path, count=1) as (one,):
        one.bench.journal._fail("a test", halt=True)
        await one.round()
        assert one.limit == 0


async def test_use_is_by_the_last_price_and_unknown_where_it_overflows(tmp_path):
    async with engines(tmp_path, count=1) as (one,):
        for _ in range(6):
            one.quote()
            await one.round()
        use, ctx = one.desk.use(), one.bench.ctx
        assert use > 0
        ctx.top["bid"] = 0
        assert one.desk.use() == use
        held = one.desk.held
        ctx.account_positions["qty"] = 1 << 61
        assert one.desk.use() == -1
        one.cancel_all()
        await one.round()
        assert one.desk.held >= held, "nothing is given back while nobody knows what is used"


async def test_positions_from_before_the_run_count_from_the_first_word(tmp_path):
    """A new run's journal knows nothing of them; the pool must not give their share away."""
    async with engines(tmp_path) as (one, two):
        one.bench.ctx.account_positions["qty"][0, 0] = 10_000
        await two.round()
        await one.round()
        assert (one.limit, one.desk.held) == (0, 0), "no price yet, so it has said nothing"
        one.bench.top(PRICE, PRICE + 100)
        one.bench.ctx.strategies[:, c.S_ENABLED] = 0
        one.step()
        await one.round()
        assert one.desk.held >= 600_000
        for _ in range(20):
            two.quote()
            await two.round()
        assert one.desk.held + two.desk.held <= 1_000_000


def test_engine_without_a_shared_table_has_no_desk(tmp_path):
    bench = Bench(tmp_path)
    try:
        before = int(bench.ctx.gate.firm_gross_max[0])
        desk = ShareDesk(bench.config, ManualClock(), bench.ctx, lambda row: True)
        desk.replay(b'{"kind": "share", "cents": 1, "held": 1, "why": ""}')
        assert desk.told() is None
        assert bench.ctx.gate.firm_gross_max[0] == before
        assert c.COMMAND_LIMIT
    finally:
        bench.close()


CONFIG = """
[node]
engine = 2
[venues.binance_spot]
symbols = ["BTCUSDT"]
[shared]
pool = "{pool}"
firm_gross_max = {total}
engines = {engines}
{more}
"""


def config(*, pool="redis://127.0.0.1:6379/0", total=1000, engines="[1, 2]", more=""):
    return parse_config(CONFIG.format(pool=pool, total=total, engines=engines, more=more))


async def test_config_names_its_pool_and_survives_its_own_dump(tmp_path):
    made = config(more='local_share = "12.5"\npassword = "env:POOL"')
    assert parse_config(made.dump()).shared == made.shared
    assert isinstance(pool_of(config(pool=f"file:{tmp_path}/x"), 1), FilePool)
    pool = pool_of(config(), 1)
    assert isinstance(pool, RedisPool)
    await pool.close()


@pytest.mark.parametrize(
    ("words_of", "said"),
    [
        ({"engines": "[1, 3]"}, "node.engine 2 is not among them"),
        ({"engines": "[2, 2]"}, "listed twice"),
        ({"engines": "[]"}, "length >= 1"),
        ({"engines": "[2, 900]"}, "<= 511"),
        ({"more": "local_share = 501"}, "more than firm_gross_max"),
        ({"more": "lost_ms = 1"}, ">= 200"),
        ({"total": 0}, "is not above zero"),
        ({"total": 10**12}, "at most"),
        ({"pool": "http://x"}, "pool"),
        ({"pool": "redis://:hush@127.0.0.1/0"}, "pool"),
        ({"more": 'password = "hush"'}, "password"),
        ({"more": "[risk]\nfirm_gross_max = 5"}, "cannot be set beside"),
        ({"more": "wrong = 1"}, "wrong"),
    ],
)
def test_config_that_cannot_hold_is_refused_by_name(words_of, said):
    with pytest.raises(ConfigError, match=said) as caught:
        config(**words_of)
    assert "hush" not in str(caught.value)
