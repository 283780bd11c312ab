"""What every ring of tests shares: the private servers, the books of faults and of attacks, and their order."""

import gc
import itertools
import logging
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import hypothesis
import pytest
import structlog
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

pytest_plugins = ["datauploader_testing.plugin", "datauploader_sandbox.campaign", "datauploader_sandbox.attacks"]

hypothesis.settings.register_profile(  # how busy a machine is says nothing about an example
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")

structlog.configure(  # rich, which is installed, would draw the variables of every frame: half a minute for one error
    processors=[*structlog.get_config()["processors"][:-1], structlog.dev.ConsoleRenderer(
        colors=False, exception_formatter=structlog.dev.plain_traceback
    )]
)  # fmt: skip

BUSY = {"browser": 42, "system": 33, "wire": 5, "faults": 4, "domain": 1, "windows": 1, "wine": 60}
"""Rings that keep the processor busy, with the mean seconds of a file."""
WAITING = {"contracts": 11, "handlers": 10, "security": 7}
"""Rings that mostly wait, with the mean seconds of a file."""

BROKER = "tests/contracts/broker/"
"""Where most tests need a RabbitMQ, of one kind or of two."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let rings that are busy and rings that wait go on side by side, so that the processor always has something to do.

    Of both kinds the rings whose files take long come first: none of them is begun when nothing else is left.
    """
    turns: dict[Path, float] = {}
    for rings in (BUSY, WAITING):
        ours = {item.path: rings[ring] for ring in rings for item in items if _ring(item) == ring}
        done = itertools.accumulate(ours.values(), initial=0)
        turns |= {file: so_far / sum(ours.values()) for file, so_far in zip(ours, done, strict=False)}
    items.sort(key=lambda item: turns[item.path])


class Scheduler(LoadFileScheduling):
    """Gives each worker whole files; those of the broker to one, which starts RabbitMQ twice, not every worker."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return BROKER if file.startswith(BROKER) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    """Return how workers share the tests."""
    return Scheduler(config, log)


def _ring(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).parts[0]


def pytest_collection_finish() -> None:
    """Free the collector of garbage from all that was collected here: going through it takes a tenth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Leave logging as it was: a command in this process sets its own, and a later test would wait for a line of it."""
    root = logging.getLogger()
    handlers, level, kept = root.handlers[:], root.level, structlog.get_config()
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:], root.level = handlers, level
    structlog.configure(**kept)
    structlog.contextvars.clear_contextvars()


@pytest.fixture(scope="session", autouse=True)
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trust one certificate authority, here and in programs that tests start: to load all takes each client 40 ms."""
    authority, *_ = httpx.create_ssl_context(trust_env=False).get_ca_certs(binary_form=True)
    file = tmp_path_factory.mktemp("trusted") / "authority.pem"
    file.write_text(ssl.DER_cert_to_PEM_cert(authority))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSL_CERT_FILE", str(file))
        yield


@pytest.fixture(scope="session")
def help_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The help as `./dev site` builds it from docs/, in a folder of its own."""
    folder = tmp_path_factory.mktemp("help")
    configuration = Path(__file__).parents[1] / "deploy" / "help" / "mkdocs.yml"
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-f", configuration, "-d", folder]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(build, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder
