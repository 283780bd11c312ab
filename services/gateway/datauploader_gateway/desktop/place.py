"""Where the desktop keeps its files: one folder of the user's own, closed to everybody else."""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs


@dataclass(frozen=True, slots=True)
class DesktopFolder:
    """The desktop's folder, with its configuration and state."""

    folder: Path

    @classmethod
    def usual(cls) -> "DesktopFolder":
        """Return the platform's folder for the data of a program and user."""
        return cls(platformdirs.user_data_path("DataUploader", appauthor=False))

    @property
    def config(self) -> Path:
        """The configuration, with the passwords in it."""
        return self.folder / "datauploader.toml"

    @property
    def accounts(self) -> Path:
        """The account of this computer's person; there where the catalogue is a folder."""
        return self.folder / "accounts.toml"

    @property
    def state(self) -> Path:
        """What the services remember."""
        return self.folder / "state"

    @property
    def running(self) -> Path:
        """How to reach the one that runs; there while it does."""
        return self.folder / "running.json"

    @property
    def asked_to_end(self) -> Path:
        """There from when the one that runs is asked to end until it does."""
        return self.folder / "quit"

    @property
    def configured(self) -> bool:
        """The questions were answered."""
        return self.config.exists()

    def write_config(self, text: str, accounts: str) -> None:
        """Keep the answers; the configuration last, because with it the setup is done."""
        if accounts:
            write_private(self.accounts, accounts)
        write_private(self.config, text)

    def remove_config(self) -> None:
        """Forget the answers."""
        self.config.unlink(missing_ok=True)
        self.accounts.unlink(missing_ok=True)

    def announce(self, door: str, secret: str) -> None:
        """Let a second start find the one that runs."""
        write_private(self.running, json.dumps({"door": door, "secret": secret}))

    def found_running(self) -> tuple[str, str] | None:
        """Return the door and the secret of the one that runs; None while it has not said so."""
        try:
            said = json.loads(self.running.read_text(encoding="utf-8"))
            return str(said["door"]), str(said["secret"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def write_private(path: Path, text: str) -> None:
    """Write a file whole, and so that at no moment anybody else can read it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, draft = tempfile.mkstemp(dir=path.parent)  # made with mode 0600
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(draft).replace(path)
