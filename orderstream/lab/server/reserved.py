"""
A logical database of our own on a Redis that you named in ``REDIS_URL`` or ``REDIS_ADDR``.

The lab takes a database only if nobody uses it: if it is empty, or if it holds only keys that a dead lab session left.
Two keys in the database tell. The lease is a key that expires after a minute; it is renewed as long as the notebook's
process lives. The record is a set of every key that the lab made. At the end this session, or otherwise the next one,
deletes exactly these keys. All others stay.
"""

import secrets
import threading
from contextlib import suppress
from urllib.parse import parse_qsl, urlencode

import redis

from orderstream.config import Settings
from orderstream.embedded.find import ServerError
from orderstream.lab.server.client import PRIVATE, address, explained, open_client
from orderstream.software import OLDEST, greeting, software_of

LEASE = "orderstream:lab:lease"
RECORD = "orderstream:lab:keys"
LEASE_MS = 60_000
MOST = 1024  # databases to look at; some proxies have any number of them

TAKE = """
-- Take this database if nobody holds it, and if it is empty once the leftovers of a dead session are gone.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
for _, key in ipairs(redis.call('SMEMBERS', KEYS[2])) do redis.call('DEL', key) end
redis.call('DEL', KEYS[2])
if redis.call('DBSIZE') > 0 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

RENEW = """
-- Renew our lease. Not if somebody else has it: that happens when this computer slept for more than a minute.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

LEAVE = """
-- Delete what the lab made, then the record of it, then the lease. Only if the lease is ours.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for _, key in ipairs(redis.call('SMEMBERS', KEYS[2])) do redis.call('DEL', key) end
return redis.call('DEL', KEYS[2], KEYS[1])
"""


class ReservedDatabase:
    """
    The first free logical database of the server that *settings* name. Number 0 is tried last.

    Args:
        settings: Where the server is, and the two keys that lessons use without naming them.

    Raises:
        ServerError: The server does not answer, refuses us, is too old or a cluster, or has no free database.
    """

    def __init__(self, settings: Settings) -> None:
        self._holder = secrets.token_hex(8)
        self._leaving = threading.Event()
        with open_client(settings.redis_url) as given, explained(given):
            self._where = address(given)
            self._require_fit(given)
            self._take(settings.redis_url)
            self.fresh(settings.stream, settings.dlq)
        self._renewal = threading.Thread(target=self._keep_renewing, name="lease renewal", daemon=True)
        self._renewal.start()

    def __repr__(self) -> str:
        return "ReservedDatabase()"

    def _require_fit(self, client: redis.Redis) -> None:
        found = software_of(client)
        if found.level < OLDEST:
            raise ServerError(f"{self._where} is {found}: name one from 6.2 on, or {PRIVATE}")
        # A cluster has one database only.
        if greeting(client).get("mode") == "cluster":
            raise ServerError(f"{self._where} is a {found.name} Cluster: name a single server, or {PRIVATE}")

    def _take(self, url: str) -> None:
        for number in range(1, MOST):  # number 0 comes last, because most programs use it
            try:
                if self._take_number(url, number):
                    return
            except redis.ResponseError as error:
                if "out of range" not in str(error):
                    raise
                break
        if not self._take_number(url, 0):
            raise ServerError(f"every database of {self._where} is in use: empty one, name another one, or {PRIVATE}")

    def _take_number(self, url: str, number: int) -> bool:
        self.url = _with_database(url, number)
        self.client = open_client(self.url)
        if self._ask(TAKE, LEASE_MS):
            return True
        self.client.close()
        return False

    def _ask(self, script: str, *arguments: int) -> bool:
        return bool(self.client.eval(script, 2, LEASE, RECORD, self._holder, *arguments))

    def _keep_renewing(self) -> None:
        while not self._leaving.wait(LEASE_MS / 3000):
            with suppress(redis.RedisError):  # during an outage; the next try may succeed
                if not self._ask(RENEW, LEASE_MS):
                    return

    def usable(self) -> bool:
        with suppress(redis.RedisError):
            return self._ask(RENEW, LEASE_MS)
        return False

    def fresh(self, *keys: str) -> None:
        if not self._ask(RENEW, LEASE_MS):
            raise ServerError("another lab session has this database now: restart the kernel and begin again")
        self.client.sadd(RECORD, *keys)  # first: if we die after it, the next session knows these keys
        self.client.delete(*keys)

    def close(self) -> None:
        self._leaving.set()
        self._renewal.join()
        with suppress(redis.RedisError):  # the server is gone, or the next session removes our keys
            self._ask(LEAVE)
        self.client.close()


def _with_database(url: str, number: int) -> str:
    """Return *url* with *number* as its logical database."""
    base, _, query = url.partition("?")
    options = [(name, value) for name, value in parse_qsl(query) if name != "db"]
    if base.startswith("unix:"):
        options.append(("db", str(number)))
    else:
        base = "/".join([*base.split("/")[:3], str(number)])
    return f"{base}?{urlencode(options)}" if options else base
