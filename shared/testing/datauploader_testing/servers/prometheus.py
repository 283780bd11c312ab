"""A private Prometheus, for rules and targets that a test gives it."""

import subprocess
from pathlib import Path
from typing import Any, ClassVar

import httpx

from datauploader_testing.servers.ports import LOOPBACK, free_port
from datauploader_testing.servers.programs import find_program
from datauploader_testing.servers.server import PrivateServer


class PrometheusServer(PrivateServer):
    """A private Prometheus with a configuration of its own."""

    name: ClassVar[str] = "prometheus"

    def __init__(self, configuration: str) -> None:
        self._program = find_program("prometheus", install="apt-get install prometheus")
        super().__init__()
        self._place = f"{LOOPBACK}:{free_port()}"
        self._configuration = Path(self.directory, "prometheus.yml")
        self._configuration.write_text(configuration, encoding="utf-8")

    def ask(self, path: str, **parameters: str) -> Any:
        """Ask its HTTP API, such as `alerts`, `rules` or `query`, and return the data of the answer."""
        return self._get(f"api/v1/{path}", **parameters).raise_for_status().json()["data"]

    def _launch(self) -> subprocess.Popen[bytes]:
        return self._spawn(
            self._program,
            f"--config.file={self._configuration}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address={self._place}",
            "--log.level=warn",
        )

    def _answers(self) -> bool:
        try:
            return self._get("-/ready").is_success
        except httpx.TransportError:
            return False

    def _get(self, path: str, **parameters: str) -> httpx.Response:
        return httpx.get(f"http://{self._place}/{path}", params=parameters, timeout=10, trust_env=False, verify=False)
