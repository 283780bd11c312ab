"""The fault proxy does to a connection what its toxics say, and nothing when there are none."""

import gc
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from datauploader_testing.faults import (
    Bandwidth,
    Direction,
    DropResponse,
    FaultProxy,
    FlipByte,
    Latency,
    LimitData,
    Reset,
    Slice,
    Stall,
)
from datauploader_testing.servers.ports import LOOPBACK

UP, DOWN = Direction.UP, Direction.DOWN


class EchoServer:
    """Answers with what it gets, and remembers it."""

    def __init__(self) -> None:
        self.listener = socket.create_server((LOOPBACK, 0))
        self.port = self.listener.getsockname()[1]
        self.received = bytearray()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    self.received += data
                    connection.sendall(data)
            except OSError:
                return


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    """An upstream that echoes."""
    server = EchoServer()
    yield server
    server.listener.shutdown(socket.SHUT_RDWR)
    server.listener.close()


@pytest.fixture
def proxy(echo: EchoServer) -> Iterator[FaultProxy]:
    """A proxy before the echo server."""
    with FaultProxy(echo.port) as running:
        yield running


def connect(proxy: FaultProxy) -> socket.socket:
    """Open a connection through the proxy."""
    return socket.create_connection((LOOPBACK, proxy.port), timeout=10)


def read(connection: socket.socket, size: int) -> bytes:
    """Read so many bytes, or fewer when the connection ends."""
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def test_without_toxics_everything_passes(proxy: FaultProxy) -> None:
    """A megabyte comes back as it went, and the end of one side reaches the other."""
    data = bytes(range(256)) * 4096
    with closing(connect(proxy)) as client:
        threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)), daemon=True).start()
        assert read(client, len(data) + 1) == data


def test_latency_delays_but_does_not_limit_the_bandwidth(proxy: FaultProxy) -> None:
    """Two megabytes in many chunks come 0.2 s late altogether, not 0.2 s a chunk."""
    data = b"x" * 2_000_000
    proxy.add(Latency(direction=DOWN, seconds=0.2))
    with closing(connect(proxy)) as client:
        started = time.monotonic()
        threading.Thread(target=client.sendall, args=(data,), daemon=True).start()
        assert read(client, len(data)) == data
        assert 0.2 <= time.monotonic() - started < 2


def test_bandwidth_limits(proxy: FaultProxy) -> None:
    """100 kB at 200 kB a second take half a second."""
    proxy.add(Bandwidth(direction=UP, bytes_per_second=200_000))
    with closing(connect(proxy)) as client:
        started = time.monotonic()
        client.sendall(b"x" * 100_000)
        assert len(read(client, 100_000)) == 100_000
        assert time.monotonic() - started >= 0.45


def test_limit_data_truncates(proxy: FaultProxy) -> None:
    """The client gets so many bytes and then the end."""
    limit = LimitData(direction=DOWN, after=1000)
    with proxy.having(limit), closing(connect(proxy)) as client:
        client.sendall(b"x" * 5000)
        assert len(read(client, 5000)) == 1000
    assert limit.hits == 1


def test_reset_is_a_reset(proxy: FaultProxy) -> None:
    """The client sees ECONNRESET, not the end of the stream."""
    with proxy.having(Reset(direction=UP, after=10)), closing(connect(proxy)) as client:
        client.sendall(b"x" * 100)
        with pytest.raises(ConnectionResetError):
            read(client, 100)


def test_stall_holds_until_it_is_removed(proxy: FaultProxy) -> None:
    """Nothing behind the place arrives while the toxic is there, everything when it has gone."""
    stall = Stall(direction=DOWN, after=4)
    proxy.add(stall)
    with closing(connect(proxy)) as client:
        client.sendall(b"abcdefgh")
        assert read(client, 4) == b"abcd"
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(10)
        proxy.remove(stall)
        assert read(client, 4) == b"efgh"


def test_slice_cuts_into_pieces(proxy: FaultProxy) -> None:
    """The same bytes come in pieces of the size."""
    proxy.add(Slice(direction=DOWN, size=3, seconds=0.02))
    with closing(connect(proxy)) as client:
        client.sendall(b"abcdefgh")
        assert client.recv(100) == b"abc"
        assert read(client, 5) == b"defgh"


@pytest.mark.parametrize("reset", [False, True])
def test_drop_response_lets_the_request_through(proxy: FaultProxy, echo: EchoServer, reset: bool) -> None:
    """The server got the request; the client gets an ended connection instead of the answer."""
    drop = DropResponse(containing=b"secret", reset=reset)
    with proxy.having(drop), closing(connect(proxy)) as client:
        client.sendall(b"first")
        assert read(client, 5) == b"first"
        client.sendall(b"my secret")
        if reset:
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        else:
            assert client.recv(1) == b""
    assert bytes(echo.received) == b"firstmy secret"
    assert drop.hits == 1


def test_flip_byte_changes_one_byte(proxy: FaultProxy) -> None:
    """The N-th byte of the direction is another one, also when it comes in a later chunk."""
    with proxy.having(FlipByte(direction=UP, position=6)), closing(connect(proxy)) as client:
        client.sendall(b"abcd")
        assert read(client, 4) == b"abcd"
        client.sendall(b"efgh")
        assert read(client, 4) == b"effh"


def test_refuse_refuses_new_connections_only(proxy: FaultProxy) -> None:
    """ECONNREFUSED for the new, echo for the old, and all as before afterwards."""
    with closing(connect(proxy)) as old:
        old.sendall(b"a")
        assert read(old, 1) == b"a"
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        old.sendall(b"b")
        assert read(old, 1) == b"b"
        proxy.accept()
        with closing(connect(proxy)) as new:
            new.sendall(b"c")
            assert read(new, 1) == b"c"


def test_cut_resets_open_connections(proxy: FaultProxy) -> None:
    """Who is connected is cut, and may come again."""
    with closing(connect(proxy)) as client:
        client.sendall(b"a")
        assert read(client, 1) == b"a"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert proxy.open_connections == 0


def test_a_dead_upstream_resets() -> None:
    """When nobody listens behind the proxy, the client is reset at once."""
    with FaultProxy(upstream=1) as lonely, pytest.raises(ConnectionResetError), closing(connect(lonely)) as client:
        client.recv(1)


def test_toxics_work_on_open_connections(proxy: FaultProxy) -> None:
    """A toxic that is added later strikes the next bytes, and none after it was removed."""
    with closing(connect(proxy)) as client:
        client.sendall(b"a")
        assert read(client, 1) == b"a"
        with proxy.having(FlipByte(direction=DOWN, position=1)):
            client.sendall(b"a")
            assert read(client, 1) == b"`"
        client.sendall(b"a")
        assert read(client, 1) == b"a"


def test_who_comes_while_it_stops_to_listen_is_served_or_cut(proxy: FaultProxy) -> None:
    """A connection that was taken on in the very moment of refusing is closed like any other, never left lying."""
    for _ in range(40):
        waiting = [socket.socket() for _ in range(8)]
        coming = [threading.Thread(target=one.connect_ex, args=((LOOPBACK, proxy.port),)) for one in waiting]
        for thread in coming:
            thread.start()
        proxy.refuse()
        proxy.cut()
        for thread, one in zip(coming, waiting, strict=True):
            thread.join(10)
            one.close()
        proxy.accept()
    gc.collect()
