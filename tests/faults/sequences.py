"""Random sequences of what people, instruments and faults do to an upload: the rules, whatever runs below them."""

from abc import abstractmethod
from typing import Any

import httpx
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from datauploader.contracts.uploads import Action
from datauploader.errors import DataUploaderError, GatewayUnreachable, SignInNeeded
from datauploader_client.gateway_client import GatewayClient
from datauploader_sandbox.detector import Ledger
from datauploader_sandbox.run import Run
from datauploader_testing.waiting import eventually

from .conftest import Case

NAMES = st.sampled_from(["a.dat", "b.dat", "deep/c.dat", "deep/er/d.tif", "é.log"])
CONTENTS = st.binary(min_size=1, max_size=40_000)
PROCEDURES = st.sampled_from(["find_dataset", "create_dataset", "add_datafiles", "complete_dataset"])
FAULTS = st.sampled_from(
    [{"kind": "error"}, {"kind": "lost"}, {"kind": "unreadable"}, {"kind": "slow", "seconds": 0.5}]
)
WHILE_S = 3.0


class Sequence(RuleBasedStateMachine):
    """One upload, files that come, change and go, and a catalogue that fails; every example ends well or it fails."""

    run: Run
    count = steps = 0

    def __init__(self) -> None:
        """Ask for an upload of a new folder."""
        super().__init__()
        type(self).count += 1
        self.run = self.begin(f"{type(self).__name__.lower()}-{type(self).count}")
        self.dataset = self.run.ledger.stem
        self.folder = self.run.facility.watched / self.dataset
        self.folder.mkdir()
        self.ledger = Ledger(self.run.ledger, self.folder)
        self.write("ground.dat", b"ground")
        self.upload = self.run.request(self.dataset, path=str(self.folder.resolve()), kind="folder", quiet_period_s=0.3)

    @invariant()
    def another_step(self) -> None:
        """Count the steps, so that a run in which nothing happened is seen to be one."""
        type(self).steps += 1

    @abstractmethod
    def begin(self, dataset: str) -> Run:
        """Return a run with a ledger that is named for the dataset."""

    @rule(name=NAMES, content=CONTENTS)
    def write(self, name: str, content: bytes) -> None:
        """Write a file, or write it anew in place."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.ledger.wrote(path)

    @rule(name=NAMES, content=CONTENTS)
    def append(self, name: str, content: bytes) -> None:
        """Append to a file."""
        path = self.folder / name
        if path.exists():
            with path.open("ab") as file:
                file.write(content)
            self.ledger.wrote(path)

    @rule(old=NAMES, new=NAMES)
    def rename(self, old: str, new: str) -> None:
        """Give a file another name, perhaps that of another one."""
        path, target = self.folder / old, self.folder / new
        if path.exists() and old != new:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
            self.ledger.wrote(target)
            self.ledger.gone(path)

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        """Remove a file."""
        path = self.folder / name
        if path.exists():
            path.unlink()
            self.ledger.gone(path)

    @rule(procedure=PROCEDURES, fault=FAULTS, times=st.integers(1, 3))
    def catalogue_fails(self, procedure: str, fault: dict[str, Any], times: int) -> None:
        """Let some calls of the catalogue fail."""
        self._switch("post", json={"procedure": f"datauploader.{procedure}", "times": times, **fault})

    @rule()
    def catalogue_heals(self) -> None:
        """Let the catalogue be well."""
        self._switch("delete")

    @rule(procedure=PROCEDURES)
    def catalogue_refuses(self, procedure: str) -> None:
        """Let the catalogue refuse this dataset once, so that somebody must press retry."""
        fault = {"procedure": f"datauploader.{procedure}", "kind": "error", "status": 422, "times": 1}
        self._switch("post", json=fault)

    @rule(action=st.sampled_from(["pause", "resume", "retry"]))
    def steer(self, action: Action) -> None:
        """Press a button, if anybody listens."""
        try:
            self.run.control(self.upload, action)
        except DataUploaderError:
            return

    @rule(state=st.sampled_from(["found", "verified", "catalogued"]))
    def look_on(self, state: str) -> None:
        """Let the services come a step further, or not."""
        before = self.counted(state)
        try:
            eventually(lambda: self.counted(state) > before, within_s=WHILE_S, every_s=0.05)
        except AssertionError:
            return

    def counted(self, state: str) -> int:
        """Count the files in a state, as far as anybody can tell."""
        try:
            with GatewayClient(self.run.facility.url, self.run.token) as gateway:
                return int(getattr(gateway.upload(self.upload).counts, state).files)
        except DataUploaderError:
            return -1

    def heal(self) -> None:
        """End every fault."""
        self._switch("delete")

    def teardown(self) -> None:
        """Heal everything, close, and see the dataset complete and right."""
        self.heal()
        self.ledger.__exit__()
        self._press("resume")
        self._press("retry")
        self._press("close")
        self.finish()

    def finish(self) -> None:
        """Wait for completion and ask the oracle."""
        self.run.completed(self.upload)
        self.run.judge(self.dataset)

    def _press(self, action: Action) -> None:
        def pressed() -> bool:
            try:
                self.run.control(self.upload, action)
            except SignInNeeded:
                self.run.token = self.run.facility.sign_in()
            except GatewayUnreachable:
                return False
            else:
                return True
            return False

        eventually(pressed, within_s=60, every_s=0.2, what=f"the gateway takes {action}")

    def _switch(self, method: str, **more: Any) -> None:
        httpx.request(method, f"{self.run.facility.catalogue.url}/_double/faults", **more).raise_for_status()


SERVICES = st.sampled_from(["watcher", "transfer", "catalog", "gateway"])
WAYS = st.sampled_from(["broker", "redis", "catalogue"])


class Violent(Sequence):
    """The same, on a facility of real processes that are killed, frozen, cut off and made to forget."""

    run: Case

    def __init__(self) -> None:
        """Begin with everything at work."""
        self._frozen: set[str] = set()
        super().__init__()

    @rule(service=SERVICES)
    def kill(self, service: str) -> None:
        """Kill a service; somebody starts it again sooner or later."""
        if self.run.services.runs(service):
            self._frozen.discard(service)
            self.run.services.kill(service)

    @rule(service=SERVICES)
    def start(self, service: str) -> None:
        """Start a service that is not there."""
        if not self.run.services.runs(service):
            self.run.services.start(service)

    @rule(service=SERVICES)
    def freeze(self, service: str) -> None:
        """Let a service stand still."""
        if self.run.services.runs(service):
            self.run.services.pause(service)
            self._frozen.add(service)

    @rule()
    def thaw(self) -> None:
        """Let everybody go on."""
        for service in self._frozen:
            self.run.services.resume(service)
        self._frozen.clear()

    @rule(way=WAYS)
    def cut(self, way: str) -> None:
        """Cut all connections to a server."""
        self.run.proxy[way].cut()

    @rule(way=WAYS, away=st.booleans())
    def close_way(self, way: str, away: bool) -> None:
        """Let a server be away, or be there again."""
        if away:
            self.run.proxy[way].refuse()
            self.run.proxy[way].cut()
        else:
            self.run.proxy[way].accept()

    @rule()
    def flush_redis(self) -> None:
        """Let Redis forget everything, who is signed in included."""
        self.run.server["redis"].command("FLUSHALL")

    @rule()
    def kill_broker(self) -> None:
        """Kill the broker, and start it again."""
        self.run.server["rabbitmq"].kill()
        self.run.server["rabbitmq"].start()

    def heal(self) -> None:
        """End every fault, and wait until the facility is well."""
        super().heal()
        self.thaw()
        for proxy in self.run.proxy.values():
            proxy.accept()
        for service in ("watcher", "transfer", "catalog", "gateway", "nexus-harvester"):
            self.start(service)
        self.run.heal()
        self.run.facility.wait()

    def finish(self) -> None:
        """Wait for completion, and ask the oracle, what was claimed included."""
        self.run.recover(self.upload, datasets=(self.dataset,), close=False)
