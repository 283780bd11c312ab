"""Two gateways as processes: the serving one is killed while an instrument writes, and the other one takes over."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiosmtpd.controller import Controller

from datauploader_sandbox.detector import Detector, Plan
from datauploader_sandbox.processes import InManyProcesses
from datauploader_testing.servers.ports import free_port
from datauploader_testing.waiting import eventually

pytestmark = [pytest.mark.campaign, pytest.mark.system, pytest.mark.rabbitmq, pytest.mark.redis]
ANSWERS_S = 30.0
"""Within which the page must be there again."""


class Letters:
    """An SMTP server that takes everything, and knows which letters came."""

    def __init__(self) -> None:
        self.subjects: list[str] = []
        self._controller = Controller(self, hostname="127.0.0.1", port=free_port())
        self._controller.start()
        self.port = self._controller.port

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Take a letter."""
        self.subjects += [line for line in envelope.content.decode().splitlines() if line.startswith("Subject:")]
        return "250 OK"

    def close(self) -> None:
        """End."""
        self._controller.stop()


@pytest.fixture
def letters() -> Iterator[Letters]:
    """Give the server."""
    with closing(Letters()) as server:
        yield server


def second_of(run: Any, folder: Path) -> tuple[InManyProcesses, str]:
    """Run a gateway with a state of its own at the same broker and Redis, as on another machine."""
    config, url = folder / "datauploader.toml", f"http://127.0.0.1:{free_port()}"
    text = run.facility.config.read_text()
    for old, new in (
        (json.dumps(str(run.facility.folder / "state")), json.dumps(str(folder / "state"))),
        (f"port = {run.facility.url.rpartition(':')[2]}", f"port = {url.rpartition(':')[2]}"),
    ):
        assert old in text
        text = text.replace(old, new)
    config.write_text(text)
    config.chmod(0o600)
    return InManyProcesses(config, ("gateway",), folder / "log"), url


def batch(run: Any, name: str) -> str:
    """Upload a folder of one file, and take it away from the others again."""
    folder = run.facility.watched / name
    folder.mkdir()
    (folder / "a.dat").write_text(name)
    upload: str = run.request(name, mode="batch", path=str(folder.resolve()))
    run.completed(upload)
    shutil.rmtree(folder)
    return upload


def serves(url: str) -> bool:
    """Ask as a proxy does."""
    try:
        return httpx.get(f"{url}/health/serving", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def test_a_killed_gateway_is_followed_by_the_other_one_and_nothing_is_lost_or_mailed_twice(
    start: Any, letters: Letters, tmp_path: Path
) -> None:
    """People stay signed in and see all; each dataset is told once; the one that comes back stands by."""
    mail = {
        "host": "127.0.0.1", "port": letters.port, "security": "none", "sender": "uploader@facility.eu",
        "address": "u{user}@facility.eu", "retry_s": 0.5,
    }  # fmt: skip
    run = start(broker="rabbitmq", settings={"gateway": {"mail": mail}})
    folder, first = tmp_path / "second", run.facility.url
    folder.mkdir()
    others, second = second_of(run, folder)
    try:
        eventually(lambda: "gateway_stands_by" in others.log("gateway"), within_s=30, what="the second one stands by")
        assert serves(first)
        assert not serves(second)
        before = batch(run, "before")
        eventually(lambda: len(letters.subjects) == 1, within_s=30, what="the first one has told of it")
        upload = run.request()
        run.opened(upload)
        with Detector(run.facility.watched, run.ledger, Plan(scans=2, frames=10)) as detector:
            run.until(upload, lambda status: status.counts.stored.files, "a file is stored")
            run.facility.processes.kill("gateway")
            killed = time.monotonic()
            eventually(lambda: serves(second), within_s=ANSWERS_S, every_s=0.2, what="the second one serves")
            run.facility.url = second
            assert run.status(before).state == "completed"
            assert time.monotonic() - killed < ANSWERS_S
            detector.finish(60)
        run.control(upload, "close")
        run.completed(upload)
        eventually(lambda: len(letters.subjects) >= 2, within_s=30, what="the second one has told of it")
        run.facility.processes.start("gateway")
        log = run.facility.processes.log
        eventually(
            lambda: "gateway_stands_by" in log("gateway"), within_s=30, what="the first one is back and stands by"
        )
        batch(run, "last")
        eventually(lambda: len(letters.subjects) >= 3, within_s=30, what="the last one is told of")
        assert sorted(letters.subjects) == [
            f"Subject: Dataset {name} is complete" for name in ("before", "last", "run")
        ]
        run.judge()
    finally:
        others.stop()
