"""A facility that is broken on purpose, with an operator and a Prometheus who look at it."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from datauploader_sandbox.browser.site import PASSWORD, Site
from datauploader_sandbox.causes.alerts import LOOKS_BACK, Alerts, Told, configuration, held_back
from datauploader_sandbox.facility import SERVICES, Facility
from datauploader_testing.servers import PrometheusServer
from datauploader_testing.servers.ports import free_port
from datauploader_testing.waiting import eventually

LOOK_S = 0.5
NAMED_S = 15.0
"""Within which the page must name a cause."""
HOLD_S = 10.0
"""How long it is watched afterwards whether it stays one cause."""
PENDING_S = 150.0
"""Within which the rule of an alert must hold."""
WELL_S = 150.0

Named = dict[str, tuple[str, str]]
"""What is called wrong, by its key, with what there is to say about it."""
Step = Callable[["Scene"], object]


def _nothing(_: "Scene") -> None:
    """Break, mend or prepare nothing."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is broken, what the page must call it, which alert must tell of it, and how it is put right."""

    name: str
    key: str
    """Of the cause on the page; "" where no page can or need tell of it."""
    alert: str
    """Its name; "" where none need tell of it."""
    breaks: Step
    mends: Step = _nothing
    prepares: Step = _nothing
    """Done before, with time to be well again."""
    shows: Callable[["Scene"], bool] | None = None
    """What is waited for where there is no key."""
    says: str = ""
    """What stands in the table in place of what the page says."""
    word: str = ""
    """What the page must also say about the cause; the table repeats it then."""
    quiet: str = ""
    """Why no alert need tell of it."""
    hold_s: float = HOLD_S

    def is_named(self, seen: Named) -> bool:
        """Tell whether this is among what is called wrong."""
        return self.key in seen and self.word in seen[self.key][1]


@dataclass(frozen=True, slots=True)
class Measured:
    """What was seen of one fault."""

    fault: str
    seconds: float
    what: str
    causes: int
    """The most causes that stood there at once, from the naming on."""
    alert: str
    """The alert that told of it, with the minutes that its rule must hold; or why none did."""
    pending_s: float | None
    firing_s: float | None
    """None where that was not waited for."""
    held_back: tuple[str, ...]
    """Alerts that Alertmanager does not send because of that one."""
    told_as_well: tuple[str, ...]
    """Alerts that it does send beside it."""


