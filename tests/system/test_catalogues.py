"""The whole chain with each system as catalogue, read back by clients that other people wrote."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from icat.client import Client as IcatClient
from icat.query import Query
from scitacean import PID, Client

from datauploader_sandbox.facility import Facility
from datauploader_sandbox.icat import SERVICE as ICAT_ACCOUNT
from datauploader_sandbox.scicat import PASSWORD, SERVICE
from datauploader_testing.waiting import eventually

from .test_chain import real_files

Contents = tuple[set[tuple[str, str]], list[Any]]
"""Path and SHA-256 of each datafile, and the titles that harvesters have found."""


def read_by_scitacean(facility: Facility, pid: str) -> Contents:
    """Read the dataset and its origdatablocks as users of scitacean do."""
    url = f"{facility.catalogue.url}/api/v3"
    client = Client.from_credentials(url=url, username=SERVICE, password=PASSWORD, allow_http=True)
    dataset = client.get_dataset(PID.parse(pid))
    files = {(file.remote_path.posix, file.checksum() or "") for file in dataset.files}
    harvested = dataset.meta.get("datafiles", {}).values()
    titles = [entry["value"] for one in harvested for name, entry in one.items() if is_title(name)]
    return files, titles


def read_by_python_icat(facility: Facility, dataset_id: str) -> Contents:
    """Read the datafiles and their parameters as users of python-icat do."""
    client = IcatClient(f"{facility.catalogue.url}/ICATService/ICAT?wsdl", cache=None)
    try:
        client.login("simple", {"username": ICAT_ACCOUNT.name, "password": ICAT_ACCOUNT.password})
        query = Query(client, "Datafile", conditions={"dataset.id": f"= {dataset_id}"}, includes=["parameters.type"])
        found = client.search(query)
    finally:
        client.cleanup()
    titles = [one.stringValue for file in found for one in file.parameters if is_title(one.type.name)]
    return {(str(file.name), str(file.checksum)) for file in found}, titles


def read_as_a_crate(facility: Facility, dataset_id: str) -> Contents:
    """Read the RO-Crate as anybody can who has JSON."""
    document = json.loads((facility.folder / "catalogue" / dataset_id / "ro-crate-metadata.json").read_bytes())
    files = {(one["name"], one["sha256"]) for one in document["@graph"] if one["@type"] == "File"}
    values = [one for one in document["@graph"] if one["@type"] == "PropertyValue"]
    return files, [one["value"] for one in values if is_title(one["name"])]


def is_title(name: str) -> bool:
    """Tell whether this parameter is a title, wherever in a file it stood."""
    return name.replace("%2F", "/").rsplit("/", 1)[-1] == "title"


def anna(facility: Facility, method: str, password: str = "sandbox-session-anna") -> httpx.Response:
    """Send the form of the sign-in page as Anna."""
    form = {"method": method, "username": "anna.moretti", "password": password, "vuo_session": password, "next": "/new"}
    return httpx.post(f"{facility.url}/sign-in", data=form, headers={"Origin": facility.url})


READERS: dict[str, Callable[[Facility, str], Contents]] = {
    "scicat": read_by_scitacean,
    "icat": read_by_python_icat,
    "folder": read_as_a_crate,
}


@pytest.mark.parametrize("system", READERS)
def test_other_programs_read_real_files_and_what_the_harvester_found_in_them(start, system: str) -> None:
    """Every datafile with its checksum, and titles of instruments' files, in the system's own form."""
    folder = real_files()
    run = start(watched=folder, catalogue=system)
    upload = run.request(mode="batch")
    status = run.completed(upload)
    read = READERS[system]

    def titles() -> list[Any]:
        return read(run.facility, status.dataset_id)[1]

    eventually(lambda: "vanadium at 6AA and 300K" in titles(), within_s=60, what="the titles are there")
    assert read(run.facility, status.dataset_id)[0] == {
        (path.relative_to(folder).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.rglob("*")
        if path.is_file()
    }
    receipt = run.receipt(upload)
    assert (receipt["dataset"]["id"], receipt["dataset"]["url"]) == (status.dataset_id, status.dataset_url)


@pytest.mark.parametrize(("system", "name"), [("scicat", "SciCat"), ("icat", "ICAT")])
def test_people_sign_in_with_their_password_or_session_of_the_catalogue(start, system: str, name: str) -> None:
    """The page asks for either in the system's words; a wrong password is told as such."""
    facility = start(catalogue=system, services=("catalog", "gateway")).facility
    shown = httpx.get(f"{facility.url}/sign-in").text
    assert f"Sign in with {name}<" in shown
    assert f"Name in {name}<" in shown
    for method in ("catalogue", "vuo"):
        answer = anna(facility, method)
        assert (answer.status_code, answer.headers["location"]) == (303, "/new")
    refused = anna(facility, "catalogue", "wrong")
    assert refused.status_code == 401
    assert f"{name} does not accept this name and password." in refused.text
    assert 'value="anna.moretti"' in refused.text
    ways = httpx.get(f"{facility.url}/api/v1/sign-in").json()
    assert (ways["catalogue"]["name"], ways["catalogue"]["password"]) == (name, True)


@pytest.mark.parametrize(("system", "word"), [("scicat", "proposal"), ("icat", "investigation")])
def test_the_pages_use_the_word_of_the_catalogue(start, system: str, word: str) -> None:
    """Whoever knows proposals reads of proposals."""
    facility = start(catalogue=system).facility
    cookies = {"datauploader": anna(facility, "catalogue").cookies["datauploader"]}
    with httpx.Client(base_url=facility.url, cookies=cookies) as client:
        assert f"<h1>{word.capitalize()}s</h1>" in client.get("/investigations").text
        assert f'<label for="investigation">{word.capitalize()}</label>' in client.get("/new").text


def test_a_catalogue_without_sessions_is_not_offered_for_signing_in(start) -> None:
    """The page asks for the account at the gateway alone."""
    facility = start(catalogue="folder", services=("catalog", "gateway")).facility
    shown = httpx.get(f"{facility.url}/sign-in").text
    assert "vuo-session" not in shown
    assert 'name="username"' in shown
    assert anna(facility, "local").status_code == 303
