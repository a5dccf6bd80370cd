"""The feeder against a server that loses, doubles, reorders, stalls, lies and comes back."""

import asyncio
import json
import random
from contextlib import suppress
from itertools import pairwise

import pytest

from alephtx.core.ports import Batch, JoinRule
from alephtx.core.words import CLEAR, CROSSED, GAP, RESYNCING, STALE, TRADE
from alephtx.matrix import writers
from tests.feed.scene import MS, QUICK, scene
from tests.net.servers import until

SPOT, FUTURES, FULL = JoinRule.SPOT, JoinRule.FUTURES, JoinRule.FULL
RULES = [SPOT, FUTURES]


def tuned(**fields):
    import msgspec

    return msgspec.structs.replace(QUICK, **fields)


async def wander(world, seed, steps=60, symbol="AAA"):
    """Change the venue's book at random and send every change."""
    chance = random.Random(seed)
    for _ in range(steps):
        side, price = chance.choice([(0, 90), (1, 101)]), chance.randrange(9)
        level = [(side[1] + price, chance.choice([0, 1, 5, 20]))]
        message = world.venue.change(
            symbol, *((level, []) if side[0] == 0 else ([], level)), span=chance.randrange(1, 4)
        )
        yield message


@pytest.mark.smoke
@pytest.mark.parametrize("rule", [SPOT, FUTURES, FULL])
async def test_book_follows_the_venue_level_by_level(tmp_path, rule):
    async with scene(tmp_path, rule) as world:
        await until(lambda: world.venue.heard == ["sub"])
        await world.venue.send(world.venue.change("AAA", [(99, 6)]))
        if rule == FUTURES:  # the first must contain the snapshot's id: here one more is needed
            await world.venue.send(world.venue.change("AAA", [(97, 1)]))
        await world.live()
        assert world.top() == (99, 6, 101, 4)
        async for message in wander(world, seed=int(rule)):
            await world.venue.send(message)
        await world.live()
        assert world.feeder.counts.gaps == 0
        assert world.feeder.outlet.intake.latency.sum() > 0


@pytest.mark.parametrize("rule", RULES)
async def test_deltas_that_came_during_the_snapshot_are_joined(tmp_path, rule):
    async with scene(tmp_path, rule) as world:
        world.venue.may_answer.clear()
        await until(lambda: world.venue.heard)
        for n in range(30):
            await world.venue.send(world.venue.change("AAA", [(95, n + 1)]))
            if n == 15:
                await until(lambda: world.venue.snapshots)
                world.venue.may_answer.set()
        await world.live()
        assert world.feeder.counts.gaps == 0


async def test_delta_that_a_loop_left_to_us_is_held_before_the_snapshot_joins(tmp_path):
    async with scene(tmp_path, SPOT) as world:
        feeder, left = world.feeder, []

        def settle():
            for message in left:
                batch, ts = Batch(), feeder.clock.now()
                feeder.codec.decode("market", json.dumps(message).encode(), ts, batch)
                feeder.resyncs.hold(0, batch.events[: batch.event_count])
            left.clear()

        feeder.resyncs._settle = settle
        world.venue.may_answer.clear()
        await until(lambda: world.venue.heard)
        await world.venue.send(world.venue.change("AAA", [(97, 2)]))
        await until(lambda: world.venue.snapshots)
        world.venue.stale.append(world.venue.picture("AAA"))
        left.append(world.venue.change("AAA", [(96, 3)]))
        world.venue.may_answer.set()
        await world.live()
        await world.venue.send(world.venue.change("AAA", [(95, 1)]))
        await world.live()
        assert feeder.counts.gaps == 0
        assert world.venue.snapshots == 1


@pytest.mark.parametrize("rule", RULES)
async def test_lost_message_flags_the_book_and_resyncs_it(tmp_path, rule):
    async with scene(tmp_path, rule) as world:
        await _begin(world)
        world.venue.may_answer.clear()
        world.venue.change("AAA", [(96, 50)])  # lost
        await world.venue.send(world.venue.change("AAA", [(97, 2)]))
        await until(lambda: world.flags() & RESYNCING)
        await world.venue.send({"x": "AAA", "id": 1, "p": 100, "z": 2, "s": 1})
        await until(lambda: (TRADE, 0) in world.ring())
        assert world.flags() & RESYNCING
        world.venue.may_answer.set()
        await world.venue.send(world.venue.change("AAA", [(95, 3)]))
        await world.live()
        kinds = [kind for kind, _ in world.ring()]
        assert GAP in kinds
        assert CLEAR in kinds[kinds.index(GAP) :]
        assert world.feeder.counts.gaps == 1
        assert (96, 50) in world.levels()[0]


