"""A pool of shares in Redis: one script, which Redis runs as a whole; see `risk.shares`.

Needs any Redis from 6.2 on. What is stored belongs to one life of one server: the script compares
the server's run id with the one it stored under, and begins anew where they differ, so a snapshot
from before a restart, or a replica that took over, is never believed.
"""

from redis import asyncio as redis
from redis import exceptions

from alephtx.core.errors import PoolError

TIMEOUT_S = 1.0
KEY = "alephtx:firm_gross"
ASKS_BITS = 32  # requests of one life; Lua counts to 2^53, so there is room for two million lives

SCRIPT = """
local key, engine, held, want = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local total, charter, stamp = ARGV[4], ARGV[5], ARGV[6]
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if redis.call('HGET', key, 'run') ~= run then
  redis.call('DEL', key)
  redis.call('HSET', key, 'run', run, 'total', total, 'charter', charter)
end
local stated = redis.call('HMGET', key, 'total', 'charter')
if stated[1] ~= total or stated[2] ~= charter then
  return {'differs', stated[1] or '', stated[2] or ''}
end
local before = redis.call('HGET', key, 'stamp:' .. engine)
if before and tonumber(before) >= tonumber(stamp) then return {'late', before} end
redis.call('HSET', key, engine, ARGV[2], 'stamp:' .. engine, stamp)
local sum, missing = 0, {}
for number in string.gmatch(charter, '[^,]+') do
  local granted = redis.call('HGET', key, number)
  if granted then sum = sum + tonumber(granted) else missing[#missing + 1] = number end
end
local grant = held
if #missing == 0 and want > held then
  grant = held + math.min(want - held, math.max(tonumber(total) - sum, 0))
  redis.call('HSET', key, engine, string.format('%.0f', grant))
end
local all = string.format('%.0f', sum - held + grant)
return {'ok', string.format('%.0f', grant), all, table.concat(missing, ',')}
"""


class RedisPool:
    """One connection to the pool, opened when it is needed.

    life: a number that grows with each start of the engine. Each request has a greater stamp than
    all before it, and the pool takes no older one: a request that was given up for lost may still
    be on its way, and would take back what a later one was granted.
    """

    def __init__(self, url: str, password: str = "", *, life: int, key: str = KEY) -> None:
        self._client = redis.Redis.from_url(
            url, password=password or None, socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S, max_connections=1, retry=None,
        )  # fmt: skip
        self._script = self._client.register_script(SCRIPT)
        self._key = key
        self._stamp = life << ASKS_BITS

    async def ask(
        self, engine: int, held: int, want: int, total: int, charter: tuple[int, ...]
    ) -> tuple[int, int, tuple[int, ...]]:
        """Return (cents granted, cents granted to all, engines missing); PoolError for no answer.

        An answer that comes too late is never read: the connection goes with the request.
        """
        names = ",".join(str(number) for number in sorted(charter))
        self._stamp += 1
        asked: list[str | int] = [engine, held, want, total, names, self._stamp]
        try:
            said = await self._script(keys=[self._key], args=asked)
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            await self._drop()
            raise PoolError(f"the pool does not answer: {type(error).__name__}") from None
        words = [part.decode() for part in said]
        if words[0] == "late":
            raise PoolError(
                f"a later life of engine {engine} speaks to the pool",
                remedy="two engines with one number? Where a run folder was lost, delete the key "
                f"{self._key} in Redis: the pool begins anew",
            )
        if words[0] != "ok":
            raise PoolError(
                f"the pool shares {words[1]} cents among engines {words[2]}, not {total} among "
                f"{names}",
                remedy="give every engine the same [shared] table",
            )
        missing = tuple(int(number) for number in words[3].split(",") if number)
        return int(words[1]), int(words[2]), missing

    async def _drop(self) -> None:
        """Let the connection go, so that no late answer is taken for the next one's."""
        await self._client.connection_pool.disconnect()

    async def close(self) -> None:
        """Let everything go."""
        await self._client.aclose()
