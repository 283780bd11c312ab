"""What SciCat's adapter must do beyond the port: where SciCat says something else than it means."""

import logging
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from datauploader.plugins.catalogue.errors import (
    BadAnswer,
    CatalogError,
    CatalogueForbids,
    CatalogueRefused,
    CatalogueUnavailable,
    NotTrusted,
    UnknownSession,
    ValueRefused,
)
from datauploader.plugins.catalogue.port import Datafile, NamedValue, NewDataset, NewInvestigation
from datauploader_catalog.adapters.scicat.records import pid_of
from datauploader_catalog.settings import ScicatSettings
from datauploader_testing.waiting import eventually

ANNA, STAFF, OPEN = "1101", "1900", "20260101"
WANTED = NewDataset(OPEN, "scan-1", "store:2026/scan-1", owner=ANNA)
ALWAYS = 1_000_000


def file(path: str = "a.h5", digit: str = "a", size: int = 1) -> Datafile:
    """Return a datafile to register."""
    return Datafile(path, f"store:{path}", size, digit * 64, 1_700_000_000_123_456_789)


def files(number: int, start: int = 0) -> list[Datafile]:
    """Return many of them."""
    return [file(f"scan/{n:06}.h5") for n in range(start, start + number)]


def blocks(world) -> list[int]:
    """Return how many files are in each origdatablock of the first dataset."""
    return [len(block["dataFileList"]) for block in world.state()["datasets"][0]["blocks"]]


@pytest.mark.parametrize(
    "call",
    ["GET datasets/:id", "POST datasets", "GET proposals/:id", "GET users/:id/useridentity", "POST origdatablocks",
     "GET origdatablocks", "PATCH datasets/:id", "GET proposals", "GET instruments"],
)  # fmt: skip
def test_a_token_that_ends_in_the_middle_changes_nothing(scicat, call: str) -> None:
    """Nobody's empty list is not believed, nobody's 403 is no refusal: it is asked again as who we are."""
    scicat.oracle.post("/_double/faults", json={"calls": [call], "kind": "expired"}).raise_for_status()
    assert {one.id for one in scicat.catalogue.investigations(ANNA)} == {OPEN, "20260103", "20250917"}
    dataset = scicat.catalogue.ensure_dataset(WANTED)
    scicat.catalogue.register_datafiles(dataset.id, [file()])
    scicat.catalogue.attach_parameters(dataset.id, [NamedValue("energy", 1, "keV")])
    assert scicat.catalogue.complete_dataset(dataset.id).complete
    held = scicat.datasets()
    assert [(len(d["datafiles"]), len(d["parameters"]), d["complete"]) for d in held] == [(1, 1, True)]


def test_sessions_that_always_end_are_waited_for(scicat) -> None:
    """A refusal is never concluded from them."""
    scicat.fail("create_dataset", "expired", ALWAYS)
    with pytest.raises(CatalogueUnavailable):
        scicat.catalogue.ensure_dataset(WANTED)
    assert scicat.datasets() == []


def test_a_token_is_renewed_before_it_ends(make_scicat) -> None:
    """So that nothing is asked twice because of it."""
    world = make_scicat()
    world.oracle.put("/_double/ttl/0.4").raise_for_status()

    def signed_in_again() -> bool:
        world.catalogue.probe_catalogue()
        return bool(world.state()["counts"]["POST auth/login"] >= 3)

    eventually(signed_in_again)
    assert "GET users/my/identity" in world.state()["counts"]


@pytest.mark.parametrize("settings", [{"password": "wrong"}, {"username": "", "password": "", "token": "old.token"}])
def test_an_account_that_scicat_does_not_know_waits_for_the_operator(make_scicat, settings: dict[str, str]) -> None:
    """Nothing is refused to people for that; the sentence says which setting."""
    world = make_scicat(**settings)
    for call in (lambda: world.catalogue.ensure_dataset(WANTED), world.catalogue.probe_catalogue):
        with pytest.raises(NotTrusted, match="DATAUPLOADER_CATALOG_SCICAT__") as error:
            call()
        assert error.value.retryable
    assert world.datasets() == []


def test_a_wrong_password_is_not_tried_again_and_again(make_scicat) -> None:
    """Whoever asks: uploads that wait, people, or the look each minute. Else the account would be locked."""
    world = make_scicat(password="wrong")

    def sign_ins() -> int:
        return int(world.state()["counts"].get("POST auth/login", 0))

    before = sign_ins()
    for call in (world.catalogue.probe_catalogue, lambda: world.catalogue.ensure_dataset(WANTED)):
        with pytest.raises(NotTrusted, match=r"SCICAT__PASSWORD.*lock") as error:
            call()
        assert error.value.retry_after
    assert sign_ins() == before + 1
    world.catalogue._session._refused._until = 0.0
    with pytest.raises(NotTrusted):
        world.catalogue.probe_catalogue()
    assert sign_ins() == before + 2


