"""Named places where a process can be made to die, so that recovery from exactly there can be shown.

`crash_point("catalog.registered")` does nothing at all unless the setting `crash_at` names it. Then the process ends
there as by SIGKILL: nothing is flushed, closed or said.
"""

import os
import signal

import structlog

log = structlog.get_logger()

_armed: dict[str, int] = {}
"""The point that is armed, and how many passes are left before it strikes."""


def arm(where: str) -> None:
    """Arm a point: `name`, or `name:3` for its third pass; "" disarms."""
    _armed.clear()
    if where:
        name, _, passes = where.partition(":")
        _armed[name] = int(passes or 1)


def crash_point(name: str) -> None:
    """Die here when this point is armed."""
    if name in _armed:
        _armed[name] -= 1
        if _armed[name] == 0:
            log.critical("crash_point_reached", point=name)
            os.kill(os.getpid(), signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
