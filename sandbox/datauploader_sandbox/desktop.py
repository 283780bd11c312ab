"""The desktop as its person uses it: started, asked in the browser, signed in to, asked for an upload."""

import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from datauploader_sandbox.catalogues import ANNA, FolderSandbox, SandboxCatalogue
from datauploader_sandbox.processes import PROGRAM
from datauploader_testing.waiting import eventually

LINK = re.compile(r"http://127\.0\.0\.1:\d+/(?:setup|desktop)/open\?token=[\w.-]+")
INVESTIGATION = "20260101"


class EmptyFolder(FolderSandbox):
    """A folder that is to become a catalogue; the desktop makes it one, and gives its person an account."""

    def __init__(self, folder: Path) -> None:
        """Make the folder, and nothing in it."""
        self.root = folder / "catalogue"
        self.root.mkdir()

    def credentials(self, session: str) -> dict[str, str]:
        """Return the name and the password that the person chose at the setup."""
        return {"method": "local", "username": "anna", "password": session}

    def tables(self, url: str) -> dict[str, Any]:
        """Return `[catalog]` and `[folder_catalogue]`."""
        del url
        return {"catalog": {"adapter": "folder"}, "folder_catalogue": {"root": self.root}}


class Started:
    """One `datauploader desktop`, and what it says."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it."""
        self.said: list[str] = []
        self.process = subprocess.Popen(
            command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def link(self) -> str:
        """Return the link that it shows."""

        def shown() -> str:
            found = LINK.findall("\n".join(self.said))
            assert found or self.process.poll() is None, self.said
            return found[-1] if found else ""

        return eventually(shown, what="the link", within_s=60)

    def ended(self, within_s: float = 10.0) -> int:
        """Wait for its end; return the exit code."""
        code = self.process.wait(within_s)
        self._reader.join(5)
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as said:
            self.said.extend(line.rstrip() for line in said)


class Workstation:
    """A computer with a folder to upload, a storage folder, and a user office far away."""

    def __init__(
        self,
        base: Path,
        catalogue: SandboxCatalogue,
        *,
        program: Sequence[str] = (PROGRAM,),
        environment: Mapping[str, str] | None = None,
        called: Callable[[Path], str] = str,
    ) -> None:
        """Begin with nothing set up.

        Args:
            base: where the folders are.
            catalogue: the facility's.
            program: the beginning of the command line.
            environment: of the program; None: this one, without settings of ours.
            called: how the program calls a path of this machine.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DATAUPLOADER_")}
        self.environment = {"PYTHONUNBUFFERED": "1"} | dict(kept if environment is None else environment)
        self.program, self.called = tuple(program), called
        self.catalogue = catalogue
        self.home, self.data, self.storage = base / "home", base / "data", base / "storage"
        self.data.mkdir()
        self.storage.mkdir()
        self._started: list[Started] = []

    def start(self) -> Started:
        """Start the desktop."""
        self._started.append(Started(self.command("--port", "0", "--no-browser"), self.environment))
        return self._started[-1]

    def command(self, *options: str) -> Sequence[str]:
        """Return the command line of the desktop, with its folder."""
        return [*self.program, "desktop", "--folder", self.called(self.home), *options]

    def answers(self, **changes: str) -> dict[str, str]:
        """Return answers that are right."""
        return self._catalogue() | {
            "storage": "local", "local_folder": self.called(self.storage), "folders": f"{self.called(self.data)}\n",
            "facility": "sandbox", "beamline": "xrd1", "station": "ws01",
        } | changes  # fmt: skip

    def _catalogue(self) -> dict[str, str]:
        tables = self.catalogue.tables(self.catalogue.url)
        kind = tables["catalog"]["adapter"]
        table: dict[str, Any] = tables["catalog"].get(kind, {})
        match kind:
            case "vuo":
                asked = {"catalogue_url": table["base_url"], "catalogue_secret": table["secret"]}
            case "scicat":
                asked = {
                    "scicat_url": table["base_url"], "scicat_user": table["username"],
                    "scicat_password": table["password"], "scicat_contact": table["contact_email"],
                    "scicat_people": table["people_login"],
                }  # fmt: skip
            case "icat":
                asked = {
                    "icat_url": table["base_url"], "icat_plugin": table["plugin"], "icat_user": table["username"],
                    "icat_password": table["password"], "icat_facility": table["facility"],
                    "icat_people": table["people_plugin"], "icat_page": "",
                }  # fmt: skip
            case _:
                root = self.called(tables["folder_catalogue"]["root"])
                asked = {"catalogue_folder": root, "account_name": "anna", "account_password": ANNA}
        return asked | {"catalogue": kind}

    def close(self) -> None:
        """End what runs still."""
        for started in self._started:
            if started.process.poll() is None:
                started.process.kill()
                started.ended()


@contextmanager
def browser(link: str) -> Iterator[httpx.Client]:
    """Give a browser that has opened a link."""
    base = link.partition("/setup/")[0].partition("/desktop/")[0]
    with httpx.Client(base_url=base, headers={"Origin": base}, timeout=100, follow_redirects=True) as client:
        answer = client.get(link)
        assert answer.status_code == 200, answer.text
        yield client


def configured(workstation: Workstation, started: Started) -> str:
    """Answer the questions; return the link to the page of the services."""
    with browser(started.link()) as asked:
        return answered(workstation, asked)


def answered(workstation: Workstation, asked: httpx.Client) -> str:
    """Answer the questions where they were asked already; return the link to the page of the services."""
    answer = asked.post("/setup", data=workstation.answers())
    assert answer.status_code == 200, answer.text
    assert asked.post("/setup", data=workstation.answers(station="other")).status_code == 409
    shown = eventually(lambda: LINK.findall(asked.get("/setup/starting").text), what="it runs", within_s=60)
    return str(shown[0])


def sign_in(workstation: Workstation, client: httpx.Client) -> None:
    """Sign in as Anna."""
    asked = workstation.catalogue.credentials(ANNA)
    eventually(lambda: client.post("/api/v1/session", json=asked).status_code == 200, what="signed in", within_s=30)


def investigation(client: httpx.Client) -> str:
    """Return the id of Anna's investigation; make it where the catalogue has none."""
    items = client.get("/api/v1/investigations").json()["items"]
    for item in items:
        if item["name"] == INVESTIGATION:
            return str(item["id"])
    made = client.post("/api/v1/investigations", json={"name": INVESTIGATION, "visit": "1", "title": "Grain growth"})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def uploaded(client: httpx.Client) -> Any:
    """Return the only upload."""
    items = client.get("/api/v1/uploads").json()["items"]
    return items[0] if items else None


def request(workstation: Workstation, client: httpx.Client, mode: str) -> None:
    """Ask for an upload of the data folder."""
    asked = {
        "investigation": investigation(client), "dataset": {"name": "first"}, "station": "sandbox.xrd1.ws01",
        "path": workstation.called(workstation.data), "mode": mode, "quiet_period_s": 0.2,
    }  # fmt: skip
    eventually(lambda: "sandbox.xrd1.ws01" in client.get("/api/v1/stations").text, what="the station reports")
    answer = client.post("/api/v1/uploads", json=asked)
    assert answer.status_code == 201, answer.text


def goes_on(workstation: Workstation, client: httpx.Client, files: int) -> None:
    """After another start: sign in, find the upload, wait for the rest of its files, and close it."""
    sign_in(workstation, client)
    eventually(lambda: uploaded(client), what="the upload is known after the start", within_s=30)
    wanted = f"{files} files are catalogued"
    eventually(lambda: uploaded(client)["counts"]["catalogued"]["files"] == files, what=wanted, within_s=60)
    client.post(f"/api/v1/uploads/{uploaded(client)['id']}/close")
    eventually(lambda: uploaded(client)["state"] == "completed", what="the dataset is complete", within_s=60)