def test_looking_how_it_is_needs_no_new_session_each_time(make_scicat) -> None:
    """The token is used until it ends."""
    world = make_scicat()
    world.catalogue.probe_catalogue()
    before = world.state()["counts"]["POST auth/login"]
    world.catalogue.probe_catalogue()
    assert world.state()["counts"]["POST auth/login"] == before


def test_a_long_lived_token_serves_as_well(make_scicat, direct) -> None:
    """An operator may give that instead of a password."""
    token = direct.headers["Authorization"].removeprefix("Bearer ")
    world = make_scicat(username="", password="", token=token)
    dataset = world.catalogue.ensure_dataset(WANTED)
    for n in range(3):
        world.catalogue.register_datafiles(dataset.id, [file(f"{n}")])
    assert blocks(world) == [3]
    assert world.state()["counts"]["POST auth/login"] == 1


def test_addresses_stay_below_the_limit(make_scicat) -> None:
    """Who is in very many groups sees their proposals, and very many blocks are read."""
    world = make_scicat(block_files=1, timeout=30)
    groups = [*(f"p{n:08}-a-group-of-others" for n in range(1000)), f"p{OPEN}"]
    world.oracle.put(f"/_double/accounts/{ANNA}/groups", json=groups).raise_for_status()
    assert [one.id for one in world.catalogue.investigations(ANNA)] == [OPEN]
    dataset = world.catalogue.ensure_dataset(WANTED)
    world.catalogue.register_datafiles(dataset.id, files(230))
    fresh = make_scicat(block_files=1, timeout=30)
    fresh.catalogue.register_datafiles(dataset.id, files(230))
    assert blocks(world) == [1] * 230


def test_what_is_wrong_with_a_value_is_told_in_scicats_words(make_scicat) -> None:
    """A type that this SciCat does not take, a pid that does not follow its rules."""
    world = make_scicat()
    world.fail("create_dataset", "error", status=400)
    with pytest.raises(ValueRefused, match="As told"):
        world.catalogue.ensure_dataset(WANTED)


def test_an_account_with_too_few_rights_is_refused_and_says_what_it_needs(make_scicat) -> None:
    """The operator reads which group is missing."""
    world = make_scicat(username="ingestor")
    with pytest.raises(CatalogueRefused, match="ADMIN_GROUPS"):
        world.catalogue.authorise(ANNA, OPEN)
    with pytest.raises(CatalogueRefused, match=r"scicat\.md"):
        world.catalogue.investigation(OPEN)
    assert world.datasets() == []


@pytest.mark.parametrize("offered", ["v3", "v4"])
def test_the_interface_is_found_out_by_asking(make_scicat, offered: str) -> None:
    """Old backends have no /api/v4; an error is no answer to that."""
    world = make_scicat("auto", timeout=5)
    world.oracle.put(f"/_double/api/{offered}").raise_for_status()
    plan = {"calls": ["GET origdatablocks"], "kind": "error", "times": 3}
    world.oracle.post("/_double/faults", json=plan).raise_for_status()
    with pytest.raises(CatalogueUnavailable):
        world.catalogue.ensure_dataset(WANTED)
    world.catalogue.ensure_dataset(WANTED)
    assert [d["version"] for d in world.state()["datasets"]] == [offered]


def test_people_may_be_known_by_their_names(make_scicat) -> None:
    """An identity provider that signs people in at the gateway does not know SciCat's ids."""
    world = make_scicat(people_by="username")
    user = world.catalogue.identify(SecretStr("sandbox-session-anna"))
    assert (user.id, user.name) == ("anna.moretti", "anna.moretti")
    assert world.catalogue.authorise("anna.moretti", OPEN).uid == 51101
    assert len(world.catalogue.investigations("anna.moretti")) == 3
    for other in (ANNA, "chloe.papadaki", '"}}', ""):
        with pytest.raises(CatalogueForbids):
            world.catalogue.authorise(other, OPEN)


def test_an_address_without_scicat_is_not_an_absence(make_scicat, scicat_double) -> None:
    """The framework's own 404 is about the address."""
    world = make_scicat(base_url=f"{scicat_double.url}/elsewhere")
    for call in (lambda: world.catalogue.investigation(OPEN), lambda: world.catalogue.ensure_dataset(WANTED)):
        with pytest.raises(CatalogError) as error:
            call()
        assert error.value.retryable
    signed = make_scicat(username="", password="", token="sandbox-session-anna", base_url=f"{scicat_double.url}/x")
    with pytest.raises(BadAnswer, match="no SciCat"):
        signed.catalogue.find_dataset(OPEN, "scan-1")


