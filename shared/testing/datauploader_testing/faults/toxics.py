"""The ways in which a network can be bad, each one a small thing that sits in one direction of a connection."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum


class Direction(StrEnum):
    """Which way bytes flow."""

    UP = "up"
    """From the client to the server."""
    DOWN = "down"
    """From the server to the client."""


class CloseConnection(Exception):
    """Order the proxy to end the connection in the usual way (FIN)."""


class ResetConnection(Exception):
    """Order the proxy to end the connection rudely (RST)."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes on their way, with their place in the direction's stream and the time they came."""

    start: int
    data: bytes
    arrived: float

    @property
    def end(self) -> int:
        """Tell the place just behind the last byte."""
        return self.start + len(self.data)

    def part(self, start: int, end: int) -> "Chunk":
        """Cut out the bytes between two places of the stream; places outside are moved to the edge."""
        start, end = max(start, self.start), min(end, self.end)
        return Chunk(start, self.data[start - self.start : max(end, start) - self.start], self.arrived)


@dataclass(eq=False, kw_only=True)
class Toxic(ABC):
    """Something bad in one direction; `hits` counts how often it struck."""

    direction: Direction
    hits: int = field(default=0, init=False)
    removed: asyncio.Event = field(default_factory=asyncio.Event, init=False, repr=False)

    @abstractmethod
    def carry(self, chunk: Chunk) -> AsyncIterator[Chunk]:
        """Yield what goes on of a chunk, when it goes on; raise an order to end the connection."""


@dataclass(eq=False, kw_only=True)
class Latency(Toxic):
    """Let every byte arrive later; the bandwidth stays."""

    seconds: float

    async def carry(self, chunk: Chunk) -> AsyncIterator[Chunk]:
        """Wait until the chunk is late enough."""
        self.hits += 1
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, chunk.arrived + self.seconds - now))
        yield chunk


@dataclass(eq=False, kw_only=True)
class Slice(Toxic):
    """Let bytes arrive in small pieces with pauses between them."""

    size: int
    seconds: float = 0.0

    async def carry(self, chunk: Chunk) -> AsyncIterator[Chunk]:
        """Cut the chunk into slices."""
        self.hits += 1
        for start in range(chunk.start, chunk.end, self.size):
            yield chunk.part(start, start + self.size)
            await asyncio.sleep(self.seconds)


@dataclass(eq=False, kw_only=True)
class Bandwidth(Toxic):
    """Let no more than so many bytes through in a second, on each connection."""

    bytes_per_second: int

    async def carry(self, chunk: Chunk) -> AsyncIterator[Chunk]:
        """Pass fiftieths of what a second may carry."""
        self.hits += 1
        step = max(1, self.bytes_per_second // 50)
        for start in range(chunk.start, chunk.end, step):
            piece = chunk.part(start, start + step)
            await asyncio.sleep(len(piece.data) / self.bytes_per_second)
            yield piece


@dataclass(eq=False, kw_only=True)
class LimitData(Toxic):
    """Close the connection after so many bytes of its direction, as a truncating server does."""

    after: int

    async def carry(self, chunk: Chunk) -> AsyncIterator[Chunk]:
        """Pass what is within the limit, then close."""
        yield chunk.part(chunk.start, self.after)
        if chunk.end >= self.after:
            self.hits += 1
            raise CloseConnection


@dataclass(eq=False, kw_only=True)
class Reset(Toxic):
    """Reset the connection after so many bytes of its direction."""

    after: int = 0

    async def carry(self, chunk: Chunk) -> AsyncIterator[Chunk]:
        """Pass what is before the place, then reset."""
        yield chunk.part(chunk.start, self.after)
        if chunk.end >= self.after:
            self.hits += 1
            raise ResetConnection


@dataclass(eq=False, kw_only=True)
class Stall(Toxic):
    """Keep back everything behind so many bytes, with the connection open, until the toxic is removed."""

    after: int = 0

    async def carry(self, chunk: Chunk) -> AsyncIterator[Chunk]:
        """Pass what is before the place, and hold the rest."""
        yield chunk.part(chunk.start, self.after)
        if chunk.end > self.after:
            self.hits += 1
            await self.removed.wait()
            yield chunk.part(self.after, chunk.end)


@dataclass(eq=False, kw_only=True)
class DropResponse(Toxic):
    """Swallow the server's answer and close: the request had its effect, and the client never hears of it.

    With `containing`, everything passes until an answer with these bytes comes.
    """

    direction: Direction = field(default=Direction.DOWN, init=False)
    containing: bytes = b""
    reset: bool = False

    async def carry(self, chunk: Chunk) -> AsyncIterator[Chunk]:
        """Pass what is not the answer, then close."""
        if self.containing not in chunk.data:
            yield chunk
            return
        self.hits += 1
        raise ResetConnection if self.reset else CloseConnection


@dataclass(eq=False, kw_only=True)
class FlipByte(Toxic):
    """Change one byte of a direction, at its place in the stream of each connection (the first is 0)."""

    position: int
    mask: int = 0x01

    async def carry(self, chunk: Chunk) -> AsyncIterator[Chunk]:
        """Change the byte if it is in this chunk."""
        place = self.position - chunk.start
        if 0 <= place < len(chunk.data):
            self.hits += 1
            data = bytearray(chunk.data)
            data[place] ^= self.mask
            chunk = Chunk(chunk.start, bytes(data), chunk.arrived)
        yield chunk


@dataclass(eq=False, kw_only=True)
class FlipAfter(Toxic):
    """Change the byte behind a mark, wherever it passes: a damaged memory that always hits the same file."""

    mark: bytes
    mask: int = 0x01

    async def carry(self, chunk: Chunk) -> AsyncIterator[Chunk]:
        """Change the byte if mark and byte are in this chunk."""
        place = chunk.data.find(self.mark) + len(self.mark)
        if len(self.mark) <= place < len(chunk.data):
            self.hits += 1
            data = bytearray(chunk.data)
            data[place] ^= self.mask
            chunk = Chunk(chunk.start, bytes(data), chunk.arrived)
        yield chunk


async def through(toxics: list[Toxic], chunk: Chunk) -> AsyncIterator[Chunk]:
    """Carry a chunk through several toxics, one after the other."""
    if not chunk.data:
        return
    if not toxics:
        yield chunk
        return
    async for piece in toxics[0].carry(chunk):
        async for passed in through(toxics[1:], piece):
            yield passed
