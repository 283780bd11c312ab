"""What every catalogue must do, whatever stands behind the port."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest
from pydantic import SecretStr

from datauploader.plugins.catalogue.errors import (
    BadAnswer,
    CatalogError,
    CatalogueForbids,
    CatalogueRefused,
    CatalogueUnavailable,
    NoSuchInvestigation,
    NotYetThere,
    UnknownSession,
)
from datauploader.plugins.catalogue.port import Datafile, NamedValue, NewDataset, NewInvestigation, SearchesByName
from datauploader_catalog.adapters.vuo.catalogue import VuoCatalogue

ANNA, BEN, STAFF = "1101", "1102", "1900"
OPEN, CLOSED, BENS = "20260101", "20250917", "20260102"
ALWAYS = 1_000_000
HOSTILE = [
    "a:b::c",
    "line\nfeed\r\ttab",
    "a&b=c?d#e%41+f",
    "<script>alert('x')</script>",
    "Ελληνικά ονόματα",
    "x" * 200,
    "' OR 1=1; --",
    "../../etc/passwd",
    "OK:1:2",
    "ABSENT:",
    "\u202egnp.exe",
    '{"[,]"}\\',
]


def wanted(name: str = "scan-1", owner: str = ANNA, investigation: str = OPEN) -> NewDataset:
    """Return a dataset to ask for."""
    return NewDataset(investigation, name, f"store:{investigation}", "a description", owner=owner)


def datafile(path: str = "a.h5", digit: str = "a", size: int = 1) -> Datafile:
    """Return a datafile to register."""
    return Datafile(path, f"store:2026/{path}", size, digit * 64, 1_700_000_000_123_456_789)


@pytest.mark.fault("F47")
def test_a_dataset_is_found_by_its_name_and_only_looked_at(world) -> None:
    """Absent is said in so many words; what is there tells whether it is complete; others do not have it."""
    assert world.catalogue.find_dataset(OPEN, "scan-1") is None
    made = world.catalogue.ensure_dataset(wanted())
    assert world.catalogue.find_dataset(OPEN, "scan-1") == made
    assert world.catalogue.find_dataset(BENS, "scan-1") is None
    world.catalogue.complete_dataset(made.id)
    found = world.catalogue.find_dataset(OPEN, "scan-1")
    assert found is not None
    assert (found.id, found.complete) == (made.id, True)


def test_a_session_tells_who_it_is(world_with_sessions) -> None:
    """The catalogue's user id comes with the session, and the unix account where it knows that."""
    user = world_with_sessions.catalogue.identify(SecretStr("sandbox-session-anna"))
    account = (51101, 5100) if world_with_sessions.knows_accounts else (-1, -1)
    assert (user.id, user.name, user.uid, user.gid) == (ANNA, "anna.moretti", *account)


@pytest.mark.parametrize("session", ["", "unknown", "a:b&c=d", "x\r\nCookie: y", "é"])
def test_an_unknown_session_is_not_signed_in(world, session: str) -> None:
    """No session, no user."""
    with pytest.raises(UnknownSession):
        world.catalogue.identify(SecretStr(session))


def test_a_user_sees_their_own_investigations(world) -> None:
    """Other people's are not offered; a closed one says why."""
    listed = {i.id: i for i in world.catalogue.investigations(ANNA)}
    assert set(listed) == {OPEN, "20260103", CLOSED}
    assert listed["20260103"].title.startswith("Δομή")
    assert [listed[CLOSED].active, listed[CLOSED].reason] == [False, "The time of this proposal is over."]


def test_an_investigation_says_where_and_when_and_whose_it_is(world) -> None:
    """What a person chooses by."""
    one = world.catalogue.investigation(OPEN)
    assert (one.beamline, one.principal_investigator) == ("XRD1", "Anna Moretti")
    assert one.start is not None
    assert one.end is not None
    assert one.start < one.end
    assert one.description.startswith("Sintering")


def test_a_member_may_upload_to_the_base_directory(world) -> None:
    """The grant says where, and under which account where the catalogue knows that."""
    grant = world.catalogue.authorise(ANNA, OPEN)
    assert (grant.base_dir, grant.uid) == ("/facility/store/20260101", 51101 if world.knows_accounts else -1)


