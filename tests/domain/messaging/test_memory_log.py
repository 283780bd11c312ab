"""The log of the in-process broker in a file: a desktop knows after a restart what it knew before."""

from pathlib import Path

from datauploader.messaging.memory import MemoryBroker, log_file_of
from datauploader.messaging.memory_log import MemoryLog


def bodies(log: MemoryLog) -> list[bytes]:
    """Return what the log holds."""
    return [body for _, _, body in log.after(0)]


def test_what_was_said_is_there_after_a_restart(tmp_path: Path) -> None:
    """In order, readable by its owner alone."""
    path = tmp_path / "state" / "events.log"
    first = MemoryLog(path)
    for body in ('{"name": "Δομή"}'.encode(), b"two"):
        first.append(body)
    again = MemoryLog(path)
    assert bodies(again) == ['{"name": "Δομή"}'.encode(), b"two"]
    again.append(b"three")
    assert [offset for offset, _, _ in again.after(1)] == [1, 2]
    assert path.stat().st_mode & 0o077 == 0
    for log in (first, again):
        log.close()


def test_a_line_that_was_torn_costs_no_other(tmp_path: Path) -> None:
    """The process was killed in the middle of a write; what comes next begins a line of its own."""
    path = tmp_path / "events.log"
    log = MemoryLog(path)
    log.append(b"whole")
    log.close()
    with path.open("ab") as file:
        file.write(b'["2026-01-01T00:00:00+00:00", "to')
    log = MemoryLog(path)
    log.append(b"next")
    log.close()
    log = MemoryLog(path)
    assert bodies(log) == [b"whole", b"next"]
    log.close()


def test_the_oldest_go_when_it_is_full(tmp_path: Path) -> None:
    """In memory at once, in the file at the next start."""
    path = tmp_path / "events.log"
    log = MemoryLog(path, most_bytes=10)
    for n in range(20):
        log.append(b"%04d" % n)
    assert bodies(log) == [b"0018", b"0019"]
    log.close()
    MemoryLog(path, most_bytes=10).close()
    assert len(path.read_bytes().splitlines()) == 2


def test_the_address_names_the_file(tmp_path: Path) -> None:
    """A plain address keeps nothing."""
    path = tmp_path / "events.log"
    assert log_file_of(f"memory://{path.as_posix()}") == path
    assert log_file_of("memory://") is None
    assert log_file_of("memory://a1b2") is None
    assert MemoryBroker().after(0) == []
