"""What ICAT's adapter must do beyond the port: sessions that end, rules and limits, answers of others, settings."""

import logging
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from datauploader.plugins.catalogue.errors import (
    BadAnswer,
    CatalogError,
    CatalogueForbids,
    CatalogueRefused,
    CatalogueUnavailable,
    NotTrusted,
    UnknownSession,
    UnknownTrouble,
)
from datauploader.plugins.catalogue.port import Dataset, NewDataset, NewInvestigation
from datauploader_catalog.adapters import connect
from datauploader_catalog.adapters.icat.catalogue import IcatCatalogue
from datauploader_catalog.settings import CatalogSettings
from datauploader_sandbox.icat import SERVICE

from .icat_material import ALWAYS, ANNA, OPEN, STAFF, WANTED, file, requests, write


@pytest.fixture
def dataset(icat: Any) -> Dataset:
    """Give a dataset that is there."""
    made: Dataset = icat.catalogue.ensure_dataset(WANTED)
    return made


# Sessions


@pytest.mark.parametrize("operation", ["find_dataset", "create_dataset", "add_datafiles", "complete_dataset"])
def test_a_session_that_ends_in_the_middle_is_opened_again(icat: Any, operation: str) -> None:
    """Nothing was done when ICAT said so; the same is asked once more, and nobody hears of it."""
    icat.fail(operation, "expired")
    made = icat.catalogue.ensure_dataset(WANTED)
    icat.catalogue.register_datafiles(made.id, [file(f"{n}.h5") for n in range(3)])
    icat.catalogue.complete_dataset(made.id)
    assert [(d["complete"], len(d["datafiles"])) for d in icat.datasets()] == [(True, 3)]
    assert requests(icat)["POST session"] == 2


def test_a_session_that_never_holds_is_not_opened_for_ever(icat: Any) -> None:
    """Twice, then it is somebody else's turn to wait."""
    icat.fail("find_dataset", "expired", ALWAYS)
    with pytest.raises(CatalogueUnavailable):
        icat.catalogue.ensure_dataset(WANTED)
    assert requests(icat)["POST session"] == 2


def test_a_session_is_kept_fresh_and_ended_at_the_end(icat: Any) -> None:
    """After half of its life it is refreshed; it is signed out of, so that ICAT does not collect them."""
    icat.catalogue.ensure_dataset(WANTED)
    assert "PUT session" not in requests(icat)
    icat.catalogue._session._half = 0.0
    icat.catalogue.ensure_dataset(WANTED)
    icat.catalogue.ensure_dataset(WANTED)
    assert requests(icat)["PUT session"] == 1
    icat.catalogue.close()
    assert requests(icat)["DELETE session"] == 1


def test_a_session_that_cannot_be_refreshed_is_opened_again(icat: Any) -> None:
    """It had ended already."""
    icat.catalogue.ensure_dataset(WANTED)
    icat.oracle.post("/_double/faults", json={"kind": "expired", "method": "PUT", "path": "session/"})
    icat.catalogue._session._half = 0.0
    assert icat.catalogue.find_dataset(OPEN, "scan-1") is not None
    assert requests(icat)["POST session"] == 2


def test_a_wrong_password_waits_for_the_operator(make_icat: Callable[..., Any]) -> None:
    """It says which setting is wrong, and not what it is."""
    world = make_icat(password="canary-password")
    with pytest.raises(NotTrusted, match="ICAT__PASSWORD") as error:
        world.catalogue.ensure_dataset(WANTED)
    assert error.value.retryable
    assert "canary" not in f"{error.value!r}{error.value}"


def test_a_wrong_password_is_not_tried_again_and_again(make_icat: Callable[..., Any]) -> None:
    """Whoever asks: uploads that wait, people, or the look each minute. Else the account would be locked."""
    world = make_icat(password="wrong")
    for call in (
        world.catalogue.probe_catalogue,
        lambda: world.catalogue.find_dataset(OPEN, "x"),
    ):
        with pytest.raises(NotTrusted, match=r"ICAT__PASSWORD.*lock") as error:
            call()
        assert error.value.retry_after
    assert requests(world)["POST session"] == 1
    world.catalogue._session._refused._until = 0.0
    with pytest.raises(NotTrusted):
        world.catalogue.probe_catalogue()
    assert requests(world)["POST session"] == 2


def test_looking_how_it_is_needs_no_new_session_each_time(icat: Any) -> None:
    """The one that is open is asked, and so lives on."""
    for _ in range(3):
        icat.catalogue.probe_catalogue()
    assert requests(icat)["POST session"] == 1