@pytest.mark.parametrize("rule", RULES)
async def test_doubled_messages_change_nothing(tmp_path, rule):
    async with scene(tmp_path, rule) as world:
        await _begin(world)
        async for message in wander(world, 5):
            await world.venue.send(message, message)
        await world.live()
        assert world.feeder.counts.gaps == 0
        assert world.feeder.outlet.counters()["skipped"] >= 60


@pytest.mark.parametrize("rule", RULES)
async def test_swapped_messages_end_in_the_true_book(tmp_path, rule):
    async with scene(tmp_path, rule) as world:
        await _begin(world)
        for n in range(5):
            one = world.venue.change("AAA", [(90 + n, 3)])
            two = world.venue.change("AAA", [(90 + n, 0)])
            await world.venue.send(two, one)
            await world.venue.send(world.venue.change("AAA", [(80, n + 1)]))
            await world.live()
        assert world.feeder.counts.gaps >= 1


@pytest.mark.parametrize("rule", RULES)
async def test_snapshot_older_than_the_held_deltas_is_fetched_again(tmp_path, rule):
    async with scene(tmp_path, rule) as world:
        old = world.venue.picture("AAA")
        world.venue.change("AAA", [(97, 9)])  # after the old picture, never sent
        world.venue.stale.extend([old, old])
        await until(lambda: world.venue.heard)
        await world.venue.send(world.venue.change("AAA", [(96, 1)]))
        await world.live()
        assert world.feeder.resyncs.refused == 2
        assert (97, 9) in world.levels()[0]


async def test_message_lost_among_the_held_ones_needs_a_newer_snapshot(tmp_path):
    async with scene(tmp_path) as world:
        world.venue.may_answer.clear()
        world.venue.stale.append(world.venue.picture("AAA"))
        await until(lambda: world.venue.heard)
        await world.venue.send(world.venue.change("AAA", [(97, 1)]))
        world.venue.change("AAA", [(97, 2)])  # lost
        await world.venue.send(world.venue.change("AAA", [(96, 3)]))
        await until(lambda: world.feeder.counts.frames == 2)
        world.venue.may_answer.set()
        await world.live()
        assert world.feeder.resyncs.refused == 1
        assert (97, 2) in world.levels()[0]


@pytest.mark.parametrize(
    "answer",
    [
        (429, {"Retry-After": "0"}, ""),
        (503, {}, "<html>busy</html>"),
        (400, {}, '{"code":-1121}'),
        (200, {}, "not json"),
        (200, {}, '{"id":"x","b":[],"a":[]}'),
        (200, {}, '{"id":5,"b":[[1]],"a":[]}'),
        (200, {}, "[]"),
        (200, {}, '{"id":99999999999999999999999,"b":[],"a":[]}'),
    ],
)
async def test_snapshot_that_fails_is_asked_for_again(tmp_path, answer):
    async with scene(tmp_path) as world:
        world.venue.answers.extend([answer] * 3)
        await until(lambda: world.venue.heard)
        await world.venue.send(world.venue.change("AAA", [(96, 1)]))
        await world.live()
        assert world.feeder.resyncs.failures == 3
        assert world.venue.snapshots == 4


async def test_retry_after_is_obeyed(tmp_path):
    async with scene(tmp_path) as world:
        world.venue.answers.append((429, {"Retry-After": "1"}, ""))
        await until(lambda: world.feeder.resyncs.failures == 1)
        await asyncio.sleep(0.2)
        assert world.venue.snapshots == 1
        await world.live()


async def test_lost_link_flags_at_once_and_comes_back_with_a_snapshot(tmp_path):
    async with scene(tmp_path, symbols=("AAA", "BBB")) as world:
        await _begin(world, "AAA", "BBB")
        world.venue.accept = False
        await world.venue.cut()
        await until(lambda: world.flags("AAA") & STALE and world.flags("BBB") & STALE)
        assert world.flags("AAA") & RESYNCING
        world.venue.change("AAA", [(99, 0), (98, 1)], [(102, 8)])
        await asyncio.sleep(0.05)
        assert world.flags("AAA") & STALE
        world.venue.accept = True
        await world.live("AAA", "BBB")
        assert world.venue.heard == ["sub", "sub"]
        assert world.feeder.counts.link_losses == 1