class Scene:
    """A running facility with an operator who looks."""

    def __init__(self, facility: Facility, alerts: Alerts) -> None:
        """Sign the operator in."""
        self.facility, self.alerts = facility, alerts
        self._client = httpx.Client(base_url=facility.url, timeout=20)
        self.sign_in()

    def sign_in(self) -> None:
        """Get a token, anew where Redis has lost the last one."""
        asked = {"method": "local", "username": "otto", "password": PASSWORD, "name": "causes"}
        answer = self._client.post("/api/v1/tokens", json=asked, headers={"Origin": self.facility.url})
        answer.raise_for_status()
        self._client.headers["Authorization"] = f"Bearer {answer.json()['token']}"

    def _signed_in(self) -> bool:
        try:
            self.sign_in()
        except httpx.HTTPError:
            return False
        return True

    def causes(self) -> Named | None:
        """Return what the page calls wrong; None while nobody answers."""
        try:
            answer = self._client.get("/api/v1/operations")
            if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                return self._without_redis()
            answer.raise_for_status()
        except httpx.HTTPError:
            return None
        return {cause["key"]: (cause["what"], cause["detail"]) for cause in answer.json()["causes"]}

    def _without_redis(self) -> Named | None:
        page = httpx.get(f"{self.facility.url}/operations/direct", auth=("otto", PASSWORD), timeout=20)
        found = re.findall(r'<li class="" data-cause="([^"]*)"><strong>(.*?)</strong>', page.text)
        return {key: (what, "") for key, what in found} if page.status_code == httpx.codes.OK else None

    def _until_well(self, fault: Fault) -> None:
        """Wait until nothing is wrong and no alert tells of anything; some tell of what was, and are passed over."""
        end = time.monotonic() + WELL_S
        while (seen := self.causes()) != {} or self._still_told(fault):
            if time.monotonic() > end:
                told = sorted(self._still_told(fault))
                raise RuntimeError(f"{fault.name} cannot be tried, because of {seen}, and alerts {told}")
            time.sleep(LOOK_S)

    def _still_told(self, fault: Fault) -> set[str]:
        return {alert.name for alert in self.alerts.active().values()} - (LOOKS_BACK - {fault.alert})

    def measure(self, fault: Fault, firing_s: float = 0.0) -> Measured:
        """Break something on a facility that is well, see what tells of it, and put it right.

        An alert is waited for until it fires where its rule must hold for at most `firing_s`, else until it holds.
        """
        fault.prepares(self)
        self._until_well(fault)
        told, began = Told(self.alerts), time.monotonic()
        try:
            fault.breaks(self)
            seconds, seen = self._named(fault, began, told)
            waits = self.alerts.waits().get(fault.alert, 0.0)
            if fault.alert:
                self._told(fault.alert, told, "pending", PENDING_S)
                if waits <= firing_s:
                    self._told(fault.alert, told, "firing", waits + 60)
        finally:
            fault.mends(self)
            if fault.key.startswith("redis"):
                eventually(self._signed_in, within_s=60, every_s=1, what="Redis keeps sessions again")
        what, detail = seen.get(fault.key, (fault.says, ""))
        others, held = set(told.pending) - {fault.alert}, held_back(fault.alert)
        return Measured(
            fault.name,
            seconds,
            f"{what}. {detail}" if fault.word else what,
            len(seen),
            f"{fault.alert} ({f'{waits / 60:g} min' if waits else 'at once'})" if fault.alert else fault.quiet,
            told.pending.get(fault.alert),
            told.firing.get(fault.alert),
            tuple(sorted(others & held)),
            tuple(sorted(others - held)),
        )

    def _named(self, fault: Fault, began: float, told: Told) -> tuple[float, Named]:
        """Return after how many seconds the cause is named, and the most causes that stand there from then on."""
        most: Named = {}

        def look() -> bool:
            nonlocal most
            told.look()
            seen = self.causes() or {}
            if len(seen) > len(most) or (fault.key and not fault.is_named(most)):
                most = seen
            return fault.shows(self) if fault.shows else fault.is_named(most)

        eventually(look, within_s=60, every_s=LOOK_S, what=f"{fault.name} is called {fault.key}")
        seconds = time.monotonic() - began
        end = time.monotonic() + fault.hold_s
        while time.monotonic() < end:
            look()
            time.sleep(LOOK_S)
        if len(most) > 1:
            print(f"{fault.name}: {most}", flush=True)
        return seconds, most

    def _told(self, alert: str, told: Told, state: str, within_s: float) -> None:
        def look() -> bool:
            told.look()
            self.causes()  # the page stays open, and has the catalogue asked how it is
            return alert in (told.pending if state == "pending" else told.firing)

        eventually(look, within_s=within_s, every_s=LOOK_S, what=f"{alert} is {state}; there are {told.pending}")


@contextmanager
def scene(folder: Path) -> Iterator[Scene]:
    """Run a facility whose services, servers and storage can be broken, and Prometheus beside it."""
    ports = {service: free_port() for service in SERVICES}
    how: dict[str, Any] = {
        "broker": "rabbitmq",
        "storage": "apache",
        "proxied": ("catalogue", "storage"),
        "operations": True,
        "before": {service: ("env", f"DATAUPLOADER_HEALTH_PORT={port}") for service, port in ports.items()},
    }
    with Site(folder, settings={"gateway": {"harvesters": ["nexus"]}}, **how) as site:
        ports["rabbitmq"] = site.facility.servers["rabbitmq"].address.prometheus_port
        places = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        with PrometheusServer(configuration(places)) as prometheus:
            asked = f"count(up == 1) > {len(places)}"  # of RabbitMQ two pages
            eventually(lambda: prometheus.ask("query", query=asked)["result"], within_s=60, what="all are asked")
            yield Scene(site.facility, Alerts(prometheus))
