"""Threads that work as long as their service: none ends in silence, and which are which is kept to."""

import ast
import ctypes
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from datauploader.reliability import worker
from datauploader.reliability.worker import WorkerThread
from datauploader_testing.waiting import eventually

ROOT = Path(__file__).parents[3]
SHORT = {
    "services/catalog/datauploader_catalog/service.py": "ends a reading of the log, and waits for nobody",
    "services/gateway/datauploader_gateway/desktop/run.py": "opens the browser",
    "services/gateway/datauploader_gateway/http/server.py": "health asks whether it is alive",
    "services/transfer/datauploader_transfer/rclone/die_with_parent.py": "ends rclone when this process is gone",
    "shared/core/datauploader/runtime/process.py": "stops a service",
    "shared/core/datauploader/runtime/certificates.py": "one look at certificates, and the next one begins another",
    "shared/core/datauploader/runtime/otlp.py": "sends the last traces at the end, and is not waited for long",
    "shared/core/datauploader/runtime/health.py": "who asks for health gets no answer where it has ended",
    "shared/core/datauploader/messaging/memory/bus.py": "the timer of the broker in this process",
    "shared/core/datauploader/messaging/rabbit/event_loop.py": "looks up an address; the bus tells when its loop ends",
    "shared/core/datauploader/reliability/hang_guard.py": "asks a drive that may never answer",
    "shared/core/datauploader/plugins/file_reader/executable.py": "reads a program's standard error to its end",
    "shared/core/datauploader/winservice.py": "answers Windows, which ends the process when it does not",
}
"""Modules with threads that are no `WorkerThread`, and why that is right."""


def test_every_thread_that_must_live_on_is_a_worker_thread() -> None:
    """A plain one would end in silence."""
    plain = set()
    for top in ("shared", "services", "harvesters", "consumers"):
        for path in (ROOT / top).rglob("*.py"):
            if "testing" in path.parts or path.name == "worker.py":
                continue
            calls = (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))
            if any(ast.unparse(call.func) in ("threading.Thread", "Thread") for call in calls):
                plain.add(path.relative_to(ROOT).as_posix())
    assert plain == SHORT.keys()


def test_an_error_is_told_and_the_work_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told for a while, also when all is well again."""
    monkeypatch.setattr(worker, "PAUSE_S", 0.01)
    monkeypatch.setattr(worker, "SHOWN_S", 0.3)
    begun, end = [], threading.Event()

    def work() -> None:
        begun.append(1)
        if len(begun) == 1:
            raise ValueError("odd")
        end.wait()

    thread = WorkerThread(work, name="odd-jobs")
    thread.start()
    eventually(lambda: len(begun) == 2, what="it has begun anew")
    (said,) = worker.problems(since=thread.began_at)
    assert said == "the thread odd-jobs met an error (ValueError: odd) and was restarted; see the log"
    eventually(lambda: not thread.problem, what="it is over")
    end.set()
    thread.join(5)
    assert not thread.problem


class Ending(BaseException):
    """Ends a thread from outside, as nothing should."""


@pytest.fixture
def facility(tmp_path: Path) -> Iterator[object]:
    """Give a facility whose services live in this process."""
    from datauploader_sandbox.facility import Facility

    with Facility(folder=tmp_path / "facility") as made:
        yield made


@pytest.mark.campaign
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_every_thread_that_ends_is_named_by_health(facility: object) -> None:
    """Each is ended from outside: those that look at something now and then, so that they notice at once."""
    wanted = {
        "watch-loop", "watcher.heartbeat", "catalog.heartbeat", "recall", "progress", "auditor.listing",
        "auditor.reading", "gateway-view", "outbox",
    }  # fmt: skip
    mine = [one for one in threading.enumerate() if isinstance(one, WorkerThread) and one.name in wanted]
    assert {thread.name for thread in mine} == wanted
    for thread in mine:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Ending))

    def named() -> set[str]:
        runtimes = facility._running._runtimes.values()  # type: ignore[attr-defined]
        checks = [check for runtime in runtimes for check in runtime.checks() if check.name == "threads"]
        return {name for name in wanted if any(f"thread {name} has ended" in check.detail for check in checks)}

    eventually(lambda: not wanted - named(), within_s=30, what="all are named")
