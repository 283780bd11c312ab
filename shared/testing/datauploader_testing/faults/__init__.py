"""A bad network on demand: a TCP proxy on loopback that delays, cuts, stalls, swallows and corrupts."""

from datauploader_testing.faults.proxy import FaultProxy
from datauploader_testing.faults.refusal import PickyServer, RefusingServer
from datauploader_testing.faults.toxics import (
    Bandwidth,
    Direction,
    DropResponse,
    FlipAfter,
    FlipByte,
    Latency,
    LimitData,
    Reset,
    Slice,
    Stall,
    Toxic,
)

__all__ = [
    "Bandwidth",
    "Direction",
    "DropResponse",
    "FaultProxy",
    "FlipAfter",
    "FlipByte",
    "Latency",
    "LimitData",
    "PickyServer",
    "RefusingServer",
    "Reset",
    "Slice",
    "Stall",
    "Toxic",
]
