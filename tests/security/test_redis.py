"""Redis as the gateway's own user, with the rules that a deployment makes: what it may not do, a thief of it cannot."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from datauploader.contracts import Event, Person, Station
from datauploader.contracts.datasets import DatasetSpec
from datauploader.contracts.uploads import Destination, UploadRequested
from datauploader_gateway.projection.writer import ViewWriter
from datauploader_testing.servers import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.attack("S28")]

ONCE = Retry(NoBackoff(), 0)
"""Redis' client takes a refused password for a failure that may pass, and would wait before it asks again."""

FORBIDDEN = (
    ("EVAL", "return 1", "0"), ("EVALSHA", "0" * 40, "0"), ("SCRIPT", "LOAD", "return 1"),
    ("FUNCTION", "LIST"), ("FCALL", "x", "0"),
    ("CONFIG", "GET", "*"), ("CONFIG", "SET", "dir", "/"), ("CONFIG", "REWRITE"), ("FLUSHALL",), ("FLUSHDB",),
    ("SHUTDOWN", "NOSAVE"), ("KEYS", "*"), ("SAVE",), ("BGSAVE",), ("BGREWRITEAOF",),
    ("MONITOR",), ("ACL", "LIST"), ("ACL", "SETUSER", "x"), ("CLIENT", "LIST"), ("CLIENT", "KILL", "TYPE", "normal"),
    ("REPLICAOF", "127.0.0.1", "1"), ("MODULE", "LIST"), ("SLOWLOG", "GET"), ("LATENCY", "RESET"),
    ("MIGRATE", "127.0.0.1", "1", "datauploader:x", "0", "100"), ("RESTORE", "datauploader:x", "0", "x"),
    ("SORT", "datauploader:x"), ("SWAPDB", "0", "1"),
    ("GET", "other"), ("SET", "other", "1"), ("DEL", "other"), ("RENAME", "datauploader:x", "other"),
    ("COPY", "datauploader:x", "other"), ("GET", "datauploade"), ("GET", "xdatauploader:1"),
    ("SUBSCRIBE", "any"), ("PUBLISH", "any", "1"),
)  # fmt: skip


@pytest.fixture(scope="module")
def server(deployment: tuple[dict[str, str], Path]) -> Iterator[RedisServer]:
    """Run a Redis with the rules of the deployment; the one of the tests keeps a user of its own."""
    _, site = deployment
    rules = [
        line for line in (site / "redis" / "users.acl").read_text().splitlines() if not line.startswith("user default")
    ]
    with RedisServer(settings="\n".join(rules)) as running:
        yield running


@pytest.fixture
def client(server: RedisServer, deployment: tuple[dict[str, str], Path]) -> Iterator[Any]:
    """Sign in as the gateway does."""
    values, _ = deployment
    found = redis.Redis(port=server.address.port, username="gateway", password=values["REDIS_PASSWORD"])
    yield found
    found.close()


def test_what_the_gateway_does_it_may_do(client: Any) -> None:
    """The rules are no stricter than its work."""
    writer = ViewWriter(client, kept_s=100)
    data = UploadRequested(
        upload_id="u-12345678", investigation="1", dataset=DatasetSpec(name="scan"), root="/data", mode="sync",
        destination=Destination(remote="archive", location="1/scan"), requested_by=Person(id="7"),
    )  # fmt: skip
    assert writer.apply(Event(data=data, station=Station.parse("elettra.xrd1.ws01"), service="gateway"))
    assert client.ping()


@pytest.mark.parametrize("words", FORBIDDEN, ids=lambda words: " ".join(words)[:40])
def test_what_is_none_of_its_business_is_refused(client: Any, words: tuple[str, ...]) -> None:
    """Scripts, configuration, flushing, other prefixes, other clients: the rules say no before anything is done."""
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*words)


def test_nobody_else_gets_in(server: RedisServer, deployment: tuple[dict[str, str], Path]) -> None:
    """No name, no password, a wrong one; the health check's user may say PING alone."""
    _, site = deployment
    for name, password in (("gateway", ""), ("gateway", "wrong"), ("nobody", "x"), (None, None)):
        with pytest.raises(redis.exceptions.RedisError):
            redis.Redis(port=server.address.port, username=name, password=password, retry=ONCE).get("datauploader:x")
    health = redis.Redis(port=server.address.port, username="health", password="none")
    assert health.ping()
    with pytest.raises(redis.exceptions.NoPermissionError):
        health.get("datauploader:x")
    assert "user default off" in (site / "redis" / "users.acl").read_text()