async def test_one_of_two_links_lost_takes_only_its_own_instruments(tmp_path):
    async with scene(tmp_path, symbols=("AAA", "BBB"), links=2) as world:
        await until(lambda: len(world.venue.heard) == 2)
        await world.venue.send(world.venue.change("AAA", [(90, 1)]), link=0)
        await world.venue.send(world.venue.change("BBB", [(90, 1)]), link=1)
        await world.live("AAA", "BBB")
        await world.venue.send(world.venue.change("AAA", [(91, 1)]), link=0)
        await world.venue.send(world.venue.change("BBB", [(91, 1)]), link=1)
        await world.live("AAA", "BBB")
        world.venue.accept = False
        await world.venue.cut(link=1)
        await until(lambda: world.flags("BBB") & STALE)
        assert world.equal("AAA")
        world.venue.accept = True
        await world.live("AAA", "BBB")


async def test_deltas_that_flow_start_the_snapshot_though_another_link_is_down(tmp_path):
    async with scene(tmp_path, links=2, stall_ns=60 * MS) as world:
        # Link 1 stalls for ever; link 0 is kept alive by its deltas.
        async with asyncio.timeout(3):
            while not world.equal():
                await world.venue.send(world.venue.change("AAA", [(90, 2)]), link=0)
                await asyncio.sleep(0.01)


async def test_stalled_server_is_left_and_joined_again(tmp_path):
    async with scene(tmp_path, stall_ns=80 * MS) as world:
        await until(lambda: world.feeder.links[0].counts.stalls >= 1)
        async with asyncio.timeout(3):
            while not world.equal():
                await world.venue.send(world.venue.change("AAA", [(90, 2)]))
                await asyncio.sleep(0.01)


async def test_silent_instrument_is_stale_until_its_next_message(tmp_path):
    async with scene(tmp_path, options=tuned(stale_ns=60 * MS), symbols=("AAA", "BBB")) as world:
        await until(lambda: world.venue.heard)
        for symbol in ("AAA", "BBB"):
            await world.venue.send(world.venue.change(symbol, [(90, 2)]))
            await world.live(symbol)
        await until(lambda: world.flags("AAA") & world.flags("BBB") & STALE)
        await world.venue.send(world.venue.change("BBB", [(90, 1)]))
        await until(lambda: not world.flags("BBB") & STALE)
        await world.venue.send(world.venue.change("AAA", [(90, 1)]))
        await until(lambda: not world.flags("AAA") & STALE)
        assert world.feeder.outlet.counters()["stale_turns"] >= 2


async def test_top_newer_than_the_book_wins(tmp_path):
    async with scene(tmp_path) as world:
        await _begin(world)
        await world.venue.send(
            {"q": "AAA", "u": world.venue.ids["AAA"] + 5, "b": [100, 1], "a": [101, 4]}
        )
        await until(lambda: world.top() == (100, 1, 101, 4))
        await world.venue.send({"q": "AAA", "u": 1, "b": [1, 1], "a": [2, 1]})
        await world.venue.send(world.venue.change("AAA", [(100, 3)], span=9))
        await until(lambda: world.top() == (100, 3, 101, 4))


GARBAGE = [
    "",
    "[]",
    "null",
    "{",
    '{"d":"ZZZ","U":1,"u":2,"p":0,"b":[],"a":[]}',
    '{"d":"AAA"}',
    '{"d":"AAA","U":"x","u":2,"p":0,"b":[[1,2]],"a":[]}',
    '{"d":"AAA","U":1,"u":99999999999999999999999999,"p":0,"b":[],"a":[]}',
    '{"d":"AAA","U":NaN,"u":Infinity,"p":0,"b":[],"a":[]}',
    '{"d":"AAA","U":1,"u":2,"p":0,"b":[[1]],"a":[]}',
    '{"sys":"what"}',
    b"\x00\xff\xfe",
    "x" * 200_000,
]


async def test_garbage_is_counted_and_never_ends_the_feed(tmp_path, capsys):
    async with scene(tmp_path) as world:
        await _begin(world)
        await world.venue.send(*GARBAGE)
        await until(lambda: world.feeder.counts.frames >= len(GARBAGE) + 1)
        await world.venue.send(world.venue.change("AAA", [(91, 4)]))
        await world.live()
        assert not world.task.done()
        assert world.feeder.counts.not_understood >= len(GARBAGE) - 2
    lines = capsys.readouterr().err.splitlines()
    assert sum("frame_not_understood" in line for line in lines) == 1
    assert max(map(len, lines)) < 2000


async def test_message_above_the_bound_costs_the_link_but_not_the_feed(tmp_path):
    async with scene(tmp_path) as world:
        await _begin(world)
        with suppress(ConnectionError):  # the feeder hangs up in the middle
            await world.venue.send("y" * (17 << 20))
        await until(lambda: world.feeder.counts.link_losses == 1)
        await world.live()