def test_the_pid_of_a_dataset_is_the_same_for_ever(make_scicat) -> None:
    """Else what one release has made would not be found by the next; it has the form that SciCat's example asks for."""
    settings = make_scicat(pid="{UUID}").settings
    assert pid_of(OPEN, "scan-1", settings) == "D778D8F8-CCDD-4F34-A8D7-9746A050E168"
    prefixed = settings.model_copy(update={"pid": "20.500.1/{uuid}"})
    assert pid_of(OPEN, "scan-1", prefixed) == "20.500.1/d778d8f8-ccdd-4f34-a8d7-9746a050e168"
    assert len({pid_of(*key, settings) for key in (("a", "bc"), ("ab", "c"), ("a", "b"), ("a", "B"))}) == 4


def test_a_dataset_of_another_name_under_our_pid_is_not_taken_for_ours(scicat, direct) -> None:
    """A rule of pids that changed, or somebody else's: nothing is written into it."""
    pid = pid_of(OPEN, "scan-1", scicat.settings)
    body = {
        "pid": pid, "type": "raw", "owner": "x", "contactEmail": "a@b.eu", "sourceFolder": "/x", "ownerGroup": "p1",
        "creationTime": "2026-01-01T00:00:00Z", "datasetName": "other", "proposalId": OPEN,
        "principalInvestigator": "x", "creationLocation": "x",
    }  # fmt: skip
    assert direct.post("/api/v3/datasets", json=body).status_code == 201
    with pytest.raises(CatalogueRefused, match="other"):
        scicat.catalogue.ensure_dataset(WANTED)


def test_a_dataset_is_the_proposals_and_not_said_to_be_there(scicat) -> None:
    """Groups, people, instrument and folder are the proposal's; until it is complete it is no archivable one."""
    dataset = scicat.catalogue.ensure_dataset(WANTED)
    held = scicat.state()["datasets"][0]
    assert (held["ownerGroup"], held["proposalIds"]) == ("p20260101", [OPEN])
    assert (held["sourceFolder"], held["creationLocation"]) == ("/2026/scan-1", "/XRD1")
    assert (held["principalInvestigators"], held["instrumentIds"]) == (["Anna Moretti"], ["instrument-xrd1"])
    assert (held["owner"], held["contactEmail"]) == ("Anna Moretti", "anna.moretti@facility.eu")
    cycle = held["datasetlifecycle"]
    assert (cycle["isOnCentralDisk"], cycle["archivable"]) == (False, False)
    assert cycle["archiveStatusMessage"] == "filesNotYetAvailable"
    scicat.catalogue.complete_dataset(dataset.id)
    cycle = scicat.state()["datasets"][0]["datasetlifecycle"]
    assert (cycle["isOnCentralDisk"], cycle["archivable"], cycle["retrievable"]) == (True, True, False)


def test_a_dataset_that_was_archived_stays_complete(scicat, direct) -> None:
    """The archive writes its own words into the lifecycle."""
    dataset = scicat.catalogue.ensure_dataset(WANTED)
    scicat.catalogue.complete_dataset(dataset.id)
    change = {"isOnCentralDisk": False, "archiveStatusMessage": "datasetOnArchiveDisk"}
    direct.patch(f"/api/v3/datasets/{quote(dataset.id, safe='')}/datasetlifecycle", json=change).raise_for_status()
    assert scicat.catalogue.complete_dataset(dataset.id).complete
    held = scicat.state()["datasets"][0]["datasetlifecycle"]
    assert held["archiveStatusMessage"] == "datasetOnArchiveDisk"


@pytest.mark.attack("S19")
@pytest.mark.parametrize("name", ["..", "a/b", "../../etc", "a\\b", "x\ny"])
def test_a_proposal_whose_id_is_no_folder_gets_none(scicat, direct, name: str) -> None:
    """It is listed, and nothing can be uploaded to it until the operator has another pattern."""
    body = {"proposalId": name, "title": "t", "email": "a@b.eu", "ownerGroup": "p20260101"}
    assert direct.post("/api/v3/proposals", json=body).status_code == 201
    listed = {one.id: one.base_dir for one in scicat.catalogue.investigations(ANNA)}
    assert listed[name] == ""
    with pytest.raises(CatalogueRefused):
        scicat.catalogue.authorise(ANNA, name)


