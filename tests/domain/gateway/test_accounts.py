"""The administrator's file of accounts, while somebody writes it."""

import os
import time
from pathlib import Path

import pytest

from datauploader_gateway.auth.accounts import Accounts

TEXT = '[[account]]\nname = "anna"\nuser_id = "7"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a file with one account, written a while ago."""
    made = tmp_path / "accounts.toml"
    made.write_text(TEXT)
    os.utime(made, (time.time() - 3600,) * 2)
    return made


def test_a_file_that_is_just_being_written_does_not_count_yet(path: Path) -> None:
    """Many editors empty it first: nobody is shown out for that. Once it rests it counts, empty or not."""
    accounts = Accounts(path)
    path.write_text("")
    assert accounts.by_id("7")
    os.utime(path, (time.time() - 60,) * 2)
    assert not accounts.by_id("7")


def test_a_file_that_is_emptied_while_it_is_read_does_not_count(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An editor begins between our look at the file and our reading."""
    accounts = Accounts(path)
    path.write_text(TEXT + "# more\n")
    os.utime(path, (time.time() - 60,) * 2)
    read = Path.read_text

    def late(self: Path, encoding: str) -> str:
        self.write_text("")
        return read(self, encoding)

    monkeypatch.setattr(Path, "read_text", late)
    assert accounts.by_id("7")


def test_a_file_of_the_future_counts(path: Path) -> None:
    """The clock of a file server may be ahead of ours by any time."""
    accounts = Accounts(path)
    path.write_text(TEXT.replace("7", "8"))
    os.utime(path, (time.time() + 3600,) * 2)
    assert accounts.by_id("8")
    assert not accounts.by_id("7")


def test_what_is_there_at_the_start_counts_at_once(path: Path) -> None:
    """A facility that was set up a moment ago lets people in."""
    path.write_text(TEXT)
    assert Accounts(path).by_id("7")
