"""One connection through the fault proxy: two directions, each read ahead and written through the toxics."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Sequence
from typing import Any

from datauploader_testing.faults.toxics import (
    Chunk,
    CloseConnection,
    Direction,
    ResetConnection,
    Toxic,
    through,
)
from datauploader_testing.servers.ports import LOOPBACK

READ_SIZE = 64 * 1024
READ_AHEAD = 64  # chunks that may wait while a toxic holds them: latency must not become a bandwidth limit
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class ProxiedConnection:
    """Carry the bytes of one client to the server and back."""

    def __init__(self, client: socket.socket, toxics: Sequence[Toxic]) -> None:
        self._client = client
        self._toxics = toxics
        self._writers: list[asyncio.StreamWriter] = []

    async def run(self, upstream: int) -> None:
        """Serve until both directions have ended, a toxic ends the connection, or the proxy cuts it."""
        try:
            try:
                from_client, to_client = await self._streams(sock=self._client)
                from_server, to_server = await self._streams(host=LOOPBACK, port=upstream)
                async with asyncio.TaskGroup() as pumps:
                    pumps.create_task(self._pump(Direction.UP, from_client, to_server))
                    pumps.create_task(self._pump(Direction.DOWN, from_server, to_client))
            except* CloseConnection:
                pass
            except* (ResetConnection, OSError):
                self._reset()
            await self._close()
        finally:
            self._reset()

    async def _streams(self, **where: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(**where)
        self._writers.append(writer)
        return reader, writer

    async def _pump(self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting: asyncio.Queue[Chunk | None] = asyncio.Queue(READ_AHEAD)
        async with asyncio.TaskGroup() as ends:
            ends.create_task(self._read(reader, waiting))
            ends.create_task(self._write(direction, waiting, writer))

    async def _read(self, reader: asyncio.StreamReader, waiting: "asyncio.Queue[Chunk | None]") -> None:
        place = 0
        clock = asyncio.get_running_loop()
        while data := await reader.read(READ_SIZE):
            await waiting.put(Chunk(place, data, clock.time()))
            place += len(data)
        await waiting.put(None)

    async def _write(
        self, direction: Direction, waiting: "asyncio.Queue[Chunk | None]", writer: asyncio.StreamWriter
    ) -> None:
        while chunk := await waiting.get():
            toxics = [toxic for toxic in self._toxics if toxic.direction is direction]
            async for piece in through(toxics, chunk):
                writer.write(piece.data)
                await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def _close(self) -> None:
        for writer in self._writers:
            writer.close()
        for writer in self._writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _reset(self) -> None:
        for writer in self._writers:
            with contextlib.suppress(OSError):
                _reset_on_close(writer)
            writer.transport.abort()


def _reset_on_close(writer: asyncio.StreamWriter) -> None:
    """Make the system send RST instead of FIN."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