@pytest.mark.parametrize("investigation", [BENS, CLOSED, "404", "", "a/../b", "1 OR 1=1"])
def test_others_may_not(world, investigation: str) -> None:
    """Not a member, closed, unknown, or no id at all: refused for good."""
    with pytest.raises(CatalogueForbids) as refusal:
        world.catalogue.authorise(ANNA, investigation)
    assert not refusal.value.retryable


def test_an_investigation_is_fetched_by_id(world) -> None:
    """Also a closed one, which says so."""
    assert world.catalogue.investigation(OPEN).active
    assert not world.catalogue.investigation(CLOSED).active


def test_an_unknown_investigation_is_named_as_such(world) -> None:
    """The catalogue itself says that it is absent."""
    with pytest.raises(NoSuchInvestigation):
        world.catalogue.investigation("404")


def test_an_investigation_that_exists_is_found(world) -> None:
    """Name and visit are its key."""
    assert world.catalogue.ensure_investigation(NewInvestigation(OPEN, "1", "other title")).id == OPEN


def test_an_investigation_is_made_once(world) -> None:
    """The second call finds what the first one made."""
    days = date(2026, 2, 3), date(2026, 2, 5)
    new = NewInvestigation("Νέα:1", "2", "A title: with & signs", STAFF, "XRD1", *days)
    first = world.catalogue.ensure_investigation(new)
    assert (first.beamline, first.start, first.end) == ("XRD1", *days)
    assert world.catalogue.ensure_investigation(new) == first
    assert world.investigations().count(("Νέα:1", "2")) == 1


def test_a_dataset_is_made_once(world) -> None:
    """The second call finds what the first one made."""
    first = world.catalogue.ensure_dataset(wanted())
    assert world.catalogue.ensure_dataset(wanted()) == first
    assert [d["id"] for d in world.datasets()] == [first.id]
    assert not first.complete


@pytest.mark.parametrize("name", HOSTILE)
def test_names_come_back_as_they_were(world, name: str) -> None:
    """Colons, line feeds, signs of forms, markup, Greek and 200 characters."""
    made = world.catalogue.ensure_dataset(wanted(name))
    assert world.catalogue.ensure_dataset(wanted(name)).id == made.id
    world.catalogue.register_datafiles(made.id, [datafile(name)])
    world.catalogue.attach_parameters(made.id, [NamedValue(name, name, name)], datafile=name)
    held = world.datasets()[0]
    assert (made.name, held["name"], held["datafiles"][0][0]) == (name, name, name)
    assert held["parameters"] == [(name, name, name, name)]


@pytest.mark.parametrize("text", [*HOSTILE, "", "two\nlines"])
def test_a_dataset_is_described_again_and_again(world, text: str) -> None:
    """Also when it is complete; the last word stays, as it was said."""
    made = world.catalogue.ensure_dataset(wanted())
    assert world.datasets()[0]["description"] == "a description"
    world.catalogue.describe_dataset(made.id, "first", ANNA)
    world.catalogue.complete_dataset(made.id)
    for _ in range(2):
        world.catalogue.describe_dataset(made.id, text, BEN)
        assert world.datasets()[0]["description"] == text


def test_an_investigation_is_described(world) -> None:
    """By those who belong to it, a closed one as well."""
    for investigation in (OPEN, CLOSED):
        world.catalogue.describe_investigation(investigation, "what: we\nwant", ANNA)
        assert world.catalogue.investigation(investigation).description == "what: we\nwant"


def test_strangers_describe_nothing(world) -> None:
    """Whoever does not belong to the investigation is refused for good, and nothing is changed."""
    made = world.catalogue.ensure_dataset(wanted())
    with pytest.raises(CatalogueForbids):
        world.catalogue.describe_dataset(made.id, "mine now", "1103")
    with pytest.raises(CatalogueForbids):
        world.catalogue.describe_investigation(OPEN, "mine now", "1103")
    assert world.datasets()[0]["description"] == "a description"
    assert world.catalogue.investigation(OPEN).description.startswith("Sintering")


