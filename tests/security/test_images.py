"""No secret of a site gets into an image: what a build may see, what it copies, what is looked for in the layers."""

import gzip
import io
import re
import runpy
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from datauploader_client.admin.site import SANDBOX_SECRETS, SECRETS

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
LOOK: dict[str, Any] = runpy.run_path(str(ROOT / "deploy" / "image_secrets.py"))
CANARY = "canary-4f1e6a90"
PLANTED = (
    ".env", ".env.old", ".git/config", "deploy/site/broker/definitions.json", "deploy/site/stations/a.env",
    "accounts.toml",
    "var/state/gateway.sqlite", "services/gateway/.env", "services/gateway/accounts.toml", "services/gateway/var/x",
    "services/catalog/datauploader_catalog/tls.key", "shared/core/datauploader/broker.pem", "shared/.pypirc",
    "services/transfer/datauploader_transfer/.rclone.conf", "sandbox/state.sqlite-wal", "harvesters/nexus/station.env",
    "services/watcher/run.log", "docs/notes.txt", "tests/security/test_images.py", "datauploader.toml",
)  # fmt: skip
"""Where secrets lie about in the working folder of somebody who deploys, or should not but do."""

pytestmark = pytest.mark.attack("S26")


def ignored(path: str, rules: list[str]) -> bool:
    """Tell whether .dockerignore keeps a file out of the build: the last rule counts that fits it or a folder above."""
    verdict = False
    places = [path, *map(str, list(PurePosixPath(path).parents)[:-1])]
    for rule in rules:
        pattern = re.escape(rule.removeprefix("!")).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
        if any(re.fullmatch(pattern, place) for place in places):
            verdict = not rule.startswith("!")
    return verdict


@pytest.fixture(scope="module")
def rules() -> list[str]:
    """The lines of .dockerignore."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("path", PLANTED)
def test_nothing_that_may_hold_a_secret_is_sent_to_the_builder(path: str, rules: list[str]) -> None:
    """Neither the site's own files nor what lies about between the sources."""
    assert ignored(path, rules)


def test_what_the_images_are_made_of_is_sent(rules: list[str]) -> None:
    """Else the rules would say nothing."""
    for path in (
        "requirements.lock",
        "shared/client/datauploader_client/cli/app.py",
        "deploy/install.sh",
        "sandbox/pyproject.toml",
        "docs/operations.md",
        "docs/screenshots/now.png",
        "deploy/help/mkdocs.yml",
    ):
        assert (ROOT / path).is_file()
        assert not ignored(path, rules)


def test_final_images_copy_nothing_from_the_working_folder() -> None:
    """Only the environment that an earlier stage has installed; whole folders enter where wheels and help are made."""
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    for stage in stages:
        copies = re.findall(r"^(?:COPY|ADD) (.+)$", stage, re.MULTILINE)
        if stage.startswith("base AS") or stage.split("\n")[0].endswith("AS base"):
            assert all(re.fullmatch(r"--from=[a-z-]+-env /opt/datauploader /opt/datauploader", one) for one in copies)
        elif not stage.split("\n")[0].endswith(("AS wheels", "AS help", "AS dist")):
            assert all(
                re.fullmatch(r"\S*(pyproject\.toml|requirements\.lock)( deploy/\S+)* \S+", one) for one in copies
            )


def saved(*layers: bytes, history: bytes = b"{}") -> io.BytesIO:
    """Build an image as `docker image save` writes it."""
    image = io.BytesIO()
    with tarfile.open(fileobj=image, mode="w") as parts:
        for number, content in enumerate((history, *layers)):
            entry = tarfile.TarInfo(f"blobs/sha256/{number}")
            entry.size = len(content)
            parts.addfile(entry, io.BytesIO(content))
    image.seek(0)
    return image


def layer(content: bytes) -> bytes:
    """Build a layer with one file."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as files:
        entry = tarfile.TarInfo("etc/app.conf")
        entry.size = len(content)
        files.addfile(entry, io.BytesIO(content))
    return made.getvalue()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_secret_in_a_layer_is_found(pack: Any) -> None:
    """Also where two chunks of it meet, and also where a later layer has removed the file."""
    boundary = b"x" * (LOOK["CHUNK"] - 512 - 5)
    for content in (CANARY.encode(), boundary + CANARY.encode()):
        image = saved(pack(layer(b"nothing")), pack(layer(content)), pack(layer(b"")))
        assert LOOK["leaked"](image, {"BROKER_PASSWORD": CANARY, "REDIS_PASSWORD": "another-one"}) == {
            "BROKER_PASSWORD"
        }
    assert LOOK["leaked"](saved(pack(layer(b"nothing"))), {"BROKER_PASSWORD": CANARY}) == set()


def test_a_secret_in_the_history_is_found_and_a_strange_packing_is_no_absence() -> None:
    """A build argument stays in the history; what cannot be read fails."""
    history = b'{"history": [{"created_by": "ARG ' + CANARY.encode() + b'"}]}'
    assert LOOK["leaked"](saved(history=history), {"A_TOKEN": CANARY}) == {"A_TOKEN"}
    with pytest.raises(LOOK["Unreadable"], match="zstd"):
        LOOK["leaked"](saved(b"\x28\xb5\x2f\xfd...."), {"A_TOKEN": CANARY})


def test_the_secrets_that_are_looked_for_are_those_of_a_deployment(deployment: tuple[dict[str, str], Path]) -> None:
    """Every secret that is written into .env, and no name that stands everywhere."""
    values, site = deployment
    assert LOOK["secrets_of"](site.parent / ".env").keys() == {*SECRETS, *SANDBOX_SECRETS}
    assert all(values[name] for name in SECRETS)
