"""The double itself: it survives being killed, shows what it holds to people, and sends nobody astray."""

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from datauploader.plugins.catalogue.port import Datafile, NamedValue, NewDataset
from datauploader_catalog.adapters.vuo.catalogue import VuoCatalogue
from datauploader_catalog.settings import VuoSettings
from datauploader_sandbox.vuo import SECRET

HOSTILE = "<img src=x onerror=alert(1)>&\"'"


def start(state: Path) -> tuple[subprocess.Popen[str], str]:
    """Start the double as a process and return it with its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "datauploader_sandbox.vuo", "--state", str(state)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def end(process: subprocess.Popen[str], how: signal.Signals) -> int:
    """Send the signal and wait for the end."""
    process.send_signal(how)
    process.communicate(timeout=10)
    return process.returncode


def test_the_double_survives_being_killed(tmp_path: Path) -> None:
    """Everything that was answered with OK is there after SIGKILL and a new start."""
    process, url = start(tmp_path / "vuo.sqlite")
    catalogue = VuoCatalogue(VuoSettings.model_validate({"base_url": url, "secret": SECRET}))
    dataset = catalogue.ensure_dataset(NewDataset("20260101", "scan", owner="1101"))
    catalogue.register_datafiles(dataset.id, [Datafile("a.h5", "b", 1, "a" * 64, 1)])
    catalogue.complete_dataset(dataset.id)
    catalogue.close()
    before = httpx.get(f"{url}/_double/state", trust_env=False).json()
    end(process, signal.SIGKILL)
    process, url = start(tmp_path / "vuo.sqlite")
    assert httpx.get(f"{url}/_double/state", trust_env=False).json() == before
    assert [len(d["datafiles"]) for d in before["datasets"]] == [1]
    assert end(process, signal.SIGTERM) in {0, -signal.SIGTERM}


def test_pages_show_everything_and_escape_it(vuo) -> None:
    """Names, sizes, checksums, parameters and state, and no markup from outside."""
    dataset = vuo.catalogue.ensure_dataset(NewDataset("20260101", HOSTILE, HOSTILE, HOSTILE, owner="1101"))
    vuo.catalogue.register_datafiles(dataset.id, [Datafile(HOSTILE, HOSTILE, 1234, "a" * 64, 1)])
    vuo.catalogue.attach_parameters(dataset.id, [NamedValue(HOSTILE, HOSTILE, HOSTILE)])
    vuo.catalogue.complete_dataset(dataset.id)
    for path in ("/", "/investigations/20260101", f"/datasets/{dataset.id}"):
        page = vuo.oracle.get(path)
        assert page.status_code == 200
        assert "<img" not in page.text
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    shown = vuo.oracle.get(vuo.catalogue.dataset_url(dataset.id)).text
    assert all(text in shown for text in ("1,234", "a" * 64, "complete", "&lt;img src=x onerror=alert(1)&gt;"))


@pytest.mark.parametrize("path", ["/datasets/404", "/investigations/<b>", "/datasets/' OR 1=1"])
def test_what_is_not_there_is_404(vuo, path: str) -> None:
    """Also where the address is hostile."""
    page = vuo.oracle.get(path)
    assert page.status_code == 404
    assert "<b>" not in page.text


def test_signing_in_sets_the_session(vuo) -> None:
    """The cookie is one that the known call knows."""
    answer = httpx.post(f"{vuo.double.url}/sign-in", data={"session": "sandbox-session-ben"}, trust_env=False)
    assert answer.status_code == 303
    assert vuo.catalogue.identify(SecretStr(answer.cookies["vuo_session"])).name == "ben.okafor"


@pytest.mark.parametrize(
    "back", ["https://evil.example.org", "//evil.example.org", "/\\evil", "javascript:alert(1)", "http://["]
)
def test_signing_in_leads_nowhere_else(vuo, back: str) -> None:
    """Only back to this machine."""
    form = {"session": "sandbox-session-ben", "back": back}
    answer = httpx.post(f"{vuo.double.url}/sign-in", data=form, trust_env=False)
    assert answer.headers["Location"] == "/"


def test_broken_forms_are_refused_and_change_nothing(vuo) -> None:
    """No parameters, no UTF-8, no such procedure, the wrong method."""
    base = "/pls/vuo/datauploader"
    assert vuo.oracle.post(f"{base}.create_dataset", data={}).text.startswith("REFUSED:")
    assert vuo.oracle.get(f"{base}.find_dataset?FRM_NAME=%ff").status_code == 400
    assert vuo.oracle.get("/pls/vuo/nothing.here").status_code == 404
    assert vuo.oracle.get(f"{base}.create_dataset").status_code == 405
    assert vuo.datasets() == []