@pytest.mark.parametrize("kind", ["unavailable", "unreadable", "lost"])
def test_a_description_is_tried_again_when_the_answer_is_missing(world, kind: str) -> None:
    """The error says so, and the second try leads to the same."""
    made = world.catalogue.ensure_dataset(wanted())
    for operation in ("describe_dataset", "describe_investigation"):
        world.fail(operation, kind)
    again(lambda: world.catalogue.describe_dataset(made.id, "text", ANNA))
    again(lambda: world.catalogue.describe_investigation(OPEN, "text", ANNA))
    assert (world.datasets()[0]["description"], world.catalogue.investigation(OPEN).description) == ("text", "text")


def test_names_that_differ_by_a_letter_are_two_datasets(world) -> None:
    """The key is the exact name."""
    ids = {world.catalogue.ensure_dataset(wanted(name)).id for name in ("scan", "Scan", "scan ", "scàn", "sca\u0300n")}
    assert len(ids) == 5


@pytest.mark.parametrize("investigation", [BENS, CLOSED, "404"])
def test_a_dataset_is_refused_where_its_owner_may_not_be(world, investigation: str) -> None:
    """Membership is checked where the effect happens, too."""
    with pytest.raises(CatalogueForbids):
        world.catalogue.ensure_dataset(wanted(investigation=investigation))
    assert world.datasets() == []


def test_datafiles_are_registered_with_all_their_values(world) -> None:
    """Path, size, checksum, location and time, to the nanosecond where the catalogue's clock can tell it."""
    dataset = world.catalogue.ensure_dataset(wanted())
    file = datafile("dir/b.tif", size=world.largest_file)
    world.catalogue.register_datafiles(dataset.id, [file])
    held = world.datasets()[0]["datafiles"]
    known_ns = file.mtime_ns // world.clock_ns * world.clock_ns
    assert held == [(file.path, file.size, file.checksum, file.location, known_ns)]


def test_a_datafile_is_one_however_often_it_is_registered(world) -> None:
    """The path is the key, and a new version replaces the old one."""
    dataset = world.catalogue.ensure_dataset(wanted())
    for digit in "aab":
        world.catalogue.register_datafiles(dataset.id, [datafile(digit=digit)])
    assert [row[2] for row in world.datasets()[0]["datafiles"]] == ["b" * 64]


def test_thousands_of_datafiles_are_split_and_none_is_lost(world) -> None:
    """More than one request takes."""
    dataset = world.catalogue.ensure_dataset(wanted())
    world.catalogue.register_datafiles(dataset.id, [datafile(f"dir/{n:05}.h5") for n in range(2500)])
    assert len({row[0] for row in world.datasets()[0]["datafiles"]}) == 2500


def test_no_datafiles_are_no_call(world) -> None:
    """An empty list does nothing, even while the catalogue is away."""
    world.fail("add_datafiles", "unavailable", ALWAYS)
    world.catalogue.register_datafiles("7001", [])


def test_datafiles_of_an_unknown_dataset_are_refused(world) -> None:
    """Nothing is made on the way."""
    with pytest.raises(CatalogueRefused):
        world.catalogue.register_datafiles("404", [datafile()])
    assert world.datasets() == []


def test_parameters_belong_to_the_dataset_or_to_a_datafile(world) -> None:
    """Numbers stay numbers; setting them again replaces them."""
    dataset = world.catalogue.ensure_dataset(wanted())
    world.catalogue.register_datafiles(dataset.id, [datafile()])
    for value in (1, 12.5):
        world.catalogue.attach_parameters(dataset.id, [NamedValue("energy", value, "keV"), NamedValue("sample", "Σ 1")])
    world.catalogue.attach_parameters(dataset.id, [NamedValue("frames", 3)], datafile="a.h5")
    held = world.datasets()[0]["parameters"]
    assert held == [("", "energy", 12.5, "keV"), ("", "sample", "Σ 1", ""), ("a.h5", "frames", 3, "")]