def test_neither_password_nor_session_is_logged(
    make_icat: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """ICAT wants sessions in addresses; not at the finest level are they logged."""
    for name in (None, "httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, name)
    world = make_icat(timeout=1.0)
    world.catalogue.ensure_dataset(WANTED)
    with pytest.raises(UnknownSession):
        world.catalogue.identify(SecretStr("canary-session"))
    world.fail("identify", "timeout", ALWAYS)
    with pytest.raises(CatalogueUnavailable) as late:
        world.catalogue.identify(SecretStr("canary-session"))
    ours = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith(("httpx", "datauploader")))
    assert "entityManager" in ours
    for canary in ("canary-session", SERVICE.password, world.catalogue._session._session):
        assert canary not in f"{ours}{late.value}{world.catalogue._settings!r}"


def test_who_has_a_session_but_is_no_user_is_told_so(icat: Any) -> None:
    """The service's own account is in no table of users."""
    icat.catalogue.probe_catalogue()
    with pytest.raises(UnknownSession, match="no user"):
        icat.catalogue.identify(SecretStr(icat.catalogue._session._session))


def test_people_sign_in_with_their_name_and_password_of_icat(make_icat: Callable[..., Any]) -> None:
    """By the authenticator of people alone; the session that this needs is ended at once."""
    icat = make_icat(people_plugin="db")
    assert icat.catalogue.about.password
    assert icat.catalogue.sign_in("anna.moretti", SecretStr("sandbox-session-anna")).id == ANNA
    assert icat.state()["requests"]["DELETE session"] == 1
    for name, password in (("anna.moretti", "wrong"), (SERVICE.name, SERVICE.password)):
        with pytest.raises(UnknownSession, match="does not accept"):
            icat.catalogue.sign_in(name, SecretStr(password))
    assert not make_icat().catalogue.about.password


def test_people_can_be_known_by_the_name_that_they_sign_in_with(make_icat: Callable[..., Any]) -> None:
    """Then the gateway's identity provider and ICAT mean the same person, without knowing ICAT's ids."""
    world = make_icat(people_by="name", user_prefix="db/")
    world.oracle.put("/_double/limits?fold_case=true")
    catalogue = world.catalogue
    assert catalogue.identify(SecretStr("sandbox-session-anna")).id == "anna.moretti"
    assert {one.id for one in catalogue.investigations("anna.moretti")} == {OPEN, "20260103", "20250917"}
    assert catalogue.authorise("anna.moretti", OPEN).base_dir == f"/facility/store/{OPEN}"
    assert catalogue.ensure_dataset(NewDataset(OPEN, "n", owner="anna.moretti")).name == "n"
    assert catalogue.ensure_investigation(NewInvestigation("n", "1", "t", "dana.staff")).name == "n"
    for stranger in (ANNA, "db/anna.moretti", "Anna.Moretti", "", "' OR '1'='1", "a\0b", "chloe.papadaki"):
        with pytest.raises(CatalogueForbids):
            catalogue.authorise(stranger, OPEN)
    with pytest.raises(UnknownSession, match="begin with 'oidc/'"):
        make_icat(people_by="name", user_prefix="oidc/").catalogue.identify(SecretStr("sandbox-session-anna"))


# Limits and rules


def test_more_than_icat_gives_at_once_is_asked_for_in_parts(icat: Any, dataset: Dataset) -> None:
    """Of investigations as of datafiles."""
    number = {"name": "", "visitId": "1", "title": "t", "facility": {"id": 1}, "type": {"id": 21}}
    user = {"role": "PI", "user": {"id": int(ANNA)}}
    write(icat, [{"Investigation": {**number, "name": f"n{n}", "investigationUsers": [user]}} for n in range(30)])
    icat.catalogue.register_datafiles(dataset.id, [file(f"{n}.h5") for n in range(100)])
    icat.oracle.put("/_double/limits?most=12")
    assert len(icat.catalogue.investigations(ANNA)) == 33
    icat.catalogue.register_datafiles(dataset.id, [file(f"{n}.h5", "b") for n in range(110)])
    assert {row[2][0] for row in icat.datasets()[0]["datafiles"]} == {"b"}
    assert len(icat.datasets()[0]["datafiles"]) == 110


def test_an_address_never_gets_too_long(icat: Any, dataset: Dataset) -> None:
    """Names of many bytes are asked for in more queries; the double refuses what Payara would."""
    files = [file(f"{n:03}" + "Δ" * 200) for n in range(60)]
    for digit in "ab":
        icat.catalogue.register_datafiles(dataset.id, [file(f.path, digit) for f in files])
    assert {row[2][0] for row in icat.datasets()[0]["datafiles"]} == {"b"}


def test_a_missing_rule_is_told_and_creates_nothing(icat: Any, dataset: Dataset) -> None:
    """Who may not write is told so; who may not read finds nothing, and that is not believed."""
    may: dict[str, str] = dict(SERVICE.rules)
    icat.oracle.put(f"/_double/rules/{SERVICE.name}", json=may | {"Datafile": "R"})
    with pytest.raises(CatalogueForbids, match="CREATE access to this Datafile"):
        icat.catalogue.register_datafiles(dataset.id, [file()])
    icat.oracle.put(f"/_double/rules/{SERVICE.name}", json=may | {"Dataset": "CU"})
    with pytest.raises(BadAnswer, match="exists and that it does not"):
        icat.catalogue.ensure_dataset(WANTED)
    assert len(icat.datasets()) == 1


def test_who_runs_no_instrument_makes_no_investigation(icat: Any) -> None:
    """And the instrument must be there."""
    with pytest.raises(CatalogueForbids, match="scientist"):
        icat.catalogue.ensure_investigation(NewInvestigation("n", "1", "t", ANNA, "XRD1"))
    with pytest.raises(CatalogueRefused, match="no instrument 'XRD9'"):
        icat.catalogue.ensure_investigation(NewInvestigation("n", "1", "t", STAFF, "XRD9"))
    days = date(2026, 2, 3), date(2026, 2, 5)
    made = icat.catalogue.ensure_investigation(NewInvestigation("n", "1", "t", STAFF, "xrd1", *days))
    assert (made.beamline, made.start, made.end) == ("XRD1", *days)
    assert icat.state()["investigations"][-1]["members"] == [[int(STAFF), "Investigator"]]
    assert [one.id for one in icat.catalogue.investigations(STAFF)] == [made.id]


def test_days_are_those_of_the_facility(make_icat: Callable[..., Any]) -> None:
    """Midnight in Rome is the day before in UTC."""
    world = make_icat(timezone="Europe/Rome")
    wanted = NewInvestigation("n", "1", "t", "", "", date(2026, 2, 3), date(2026, 7, 5))
    made = world.catalogue.ensure_investigation(wanted)
    assert (made.start, made.end) == (wanted.start, wanted.end)


def test_another_facility_of_the_same_icat_is_not_ours(make_icat: Callable[..., Any]) -> None:
    """Neither by its id nor by its name, nor in lists."""
    world = make_icat()
    (other,) = write(world, {"Facility": {"name": "OTHER"}})
    (kind,) = write(world, {"InvestigationType": {"name": "experiment", "facility": {"id": other}}})
    user = {"role": "PI", "user": {"id": int(ANNA)}}
    values = {"name": "theirs", "visitId": "1", "title": "t", "facility": {"id": other}, "type": {"id": kind}}
    (theirs,) = write(world, {"Investigation": values | {"investigationUsers": [user]}})
    with pytest.raises(CatalogueForbids):
        world.catalogue.authorise(ANNA, str(theirs))
    assert str(theirs) not in {one.id for one in world.catalogue.investigations(ANNA)}
    assert world.catalogue.ensure_investigation(NewInvestigation("theirs", "1", "t")).id != str(theirs)


@pytest.mark.attack("S19")
@pytest.mark.parametrize(
    ("name", "folder"),
    [("../../etc", "..%2F..%2Fetc"), ("..", "%2E%2E"), (".", "%2E"), ("a\\b:c", "a%5Cb%3Ac"), ("é\n", "%C3%A9%0A")],
)
def test_a_name_is_one_folder(icat: Any, name: str, folder: str) -> None:
    """Nothing leads out of the place for investigations."""
    made = icat.catalogue.ensure_investigation(NewInvestigation(name, "1", "t"))
    assert made.base_dir == f"/facility/store/{folder}"


# Answers


def test_an_inner_error_passes_or_is_about_the_value(icat: Any) -> None:
    """ICAT says INTERNAL of a database that is away, and of a value that its database does not take."""
    icat.fail("create_dataset", "internal")
    with pytest.raises(UnknownTrouble, match="INTERNAL") as error:
        icat.catalogue.ensure_dataset(WANTED)
    assert error.value.retryable
    icat.fail("create_dataset", "lost")
    with pytest.raises(CatalogueUnavailable):
        icat.catalogue.ensure_dataset(WANTED)
    icat.catalogue.ensure_dataset(WANTED)
    assert len(icat.datasets()) == 1
    assert icat.state()["refused_twins"] == 0


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "error", "status": 502}, CatalogueUnavailable),
        ({"kind": "error", "status": 500}, UnknownTrouble),
        ({"kind": "error", "status": 404}, CatalogueRefused),
        ({"kind": "error", "status": 302, "location": "/icat/version"}, BadAnswer),
        ({"kind": "unreadable", "body": '{"error": "none"}'}, BadAnswer),
        ({"kind": "unreadable", "body": "[[1, 2]]"}, BadAnswer),
        ({"kind": "unreadable", "body": "[" * 100_000}, BadAnswer),
        ({"kind": "unreadable", "body": '[["7", 20260101, "scan-1", null, "maybe", null]]'}, BadAnswer),
        ({"kind": "icat", "code": "NOT_IMPLEMENTED"}, UnknownTrouble),
    ],
)
def test_answers_of_others_are_not_taken_for_icats(icat: Any, fault: dict[str, Any], kind: type[CatalogError]) -> None:
    """Proxies, redirects, other JSON: never an absence."""
    plan = {"method": "GET", "match": "ds.investigation.id", "times": -1}
    icat.oracle.post("/_double/faults", json=plan | fault)
    with pytest.raises(kind):
        icat.catalogue.ensure_dataset(WANTED)
    assert icat.datasets() == []