def test_proposals_are_made_for_those_whom_the_settings_name(make_scicat) -> None:
    """With the group that the settings give them; a second visit is a proposal of its own."""
    world = make_scicat(create_group="{user}")
    with pytest.raises(CatalogueForbids):
        world.catalogue.ensure_investigation(NewInvestigation("new", "1", "t", ANNA))
    made = world.catalogue.ensure_investigation(NewInvestigation("new", "2", "t", STAFF))
    held = world.state()["proposals"][-1]
    assert (made.id, held["ownerGroup"], held["email"]) == ("new.2", "dana.staff", "dana.staff@facility.eu")
    with pytest.raises(CatalogueRefused, match="new"):
        world.catalogue.ensure_investigation(NewInvestigation("new.2", "1", "t", STAFF))
    assert not make_scicat(creators=[]).catalogue.may_create


@pytest.mark.attack("S18")
def test_a_redirect_is_not_followed(scicat) -> None:
    """Tokens go nowhere else."""
    scicat.fail("find_dataset", "error", 3, status=302, location=f"{scicat.double.url}/api/v3/health")
    with pytest.raises(BadAnswer, match="302"):
        scicat.catalogue.find_dataset(OPEN, "scan-1")


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_that_is_asked_for_is_handed_on(scicat, status: int) -> None:
    """Without knocking again."""
    scicat.fail("find_dataset", "error", 1, status=status, retry_after=120)
    with pytest.raises(CatalogueUnavailable) as error:
        scicat.catalogue.ensure_dataset(WANTED)
    assert error.value.retry_after == 120


@pytest.mark.attack("S26")
def test_neither_passwords_nor_tokens_are_logged_or_told(make_scicat, caplog) -> None:
    """Not at the finest level, not by httpx, not in an error."""
    for name in (None, "httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, name)
    world = make_scicat(password="canary-password")
    told = []
    for call in (
        lambda: world.catalogue.identify(SecretStr("canary-token")),
        lambda: world.catalogue.ensure_dataset(WANTED),
    ):
        with pytest.raises(CatalogError) as error:
            call()
        told.append(f"{error.value!r} {error.value}")
    everything = "\n".join([*told, repr(world.settings), *(record.getMessage() for record in caplog.records)])
    assert "canary" not in everything


@pytest.mark.parametrize(
    "values",
    [
        {"base_url": "http://scicat.example.org"},
        {"password": ""},
        {"token": "and-a-token"},
        {"username": "", "password": "", "token": "canary token"},
        {"pid": "always-the-same"},
        {"base_dir": "/{secret}"},
        {"contact_email": "nobody"},
    ],
)
def test_settings_that_cannot_work_are_refused_without_showing_secrets(values: dict[str, str]) -> None:
    """TLS, one way to sign in, pids of their own, known names in patterns."""
    good = {"base_url": "https://scicat.example.org", "username": "u", "password": "canary", "contact_email": "a@b.eu"}
    assert ScicatSettings.model_validate(good)
    with pytest.raises(ValueError) as error:  # noqa: PT011 - pydantic's own
        ScicatSettings.model_validate({**good, **values})
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("login", ["login", "ldap"])
def test_people_sign_in_with_their_name_and_password_of_scicat(make_scicat, login: str) -> None:
    """By SciCat's own accounts or its directory; who they are is what their token says."""
    world = make_scicat(people_login=login)
    assert world.catalogue.about.password
    user = world.catalogue.sign_in("anna.moretti", SecretStr("sandbox-session-anna"))
    assert (user.id, user.name) == (ANNA, "anna.moretti")
    assert world.state()["counts"][f"POST auth/{login}"]
    for name, password in (("anna.moretti", "wrong"), ("anna.moretti", ""), ("nobody", "sandbox-session-anna")):
        with pytest.raises(UnknownSession, match="does not accept"):
            world.catalogue.sign_in(name, SecretStr(password))


def test_people_have_tokens_alone_unless_the_settings_say_more(scicat) -> None:
    """The sign-in page asks for no password then."""
    assert not scicat.catalogue.about.password


def test_who_has_no_number_on_the_storage_is_not_taken_for_root(make_scicat) -> None:
    """Where the settings name no claim, or the identity provider does not say it, there is no account."""
    for claim in ("", "unheardOf"):
        catalogue = make_scicat(uid_claim=claim, gid_claim=claim).catalogue
        user = catalogue.identify(SecretStr("sandbox-session-anna"))
        assert (user.uid, user.gid, catalogue.authorise(ANNA, OPEN).uid) == (-1, -1, -1)