async def test_words_of_the_venue_are_obeyed(tmp_path):
    async with scene(tmp_path) as world:
        await _begin(world)
        await world.venue.send(
            {"sys": "say", "text": "echo"}, {"sys": "oops"}, {"sys": "limits"}, {"sys": "else"}
        )
        await until(lambda: world.venue.heard[-1] == "echo")
        assert world.feeder.counts.errors == 1
        await world.venue.send({"sys": "bye"})
        await until(lambda: world.feeder.counts.link_losses == 1)
        await world.live()


async def test_book_that_stays_crossed_is_fetched_anew(tmp_path):
    async with scene(tmp_path) as world:
        await _begin(world)
        liar = world.venue.change("AAA", [], [])
        liar["b"] = [[150, 1]]  # a level that the venue's own book does not have
        await world.venue.send(liar)
        await until(lambda: world.flags() & CROSSED)
        await world.live()
        assert world.feeder.outlet.counters()["crossed_turns"] == 1


async def test_heartbeat_goes_on_when_nothing_comes(tmp_path):
    async with scene(tmp_path) as world:
        beats = []
        async with asyncio.timeout(5):
            while len(beats) < 20:
                beat = writers.last_beat(world.matrix.map, world.feeder.writer)
                if beat and beat not in beats:
                    beats.append(beat)
                await asyncio.sleep(0.002)
        gaps = sorted(b - a for a, b in pairwise(beats))
        assert gaps[len(gaps) // 2] < 50 * MS


async def test_counters_are_readable_by_other_processes(tmp_path):
    async with scene(tmp_path) as world:
        await _begin(world)
        await world.venue.send("junk")
        await until(lambda: world.feeder.counts.not_understood == 1)
        await asyncio.sleep(0.02)
        words = writers.counters(world.matrix.map, world.feeder.writer)
        assert words[writers.NOT_UNDERSTOOD] == 1
        assert words[writers.FRAMES] == world.feeder.counts.frames


async def test_venue_clock_is_measured(tmp_path):
    async with scene(tmp_path, options=tuned(clock_ns=20 * MS)) as world:
        await until(lambda: world.feeder.clock_watch.offset.error_ns < 1 << 61)
        now_ms = asyncio.get_running_loop().time() * 1000
        offset = world.feeder.clock_watch.offset
        truth = now_ms * MS - world.feeder.clock.now()
        assert abs(offset.offset_ns - truth) < offset.error_ns + 5 * MS


async def test_end_of_the_feeder_leaves_everything_flagged(tmp_path):
    async with scene(tmp_path) as world:
        await _begin(world)
        world.task.cancel()
        await asyncio.gather(world.task, return_exceptions=True)
        assert world.flags() & STALE
        assert world.flags() & RESYNCING
        assert len(asyncio.all_tasks()) < 10


async def test_our_own_bug_ends_the_feeder(tmp_path):
    async with scene(tmp_path) as world:
        await _begin(world)
        world.feeder.resyncs._seed = lambda *_: 1 / 0
        world.venue.change("AAA", [(96, 50)])
        await world.venue.send(world.venue.change("AAA", [(97, 2)]))
        with pytest.raises(ExceptionGroup) as caught:
            await asyncio.wait_for(world.task, 3)
        assert isinstance(caught.value.exceptions[0], ZeroDivisionError)


async def test_held_deltas_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("alephtx.feed.resync.HELD_ROWS_MAX", 30)
    async with scene(tmp_path) as world:
        world.venue.may_answer.clear()
        await until(lambda: world.venue.heard)
        for n in range(40):
            await world.venue.send(world.venue.change("AAA", [(95, n + 1)]))
        await until(lambda: world.feeder.counts.frames == 40)
        assert world.feeder.resyncs._held[0].rows <= 30
        assert world.feeder.resyncs.overflows > 0
        world.venue.may_answer.set()
        await world.live()


async def test_new_feeder_of_a_venue_raises_the_epoch(tmp_path):
    async with scene(tmp_path) as world:
        await _begin(world)
        first = int(world._top[0]["aux"]) >> 32
        world.task.cancel()
        await asyncio.gather(world.task, return_exceptions=True)
        old = world.feeder
        again = type(old)(
            old.codec, world.matrix, 0, old.clock, old._endpoints, source=random.Random(1),
            options=QUICK,
        )  # fmt: skip
        world.task = asyncio.create_task(again.run())
        await world.live()
        assert int(world._top[0]["aux"]) >> 32 > first
        world.task.cancel()
        await asyncio.gather(world.task, return_exceptions=True)


async def _begin(world, *symbols):
    """Bring the books to life."""
    await until(lambda: world.venue.heard)
    for symbol in symbols or ("AAA",):
        for price in (94, 93):
            await world.venue.send(world.venue.change(symbol, [(price, 1)]))
            await asyncio.sleep(0.02)
    await world.live(*symbols)