@pytest.mark.attack("S18")
def test_a_redirect_is_not_followed(icat: Any) -> None:
    """Not even to where the right answer would be."""
    icat.fail("identify", "error", status=302, location="/icat/session/sandbox-session-anna")
    with pytest.raises(BadAnswer, match="302"):
        icat.catalogue.identify(SecretStr("canary-session"))


def test_a_wait_that_is_asked_for_is_handed_on(icat: Any) -> None:
    """Retry-After goes to the caller at once, without knocking again."""
    icat.fail("find_dataset", "error", status=503, retry_after=120)
    with pytest.raises(CatalogueUnavailable) as error:
        icat.catalogue.ensure_dataset(WANTED)
    assert error.value.retry_after == 120


def test_the_doi_of_a_dataset_is_told(icat: Any, dataset: Dataset) -> None:
    """Where ICAT has one."""
    write(icat, {"Dataset": {"id": int(dataset.id), "doi": "10.5072/x"}})
    assert icat.catalogue.complete_dataset(dataset.id).doi == "10.5072/x"


# Settings

ENVIRONMENT = {
    "ADAPTER": "icat", "ICAT__BASE_URL": "https://icat.example.org", "ICAT__PLUGIN": "db", "ICAT__USERNAME": "u",
    "ICAT__PASSWORD": "canary", "ICAT__FACILITY": "F", "ICAT__BASE_DIR": "/d/{name}",
    "ICAT__DATASET_PAGE": "https://portal.example.org/{dataset_id}",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ICAT__BASE_URL": "http://icat.example.org"}, "without TLS"),
        ({"ICAT__BASE_DIR": "/d"}, "pattern"),
        ({"ICAT__BASE_DIR": "d/{name}"}, "pattern"),
        ({"ICAT__BASE_DIR": "/d/{name.__class__}"}, "pattern"),
        ({"ICAT__DATASET_PAGE": "https://portal.example.org/"}, "pattern"),
        ({"ICAT__TIMEZONE": "Mars/Olympus"}, "time zone"),
    ],
)
def test_settings_are_checked(monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], why: str) -> None:
    """And the password is not shown."""
    for name, value in (ENVIRONMENT | changes).items():
        monkeypatch.setenv(f"DATAUPLOADER_CATALOG_{name}", value)
    with pytest.raises(ValidationError, match=why) as error:
        CatalogSettings()
    assert "canary" not in str(error.value)


def test_settings_choose_the_adapter(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The password may stand in a file; without the block it says what is missing."""
    monkeypatch.setenv("DATAUPLOADER_CATALOG_ADAPTER", "icat")
    with pytest.raises(ValidationError, match="ICAT__BASE_URL"):
        CatalogSettings()
    (tmp_path / "password").write_text("canary\n")
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(f"DATAUPLOADER_CATALOG_{name}", value)
    monkeypatch.delenv("DATAUPLOADER_CATALOG_ICAT__PASSWORD")
    monkeypatch.setenv("DATAUPLOADER_CATALOG_ICAT__PASSWORD_FILE", str(tmp_path / "password"))
    settings = CatalogSettings()
    assert settings.icat is not None
    assert settings.icat.password.get_secret_value() == "canary"
    assert "canary" not in repr(settings)
    catalogue = connect(settings)
    assert isinstance(catalogue, IcatCatalogue)
    assert catalogue.dataset_url("7/1") == "https://portal.example.org/7%2F1"
    catalogue.close()


def test_where_no_page_is_configured_a_dataset_has_none(make_icat) -> None:
    """A link that leads nowhere would be worse than none."""
    assert make_icat(dataset_page="").catalogue.dataset_url("7") == ""