def test_parameters_of_a_datafile_that_is_not_there_yet_wait(world) -> None:
    """Metadata may be quicker than registration."""
    dataset = world.catalogue.ensure_dataset(wanted())
    with pytest.raises(NotYetThere) as error:
        world.catalogue.attach_parameters(dataset.id, [NamedValue("frames", 3)], datafile="a.h5")
    assert error.value.retryable


def test_a_dataset_is_completed_once_and_for_all(world) -> None:
    """Completing it twice changes nothing; the same files may be said again, other ones not."""
    dataset = world.catalogue.ensure_dataset(wanted())
    world.catalogue.register_datafiles(dataset.id, [datafile()])
    for _ in range(2):
        done = world.catalogue.complete_dataset(dataset.id)
        assert (done.complete, done.doi) == (True, None)
    world.catalogue.register_datafiles(dataset.id, [datafile()])
    world.catalogue.attach_parameters(dataset.id, [NamedValue("late", "metadata")])
    with pytest.raises(CatalogueRefused, match="complete"):
        world.catalogue.register_datafiles(dataset.id, [datafile(digit="b")])
    assert [row[2] for row in world.datasets()[0]["datafiles"]] == ["a" * 64]
    assert world.catalogue.ensure_dataset(wanted()).complete


def test_the_page_of_a_dataset_has_an_address(world) -> None:
    """The id is encoded into it."""
    assert world.catalogue.dataset_url("7/../1?x#y").endswith("/datasets/7%2F..%2F1%3Fx%23y")


@pytest.mark.usefixtures("at_once")
def test_health_is_told(world) -> None:
    """Healthy until the catalogue is away."""
    world.catalogue.probe_catalogue()
    world.fail("identify", "unavailable", ALWAYS)
    with pytest.raises(CatalogueUnavailable):
        world.catalogue.probe_catalogue()


@pytest.mark.fault("F44")
@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("kind", ["unavailable", "unreadable", "lost"])
def test_nothing_is_created_while_existence_is_unknown(world, kind: str) -> None:
    """An error or gibberish on the look-up is not absence."""
    creates_nothing(world, kind)


@pytest.mark.fault("F44")
def test_nothing_is_created_while_the_look_up_is_not_answered(impatient_world) -> None:
    """Nor is silence."""
    creates_nothing(impatient_world, "timeout")


def creates_nothing(world, kind: str) -> None:
    """Check that a failure of this kind on every look-up has nothing made, and another try is worth it."""
    for operation in ("find_dataset", "find_investigation"):
        world.fail(operation, kind, ALWAYS)
    before = world.investigations()
    for ensure in (
        lambda: world.catalogue.ensure_dataset(wanted()),
        lambda: world.catalogue.ensure_investigation(NewInvestigation("new", "1", "title", owner=STAFF)),
    ):
        with pytest.raises(CatalogError) as error:
            ensure()
        assert error.value.retryable
    assert world.datasets() == []
    assert world.investigations() == before


@pytest.mark.fault("F42")
@pytest.mark.parametrize("kind", ["lost", "unreadable_after"])
def test_created_but_never_heard_of_is_one(world, kind: str) -> None:
    """The effect happened and the answer was lost: trying again finds it."""
    if kind == "unreadable_after" and not hasattr(world, "double"):
        kind = "lost"
    for operation in ("create_dataset", "create_investigation", "add_datafiles", "complete_dataset"):
        if kind == "lost":
            world.fail(operation, "lost")
        else:
            world.fail(operation, "unreadable", after_effect=True)
    new = NewInvestigation("new", "1", "title", owner=STAFF)
    again(lambda: world.catalogue.ensure_investigation(new))
    again(lambda: world.catalogue.ensure_dataset(wanted()))
    dataset = world.catalogue.ensure_dataset(wanted())
    again(lambda: world.catalogue.register_datafiles(dataset.id, [datafile()]))
    again(lambda: world.catalogue.complete_dataset(dataset.id))
    assert world.investigations().count(("new", "1")) == 1
    assert [(d["complete"], len(d["datafiles"])) for d in world.datasets()] == [(True, 1)]


