"""What SciCat's adapter must do beyond the port with files and metadata: nothing twice, nothing of others lost."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import httpx
import pytest

from datauploader.plugins.catalogue.errors import (
    BadAnswer,
    CatalogError,
    CatalogueRefused,
    CatalogueUnavailable,
    ValueRefused,
)
from datauploader.plugins.catalogue.port import Datafile, NamedValue, NewDataset
from datauploader_catalog.adapters.scicat.catalogue import ScicatCatalogue
from datauploader_catalog.adapters.scicat.metadata import merged

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


def post(direct: httpx.Client, pid: str, *paths: str, token: str = "") -> None:
    """Make a block past the adapter."""
    rows = [{"path": p, "size": 1, "time": "2023-11-14T22:13:20.123Z", "chk": "a" * 64} for p in paths]
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    body = {"datasetId": pid, "size": len(rows), "dataFileList": rows}
    assert direct.post("/api/v3/origdatablocks", json=body, headers=headers).status_code == 201


@pytest.mark.parametrize("kind", ["lost", "slow", "unreadable"])
@pytest.mark.parametrize("api", ["v3", "v4"])
def test_a_block_whose_answer_never_came_is_not_sent_again(make_scicat, api: str, kind: str) -> None:
    """SciCat would take it twice: what is there is read first."""
    scicat = make_scicat(api, timeout=2)
    dataset = scicat.catalogue.ensure_dataset(WANTED)
    scicat.fail("add_datafiles", kind, after_effect=True, seconds=2.5)
    with pytest.raises(CatalogError) as error:
        scicat.catalogue.register_datafiles(dataset.id, files(5))
    assert error.value.retryable
    scicat.catalogue.register_datafiles(dataset.id, files(5))
    assert blocks(scicat) == [5]


def test_files_that_stand_twice_are_put_right(scicat, direct) -> None:
    """A request that was given up may come late; whole blocks can be removed by accounts that may delete alone."""
    dataset = scicat.catalogue.ensure_dataset(WANTED)
    scicat.catalogue.register_datafiles(dataset.id, [file("a"), file("b")])
    post(direct, dataset.id, "b", "c")
    scicat.catalogue.register_datafiles(dataset.id, [file("a"), file("b"), file("c")])
    assert blocks(scicat) == [2, 1]
    post(direct, dataset.id, "a", "b")
    with pytest.raises(CatalogueRefused, match="origdatablock"):
        scicat.catalogue.complete_dataset(dataset.id)
    assert not scicat.datasets()[0]["complete"]
    scicat.oracle.put("/_double/accounts/9001/groups", json=["admin", "archivemanager"]).raise_for_status()
    scicat.catalogue.complete_dataset(dataset.id)
    held = scicat.state()["datasets"][0]
    assert (blocks(scicat), held["numberOfFiles"], held["size"]) == ([2, 1], 3, 3)


def test_a_changed_file_takes_the_new_values_where_it_stands(scicat) -> None:
    """One block before, one after; what else is in it stays."""
    dataset = scicat.catalogue.ensure_dataset(WANTED)
    scicat.catalogue.register_datafiles(dataset.id, files(400))
    scicat.catalogue.register_datafiles(dataset.id, [file("scan/000007.h5", "b", 9), *files(1, 400)])
    held = {path: (size, checksum[0]) for path, size, checksum, *_ in scicat.datasets()[0]["datafiles"]}
    assert blocks(scicat) == [400, 1]
    assert (held["scan/000007.h5"], held["scan/000008.h5"]) == ((9, "b"), (1, "a"))
    assert scicat.state()["datasets"][0]["size"] == 409


def test_blocks_of_others_are_counted_and_never_changed(scicat, direct) -> None:
    """Whose they are is told by their maker."""
    dataset = scicat.catalogue.ensure_dataset(WANTED)
    post(direct, dataset.id, "a", token="sandbox-session-anna")
    scicat.catalogue.register_datafiles(dataset.id, [file("a"), file("b")])
    assert blocks(scicat) == [1, 1]
    with pytest.raises(CatalogueRefused, match=r"anna\.moretti"):
        scicat.catalogue.register_datafiles(dataset.id, [file("a", "b")])


def test_files_that_come_one_by_one_do_not_make_a_block_each(scicat) -> None:
    """Blocks stay few, and each file stands once."""
    dataset = scicat.catalogue.ensure_dataset(WANTED)
    for n in range(30):
        scicat.catalogue.register_datafiles(dataset.id, files(1, n))
    assert blocks(scicat) == [30]


def test_the_size_of_a_dataset_is_true_with_many_blocks_and_after_every_change(make_scicat) -> None:
    """SciCat itself counts ten of them, and forgets the sum at the next change."""
    for api in ("v3", "v4"):
        world = make_scicat(api, block_files=250, timeout=10)
        dataset = world.catalogue.ensure_dataset(NewDataset(OPEN, f"scan-{api}", owner=ANNA))
        for start in range(0, 3000, 250):
            world.catalogue.register_datafiles(dataset.id, files(250, start))
        for change in (
            lambda: None,
            lambda: world.catalogue.describe_dataset(dataset.id, "described", ANNA),  # noqa: B023 - called at once
            lambda: world.catalogue.attach_parameters(dataset.id, [NamedValue("a", 1)]),  # noqa: B023
            lambda: world.catalogue.complete_dataset(dataset.id),  # noqa: B023
            lambda: world.catalogue.describe_dataset(dataset.id, "again", ANNA),  # noqa: B023
        ):
            change()
            held = next(d for d in world.state()["datasets"] if d["pid"] == dataset.id)
            assert (len(held["blocks"]), held["numberOfFiles"], held["size"]) == (12, 3000, 3000)


def test_requests_stay_below_the_limits(make_scicat) -> None:
    """By number and by bytes; a server on the way that takes less gets less."""
    world = make_scicat(block_bytes=20_000, timeout=10)
    dataset = world.catalogue.ensure_dataset(WANTED)
    world.catalogue.register_datafiles(dataset.id, files(500))
    assert len(blocks(world)) > 3
    assert all(len(json.dumps(block)) < 40_000 for block in world.state()["datasets"][0]["blocks"])
    world.fail("add_datafiles", "error", 2, status=413)
    more = [file(f"more/{n:06}.h5") for n in range(300)]
    world.catalogue.register_datafiles(dataset.id, more)
    assert sum(blocks(world)) == 800


def test_sixteen_megabytes_are_never_passed(make_scicat) -> None:
    """The largest blocks that the settings allow, with long names."""
    world = make_scicat(block_files=20_000, block_bytes=15_000_000, timeout=30)
    dataset = world.catalogue.ensure_dataset(WANTED)
    world.catalogue.register_datafiles(dataset.id, [file(f"{n:05}{'ü' * 400}") for n in range(20_000)])
    assert len(blocks(world)) == 2
    assert sum(blocks(world)) == 20_000


def test_files_of_200_gigabytes_share_no_block(scicat) -> None:
    """Alone, each of them may be as large as it is."""
    dataset = scicat.catalogue.ensure_dataset(WANTED)
    large = [file(f"{n}", size=150_000_000_000) for n in range(3)]
    scicat.catalogue.register_datafiles(dataset.id, [*large, file("huge", size=10**12), file("small")])
    assert blocks(scicat) == [1, 1, 1, 1, 1]


def test_what_ten_thousand_files_cost(make_scicat) -> None:
    """Requests grow with the batches, bytes with the files."""
    world = make_scicat(timeout=30)
    dataset = world.catalogue.ensure_dataset(WANTED)
    before = world.state()["counts"]
    for start in range(0, 10_000, 2000):
        world.catalogue.register_datafiles(dataset.id, files(2000, start))
    counts = world.state()["counts"]
    requests = {name: number - before.get(name, 0) for name, number in counts.items() if " " in name}
    assert blocks(world) == [2000] * 5
    assert sum(requests.values()) <= 4 * 5
    assert counts["bytes"] - before["bytes"] < 10_000 * 160
    assert counts["answered"] - before["answered"] < 10_000 * 250


def test_metadata_of_others_stay_as_they_were(scicat, direct) -> None:
    """Nested, without units, with odd names; also after ours are set again."""
    dataset = scicat.catalogue.ensure_dataset(WANTED)
    theirs = {
        "beam": {"mode": {"value": "top-up", "unit": ""}, "current": {"value": 310.5, "unit": "mA"}},
        "plain": 7, "list": [1, 2], "a.b c%": {"value": 1, "unit": "m"},
    }  # fmt: skip
    path = f"/api/v3/datasets/{quote(dataset.id, safe='')}"
    direct.patch(path, json={"scientificMetadata": theirs}).raise_for_status()
    before = scicat.state()["datasets"][0]["scientificMetadata"]
    for value in (1, 2, 2):
        scicat.catalogue.attach_parameters(dataset.id, [NamedValue("ours %41", value, "keV")])
    after = scicat.state()["datasets"][0]["scientificMetadata"]
    assert after.pop("ours %41")["value"] == 2
    assert after == before
    assert scicat.state()["counts"]["PATCH datasets/:id"] == 3


def test_a_parameter_may_be_called_as_something_of_the_database(scicat) -> None:
    """And as something that looks encoded, or ends a path; each comes back under its name, once."""
    dataset = scicat.catalogue.ensure_dataset(WANTED)
    scicat.catalogue.register_datafiles(dataset.id, [file("language")])
    names = ["language", "$set", "a.b", "%41", "%", "value", "unit", "constructor"]
    for _ in range(2):
        for datafile in (None, "language"):
            scicat.catalogue.attach_parameters(dataset.id, [NamedValue(n, "x") for n in names], datafile=datafile)
    expected = sorted((datafile, name, "x", "") for name in names for datafile in ("", "language"))
    assert scicat.datasets()[0]["parameters"] == expected
    assert scicat.state()["counts"]["PATCH datasets/:id"] == 2
    scicat.catalogue.attach_parameters(dataset.id, [NamedValue("later", 1)])
    assert scicat.datasets()[0]["parameters"] == sorted([*expected, ("", "later", 1, "")])


@pytest.mark.parametrize(
    ("api", "answered", "sent"),
    [
        ("v4", "a%2541", "a%2541"),  # as it is stored
        ("v4", "a %41", "a%20%2541"),  # names, as later versions answer
        ("v3", "a%41", "a%2541"),
        ("v3", "a b", "a b"),
    ],
)
def test_names_of_others_are_given_back_as_they_were_meant(make_scicat, api: str, answered: str, sent: str) -> None:
    """Whether SciCat answers with names or with keys."""
    theirs = {"nested": {answered: {"value": 1, "unit": ""}}, "": 0}
    result = merged(theirs, [NamedValue("ours", 1)], None, api, make_scicat().settings)
    assert result == {"nested": {sent: {"value": 1, "unit": ""}}, "": 0, "ours": {"value": 1, "unit": ""}}


def test_a_change_by_others_in_between_is_noticed(scicat) -> None:
    """412 is read anew and said again; where it never ends, it is retried later."""
    dataset = scicat.catalogue.ensure_dataset(WANTED)
    scicat.fail("add_parameters", "error", 2, status=412)
    scicat.catalogue.attach_parameters(dataset.id, [NamedValue("a", 1)])
    assert scicat.datasets()[0]["parameters"] == [("", "a", 1, "")]
    scicat.fail("add_parameters", "error", ALWAYS, status=412)
    with pytest.raises(BadAnswer, match="again and again"):
        scicat.catalogue.attach_parameters(dataset.id, [NamedValue("b", 1)])


def test_two_services_that_write_one_dataset_lose_nothing_of_each_other(scicat) -> None:
    """Parameters and files of both are there in the end."""
    dataset = scicat.catalogue.ensure_dataset(WANTED)
    pair = [scicat.catalogue, ScicatCatalogue(scicat.settings.model_copy(update={"timeout": 10}))]

    def write(n: int) -> None:
        def until_done(call: Callable[[], None]) -> None:
            for _ in range(50):
                try:
                    return call()
                except (BadAnswer, CatalogueUnavailable):
                    continue
            raise AssertionError("it never ended")

        until_done(lambda: pair[n % 2].attach_parameters(dataset.id, [NamedValue(f"p{n}", n)]))
        until_done(lambda: pair[n % 2].register_datafiles(dataset.id, [file(f"f{n}")]))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, range(12)))
    scicat.oracle.put("/_double/accounts/9001/groups", json=["admin", "archivemanager"]).raise_for_status()
    pair[1].complete_dataset(dataset.id)
    pair[1].close()
    held = scicat.datasets()[0]
    assert [name for _, name, *_ in held["parameters"]] == sorted(f"p{n}" for n in range(12))
    assert sorted(row[0] for row in held["datafiles"]) == sorted(f"f{n}" for n in range(12))


@pytest.mark.parametrize(
    ("value", "datafile"),
    [
        (NamedValue("__proto__", 1), None),
        (NamedValue("a", 1), "__proto__"),
        (NamedValue("datafiles", 1), None),
        (NamedValue("a", 2**53 + 1), None),
        (NamedValue("a", "x" * 2000), None),
    ],
)
def test_metadata_that_scicat_cannot_hold_are_refused_with_the_reason(make_scicat, value, datafile) -> None:
    """They would be lost or changed in silence there."""
    world = make_scicat(metadata_bytes=1500)
    dataset = world.catalogue.ensure_dataset(WANTED)
    if datafile:
        world.catalogue.register_datafiles(dataset.id, [file(datafile)])
    with pytest.raises(ValueRefused, match="SciCat"):
        world.catalogue.attach_parameters(dataset.id, [value], datafile=datafile)
    assert world.datasets()[0]["parameters"] == []


def test_metadata_of_files_take_no_more_room_than_is_theirs(make_scicat) -> None:
    """The others are refused at once, each at its file; those of the dataset go in."""
    world = make_scicat(file_metadata_bytes=200, timeout=10)
    dataset = world.catalogue.ensure_dataset(WANTED)
    world.catalogue.register_datafiles(dataset.id, files(10))
    refused = []
    for one in files(10):
        try:
            world.catalogue.attach_parameters(dataset.id, [NamedValue("frames", 3)], datafile=one.path)
        except ValueRefused as error:
            refused.append(str(error))
    world.catalogue.attach_parameters(dataset.id, [NamedValue("energy", 1, "keV")])
    counts = world.state()["counts"]
    assert "FILE_METADATA_BYTES" in refused[0]
    assert len(world.datasets()[0]["parameters"]) + len(refused) == 11
    assert counts["GET datasets/:id"] <= 1 + 1 + (10 - len(refused)) + 1 + 1


def test_a_size_that_scicat_would_round_is_refused(scicat) -> None:
    """JavaScript knows whole numbers up to 2**53."""
    dataset = scicat.catalogue.ensure_dataset(WANTED)
    with pytest.raises(ValueRefused, match="how large"):
        scicat.catalogue.register_datafiles(dataset.id, [file(size=2**53 + 1)])
