"""The part of Redis that Hegemon uses, as plain Python: keys, commands, scripts on a real Lua 5.1. No time, no network.

A script runs whole, as on a real server. Scripts are the product's own files, unchanged.
"""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from lupa import lua51  # type: ignore[import-untyped]  # a compiled module without stubs

Reply = Any
_WRONGTYPE: Final = "WRONGTYPE Operation against a key holding the wrong kind of value"


class CommandError(Exception):
    """What the server answers with `-ERR ...`; the text is the answer."""


class Hash(dict[bytes, bytes]):
    """A hash."""


class Members(dict[bytes, None]):
    """A set, in the order of insertion."""


class Scores(dict[bytes, float]):
    """A sorted set."""

    def ranked(self) -> list[bytes]:
        """Members by score, then by name."""
        return sorted(self, key=lambda member: (self[member], member))


class Items(list[bytes]):
    """A list."""


_KINDS: Final[tuple[type[Any], ...]] = (Hash, Members, Scores, Items)
_BOUNDS: Final = {b"-inf": float("-inf"), b"+inf": float("inf"), b"inf": float("inf")}


def text(value: Any) -> bytes:
    """An argument or reply as bytes, numbers as Redis writes them."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, float):
        return b"%d" % int(value) if value == int(value) and abs(value) < 1e17 else repr(value).encode()
    return str(value).encode()


class RedisData:
    """The keys of one server and what commands do to them. `time_us` answers TIME."""

    def __init__(self, time_us: Callable[[], int]) -> None:
        self.keys: dict[bytes, Any] = {}
        self.time_us = time_us
        self.pushed: set[bytes] = set()
        self.scripts: set[bytes] = set()

    def snapshot(self) -> dict[bytes, Any]:
        """A copy of all keys, to go back to."""
        return {key: type(value)(value) if type(value) in _KINDS else value for key, value in self.keys.items()}

    def command(self, name: str, args: Sequence[bytes]) -> Reply:
        """Run one command; raises `CommandError`."""
        method = getattr(self, f"_{name.lower()}", None)
        if method is None:
            raise CommandError(f"ERR unknown command '{name}'")
        return method(*args)

    def _at(self, key: bytes, kind: type[Any], *, make: bool = False) -> Any:
        value = self.keys.get(key)
        if value is None:
            value = kind()
            if make:
                self.keys[key] = value
        elif type(value) is not kind:
            raise CommandError(_WRONGTYPE)
        return value

    def _swept(self, key: bytes) -> None:
        if not self.keys.get(key, True):
            del self.keys[key]

    # -- keys ----------------------------------------------------------------------------------------------------------

    def _ping(self) -> Reply:
        return b"PONG"

    def _time(self) -> Reply:
        seconds, micros = divmod(self.time_us(), 1_000_000)
        return [text(seconds), text(micros)]

    def _get(self, key: bytes) -> Reply:
        return self.keys.get(key)

    def _set(self, key: bytes, value: bytes) -> Reply:
        self.keys[key] = value
        return b"OK"

    def _exists(self, *keys: bytes) -> Reply:
        return sum(key in self.keys for key in keys)

    def _del(self, *keys: bytes) -> Reply:
        return sum(self.keys.pop(key, None) is not None for key in keys)

    _unlink = _del

    def _scan(self, cursor: bytes, *options: bytes) -> Reply:
        given = dict(zip((option.upper() for option in options[::2]), options[1::2], strict=True))
        pattern = given.get(b"MATCH", b"*").replace(rb"\[", b"[[]")
        return [b"0", [key for key in self.keys if fnmatch.fnmatchcase(key.decode(), pattern.decode())]]

    # -- hashes --------------------------------------------------------------------------------------------------------

    def _hget(self, key: bytes, field: bytes) -> Reply:
        return self._at(key, Hash).get(field)

    def _hset(self, key: bytes, *pairs: bytes) -> Reply:
        if len(pairs) % 2 or not pairs:
            raise CommandError("ERR wrong number of arguments for 'hset' command")
        values = self._at(key, Hash, make=True)
        before = len(values)
        values.update(zip(pairs[::2], pairs[1::2], strict=True))
        return len(values) - before

    def _hsetnx(self, key: bytes, field: bytes, value: bytes) -> Reply:
        values = self._at(key, Hash, make=True)
        if field in values:
            return 0
        values[field] = value
        return 1

    def _hdel(self, key: bytes, *fields: bytes) -> Reply:
        values = self._at(key, Hash)
        gone = sum(values.pop(field, None) is not None for field in fields)
        self._swept(key)
        return gone

    def _hmget(self, key: bytes, *fields: bytes) -> Reply:
        values = self._at(key, Hash)
        return [values.get(field) for field in fields]

    def _hgetall(self, key: bytes) -> Reply:
        return [part for pair in self._at(key, Hash).items() for part in pair]

    def _hkeys(self, key: bytes) -> Reply:
        return list(self._at(key, Hash))

    def _hlen(self, key: bytes) -> Reply:
        return len(self._at(key, Hash))

    def _hexists(self, key: bytes, field: bytes) -> Reply:
        return int(field in self._at(key, Hash))

    def _hincrby(self, key: bytes, field: bytes, by: bytes) -> Reply:
        values = self._at(key, Hash, make=True)
        now = int(values.get(field, b"0")) + int(by)
        values[field] = text(now)
        return now

    def _hscan(self, key: bytes, cursor: bytes, *_: bytes) -> Reply:
        return [b"0", self._hgetall(key)]

    # -- sets ----------------------------------------------------------------------------------------------------------

    def _sadd(self, key: bytes, *members: bytes) -> Reply:
        values = self._at(key, Members, make=True)
        before = len(values)
        values.update(dict.fromkeys(members))
        return len(values) - before

    def _srem(self, key: bytes, *members: bytes) -> Reply:
        values = self._at(key, Members)
        gone = sum(1 for member in members if member in values and values.pop(member) is None)
        self._swept(key)
        return gone

    def _smembers(self, key: bytes) -> Reply:
        return list(self._at(key, Members))

    def _sismember(self, key: bytes, member: bytes) -> Reply:
        return int(member in self._at(key, Members))

    def _scard(self, key: bytes) -> Reply:
        return len(self._at(key, Members))

    def _srandmember(self, key: bytes, count: bytes) -> Reply:
        return list(self._at(key, Members))[: int(count)]

    # -- sorted sets ---------------------------------------------------------------------------------------------------

    def _zadd(self, key: bytes, *pairs: bytes) -> Reply:
        values = self._at(key, Scores, make=True)
        before = len(values)
        values.update({member: float(score) for score, member in zip(pairs[::2], pairs[1::2], strict=True)})
        return len(values) - before

    def _zrem(self, key: bytes, *members: bytes) -> Reply:
        values = self._at(key, Scores)
        gone = sum(values.pop(member, None) is not None for member in members)
        self._swept(key)
        return gone

    def _zcard(self, key: bytes) -> Reply:
        return len(self._at(key, Scores))

    def _zscore(self, key: bytes, member: bytes) -> Reply:
        score = self._at(key, Scores).get(member)
        return None if score is None else text(score)

    def _zrange(self, key: bytes, first: bytes, last: bytes, *options: bytes) -> Reply:
        values = self._at(key, Scores)
        return _with_scores(values, _span(values.ranked(), int(first), int(last)), options)

    def _zrangebyscore(self, key: bytes, low: bytes, high: bytes, *options: bytes) -> Reply:
        values = self._at(key, Scores)
        bounds = [_BOUNDS[bound] if bound in _BOUNDS else float(bound) for bound in (low, high)]
        found = [member for member in values.ranked() if bounds[0] <= values[member] <= bounds[1]]
        words = [option.upper() for option in options]
        if b"LIMIT" in words:
            at = words.index(b"LIMIT")
            offset, count = int(options[at + 1]), int(options[at + 2])
            found = found[offset:] if count < 0 else found[offset : offset + count]
        return _with_scores(values, found, words)

    def _zremrangebyscore(self, key: bytes, low: bytes, high: bytes) -> Reply:
        return self._zrem(key, *self._zrangebyscore(key, low, high))

    def _zpopmin(self, key: bytes, count: bytes = b"1") -> Reply:
        values = self._at(key, Scores)
        popped = _with_scores(values, values.ranked()[: int(count)], [b"WITHSCORES"])
        self._zrem(key, *popped[::2])
        return popped

    # -- lists ---------------------------------------------------------------------------------------------------------

    def _rpush(self, key: bytes, *values: bytes) -> Reply:
        items = self._at(key, Items, make=True)
        items.extend(values)
        self.pushed.add(key)
        return len(items)

    def _lpush(self, key: bytes, *values: bytes) -> Reply:
        items = self._at(key, Items, make=True)
        items[:0] = values[::-1]
        self.pushed.add(key)
        return len(items)

    def _lpop(self, key: bytes, count: bytes | None = None) -> Reply:
        if key not in self.keys:
            return None
        items = self._at(key, Items)
        popped = items[: 1 if count is None else int(count)]
        del items[: len(popped)]
        self._swept(key)
        return popped[0] if count is None else list(popped)

    def _llen(self, key: bytes) -> Reply:
        return len(self._at(key, Items))

    def _lindex(self, key: bytes, place: bytes) -> Reply:
        items, at = self._at(key, Items), int(place)
        return items[at] if -len(items) <= at < len(items) else None

    def _lrange(self, key: bytes, first: bytes, last: bytes) -> Reply:
        return _span(self._at(key, Items), int(first), int(last))

    def _lrem(self, key: bytes, count: bytes, value: bytes) -> Reply:
        items, limit, gone = self._at(key, Items), int(count), 0
        while value in items and (limit == 0 or gone < limit):
            items.remove(value)
            gone += 1
        self._swept(key)
        return gone


def _span(items: list[bytes], first: int, last: int) -> list[bytes]:
    size = len(items)
    first = max(first + size, 0) if first < 0 else first
    last = last + size if last < 0 else last
    return list(items[first : last + 1])


def _with_scores(values: Scores, found: list[bytes], options: Sequence[bytes]) -> list[bytes]:
    if b"WITHSCORES" not in [option.upper() for option in options]:
        return found
    return [part for member in found for part in (member, text(values[member]))]


class Scripts:
    """One Lua for all servers of a run. `run` evaluates a script against one server's data."""

    def __init__(self) -> None:
        self._lua = lua51.LuaRuntime(encoding=None, unpack_returned_tuples=False)
        self._data: RedisData | None = None
        self._compiled: dict[bytes, Any] = {}
        self._lua.globals()[b"redis"] = self._lua.table_from({b"call": self._call})

    def run(self, data: RedisData, script: bytes, keys: Sequence[bytes], args: Sequence[bytes]) -> Reply:
        """The script's answer as a reply. Raises `CommandError`."""
        compiled = self._compiled.get(script)
        if compiled is None:
            source = b"return function(KEYS, ARGV)\n" + script + b"\nend"
            compiled = self._compiled[script] = self._lua.execute(source)
        before, self._data = self._data, data
        try:
            return _reply(compiled(self._lua.table_from(list(keys)), self._lua.table_from(list(args))))
        except lua51.LuaError as error:
            raise CommandError(f"ERR Error running script: {error}") from error
        finally:
            self._data = before

    def _call(self, name: bytes, *args: Any) -> Any:
        assert self._data is not None
        return self._value(self._data.command(name.decode(), [text(arg) for arg in args]))

    def _value(self, reply: Reply) -> Any:
        if reply is None:
            return False
        if isinstance(reply, list):
            return self._lua.table_from([self._value(part) for part in reply])
        return reply


def _reply(value: Any) -> Reply:
    if value is None or value is False:
        return None
    if value is True:
        return 1
    if isinstance(value, float):
        return int(value)
    if isinstance(value, (bytes, int)):
        return value
    found = []
    for place in range(1, len(value) + 1):
        part = value[place]
        if part is None:
            break
        found.append(_reply(part))
    return found


def sha1(script: bytes) -> bytes:
    """What EVALSHA knows a script by."""
    return hashlib.sha1(script, usedforsecurity=False).hexdigest().encode()