@pytest.mark.fault("F43")
def test_two_who_ensure_the_same_at_once_get_one(world) -> None:
    """The slower one is told of the conflict and takes what the quicker one made."""
    crowd = 4
    barrier = threading.Barrier(crowd)

    def ensure(_: int) -> set[str]:
        ids = set()
        for turn in range(5):
            barrier.wait(timeout=10)
            ids.add(world.catalogue.ensure_dataset(wanted(f"scan-{turn}")).id)
        return ids

    with ThreadPoolExecutor(crowd) as pool:
        seen = list(pool.map(ensure, range(crowd)))
    assert len(world.datasets()) == 5
    assert all(ids == seen[0] for ids in seen)


@pytest.mark.fault("F45")
def test_a_refusal_for_one_dataset_leaves_the_others_alone(world) -> None:
    """What is refused for good says so; the rest flows."""
    bad, good = (world.catalogue.ensure_dataset(wanted(name)) for name in ("bad", "good"))
    world.fail("add_datafiles", "refused", ALWAYS, match=bad.id)
    with pytest.raises(CatalogueRefused) as refusal:
        world.catalogue.register_datafiles(bad.id, [datafile()])
    assert not refusal.value.retryable
    world.catalogue.register_datafiles(good.id, [datafile()])
    assert [len(d["datafiles"]) for d in world.datasets()] == [0, 1]


@pytest.mark.parametrize("kind", ["unavailable", "unreadable"])
def test_every_write_says_when_another_try_may_help(world, kind: str) -> None:
    """Retryable, and nothing done."""
    dataset = world.catalogue.ensure_dataset(wanted())
    for operation in ("create_dataset", "add_datafiles", "add_parameters", "complete_dataset"):
        world.fail(operation, kind)
    calls: list[Callable[[], object]] = [
        lambda: world.catalogue.ensure_dataset(wanted("other")),
        lambda: world.catalogue.register_datafiles(dataset.id, [datafile()]),
        lambda: world.catalogue.attach_parameters(dataset.id, [NamedValue("a", 1)]),
        lambda: world.catalogue.complete_dataset(dataset.id),
    ]
    for call in calls:
        with pytest.raises((CatalogueUnavailable, BadAnswer)) as error:
            call()
        assert error.value.retryable
    assert [(d["complete"], d["datafiles"], d["parameters"]) for d in world.datasets()] == [(False, [], [])]


@pytest.mark.parametrize(
    "make",
    [
        lambda: NewDataset(OPEN, " "),
        lambda: NewDataset(OPEN, "\udcff"),
        lambda: NewDataset(OPEN, "x" * 1001),
        lambda: datafile(""),
        lambda: datafile(digit="A"),
        lambda: datafile(size=-1),
        lambda: NamedValue("a", float("nan")),
    ],
)
def test_what_no_catalogue_can_hold_is_refused_before_it_is_asked(make: Callable[[], object]) -> None:
    """Empty names, broken characters, wrong checksums, negative sizes, numbers that are none."""
    with pytest.raises(CatalogueRefused):
        make()


def again(call: Callable[[], object]) -> None:
    """Call until it succeeds; the first time it must not."""
    with pytest.raises(CatalogError) as error:
        call()
    assert error.value.retryable
    call()


def test_a_description_is_taken_from_the_service_itself(world) -> None:
    """Nobody is named where another system says who belongs to an investigation; the service has asked it."""
    made = world.catalogue.ensure_dataset(wanted(owner=""))
    world.catalogue.describe_dataset(made.id, "said by the service", "")
    world.catalogue.describe_investigation(OPEN, "said by the service", "")
    (held,) = world.datasets()
    assert held["description"] == "said by the service"
    assert world.catalogue.investigation(OPEN).description == "said by the service"


def test_investigations_are_found_by_their_name_alone(world) -> None:
    """Whoever belongs to them; VUO is not known to have such a search, and does not offer it."""
    if not isinstance(world.catalogue, SearchesByName):
        assert isinstance(world.catalogue, VuoCatalogue)
        return
    one = world.catalogue.investigation(OPEN)
    assert world.catalogue.investigations_named(one.name) == (one,)
    for name in ("", "none", f"{one.name}'", f"{one.name} ", *HOSTILE):
        assert world.catalogue.investigations_named(name) == ()
