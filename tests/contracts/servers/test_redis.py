"""The private Redis: password, port or socket, and what it keeps."""

import pytest

from datauploader_testing.servers import RedisServer

pytestmark = pytest.mark.redis


@pytest.mark.parametrize("unix_socket", [False, True])
def test_it_answers_and_forgets_when_killed(unix_socket: bool) -> None:
    """Without an append-only file a killed Redis is empty."""
    with RedisServer(unix_socket=unix_socket) as server:
        assert server.command("SET", "key", "value") == "+OK"
        server.kill()
        server.start()
        assert server.command("GET", "key") == "$-1"


def test_with_an_append_only_file_it_remembers() -> None:
    """What was written more than a second before the kill, or flushed by a stop, is there again."""
    with RedisServer(appendonly=True) as server:
        assert server.command("SET", "key", "value") == "+OK"
        server.stop()
        server.start()
        assert server.command("GET", "key") == "$5"


def test_it_asks_for_the_password(redis_server: RedisServer) -> None:
    """The address holds the password; the URL is what redis-py wants."""
    assert (
        redis_server.address.url == f"redis://:{redis_server.address.password}@127.0.0.1:{redis_server.address.port}/0"
    )
    assert redis_server.command("PING") == "+PONG"


def test_a_paused_server_answers_when_it_is_resumed(redis_server: RedisServer) -> None:
    """A frozen server keeps its connections waiting."""
    redis_server.pause()
    try:
        assert redis_server.running
    finally:
        redis_server.resume()
    assert redis_server.command("PING") == "+PONG"
