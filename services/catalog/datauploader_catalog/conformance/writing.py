"""Duties that are tried in a dataset of their own: made once, filled, described, completed, and left as it is then."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from threading import Barrier

from datauploader.plugins.catalogue.batches import send_apart
from datauploader.plugins.catalogue.errors import CatalogueForbids, CatalogueRefused, NotYetThere
from datauploader.plugins.catalogue.port import Datafile, Dataset, NamedValue, NewDataset
from datauploader_catalog.conformance.duty import NOBODY, Duty, DutyFailedError, NotTriedError, Trial, require

HOSTILE = (
    "a:b::c",
    "line\nfeed\r\ttab",
    "a&b=c?d#e%41+f",
    "<script>alert('x')</script>",
    "Ελληνικά ονόματα",
    "' OR 1=1; --",
    '{("[,]")}\\',
    "\u202egnp.exe",
    "folder/" * 20 + "x" * 60,
)  # fmt: skip
"""Names that a file may have on a disk."""
_STRANGE_NAME = " a:b&c=d?e#f%41+g <h> 'i' \"j\" ../k\\l Ελληνικά"
MANY = 2500
_TOGETHER = 4
_SECOND_NS, _MILLISECOND_NS = 1_000_000_000, 1_000_000


def _file(path: str, digit: str = "a", size: int = 5_000_000_123) -> Datafile:
    return Datafile(path, f"store:datauploader-check/{path}", size, digit * 64, 1_700_000_000_123_456_789)


FIRST, ABSENT = _file("folder/first.h5"), "datauploader-check-absent.h5"


def _wanted(trial: Trial, name: str) -> NewDataset:
    """Return a dataset to ask for, and remember that it may have to be removed."""
    if name not in trial.names:
        trial.names.append(name)
    return NewDataset(
        trial.request.investigation, name, f"store:datauploader-check/{trial.name}",
        "Made by `datauploader catalogue check`; it may be removed.", owner=trial.person,
    )  # fmt: skip


def _made(trial: Trial) -> str:
    together = Barrier(_TOGETHER)

    def ask(wanted: NewDataset) -> Dataset:
        together.wait()
        return trial.catalogue.ensure_dataset(wanted)

    with ThreadPoolExecutor(_TOGETHER) as threads:
        asked = [threads.submit(ask, _wanted(trial, trial.name)) for _ in range(_TOGETHER)]
    found = [one.result() for one in asked if one.exception() is None]
    trial.made |= {one.id: one.name for one in found}
    trial.failures = [error for one in asked if (error := one.exception()) is not None]
    if not found:
        raise trial.failures[0]
    require(not found[0].complete, f"Dataset {found[0].id} is said to be complete, as it is new.")
    trial.dataset = found[0]
    return f"dataset {found[0].id}, {trial.name!r}"


def _made_once(trial: Trial) -> str:
    trial.require_dataset()
    if trial.failures:
        raise trial.failures[0]
    again = trial.catalogue.ensure_dataset(_wanted(trial, trial.name))
    ids = sorted({again.id, *trial.made})
    require(len(ids) == 1, f"Datasets {', '.join(ids)} were made, all with the name {trial.name!r}.")
    return ""


def _found(trial: Trial) -> str:
    dataset = trial.require_dataset()
    found = trial.catalogue.find_dataset(dataset.investigation_id, dataset.name)
    require(found is not None, f"It says that dataset {dataset.name!r} is absent, which it has just made.")
    require(found and found.id == dataset.id, f"It answers {found} when it is asked for dataset {dataset.name!r}.")
    return ""


def _exact(trial: Trial) -> str:
    dataset = trial.require_dataset()
    other = dataset.name.upper()
    found = trial.catalogue.find_dataset(dataset.investigation_id, other)
    require(found is None, f"When it is asked for {other!r}, it answers with dataset {dataset.name!r}.")
    return ""


def _strange_name(trial: Trial) -> str:
    trial.require_dataset()
    name = trial.name + _STRANGE_NAME
    made = trial.catalogue.ensure_dataset(_wanted(trial, name))
    trial.made[made.id] = made.name
    require(made.name == name, f"It was asked for {name!r}, and has made {made.name!r}.")
    again = trial.catalogue.find_dataset(made.investigation_id, name)
    require(again is not None and again.id == made.id, f"It does not find {name!r}, which it has just made.")
    return ""


def _registered(trial: Trial) -> str:
    trial.catalogue.register_datafiles(trial.require_dataset().id, [FIRST])
    held = next((one for one in trial.contents().datafiles if one.path == FIRST.path), None)
    if held is None:
        raise DutyFailedError(f"It does not hold {FIRST.path!r}, which it has accepted.")
    known = replace(FIRST, location=held.location and FIRST.location, mtime_ns=held.mtime_ns)
    near = abs(held.mtime_ns - FIRST.mtime_ns) < _SECOND_NS
    require(held == known and near, f"It was told {FIRST}, and holds {held}.")
    lost = [] if held.location else ["not where the bytes lie"]
    if held.mtime_ns != FIRST.mtime_ns:
        lost.append(f"times to the {'second' if held.mtime_ns % _SECOND_NS == 0 else 'millisecond'}")
    return f"it keeps {', '.join(lost)}" if lost else ""


def _registered_once(trial: Trial) -> str:
    trial.catalogue.register_datafiles(trial.require_dataset().id, [FIRST])
    counted = Counter(one.path for one in trial.contents().datafiles)[FIRST.path]
    require(counted == 1, f"{FIRST.path!r} is there {counted} times.")
    return ""


def _replaced(trial: Trial) -> str:
    newer = replace(FIRST, size=7, checksum="b" * 64)
    trial.catalogue.register_datafiles(trial.require_dataset().id, [newer])
    held = [(one.size, one.checksum) for one in trial.contents().datafiles if one.path == FIRST.path]
    require(held == [(newer.size, newer.checksum)], f"Of {FIRST.path!r} it holds (size, checksum) {held}.")
    return ""


def _strange_files(trial: Trial) -> str:
    dataset_id = trial.require_dataset().id
    files = [_file(name) for name in HOSTILE]
    sent = send_apart(files, lambda some: trial.catalogue.register_datafiles(dataset_id, some))
    refused = [f"{one.path!r} ({refusal})" for some, refusal in sent if refusal is not None for one in some]
    require(not refused, f"It refuses {'; '.join(refused)}.")
    held = {one.path for one in trial.contents().datafiles}
    missing = [repr(name) for name in HOSTILE if name not in held]
    require(not missing, f"It does not hold {', '.join(missing)}, which it has accepted.")
    return ""


def _many(trial: Trial) -> str:
    files = [_file(f"many/{number:05}.h5", size=1) for number in range(MANY)]
    begun = time.monotonic()
    trial.catalogue.register_datafiles(trial.require_dataset().id, files)
    took = time.monotonic() - begun
    held = {one.path for one in trial.contents().datafiles}
    missing = sum(one.path not in held for one in files)
    require(not missing, f"{missing} of {MANY} are missing, which it has accepted.")
    return f"in {took:.1f} s"


def _parameters(trial: Trial) -> str:
    number, text = f"{trial.name}-energy", f"{trial.name}-sample"
    for value in (1, 12.5):
        some = [NamedValue(number, value, "keV"), NamedValue(text, "Σ 1: 100 %")]
        trial.catalogue.attach_parameters(trial.require_dataset().id, some)
    held = sorted((one.name, one.value, one.units) for path, one in _own(trial) if one.name in {number, text})
    wanted = [(number, 12.5, "keV"), (text, "Σ 1: 100 %", "")]
    require(held == wanted, f"It was told {wanted} at last, and holds {held}.")
    return ""


def _file_parameters(trial: Trial) -> str:
    name = f"{trial.name}-frames"
    trial.catalogue.attach_parameters(trial.require_dataset().id, [NamedValue(name, 3)], datafile=FIRST.path)
    held = [(path, one.value, one.units) for path, one in _own(trial) if one.name == name]
    require(held == [(FIRST.path, 3, "")], f"It was told 3 at {FIRST.path!r}, and holds {held}.")
    return ""


def _own(trial: Trial) -> list[tuple[str, NamedValue]]:
    return [(path, one) for path, one in trial.contents().parameters if one.name.startswith(trial.name)]


def _waits(trial: Trial) -> str:
    some = [NamedValue(f"{trial.name}-frames", 3)]
    with suppress(NotYetThere):
        trial.catalogue.attach_parameters(trial.require_dataset().id, some, datafile=ABSENT)
        raise DutyFailedError(f"It has accepted a parameter of {ABSENT!r}, which was never registered.")
    return ""


def _described(trial: Trial) -> str:
    text = "first: a & b\nsecond: “Σ”, 100 %"
    for one in ("a description", text):
        trial.catalogue.describe_dataset(trial.require_dataset().id, one, trial.person)
    held = trial.contents().description
    require(held == text, f"It was told {text!r}, and holds {held!r}.")
    return ""


def _strangers_describe_nothing(trial: Trial) -> str:
    with suppress(CatalogueForbids):
        trial.catalogue.describe_dataset(trial.require_dataset().id, "somebody else's", NOBODY)
        raise DutyFailedError(f"User {NOBODY!r} has changed the description.")
    return ""


def _completed(trial: Trial) -> str:
    dataset = trial.require_dataset()
    for _ in range(2):
        done = trial.catalogue.complete_dataset(dataset.id)
        require(done.complete and done.id == dataset.id, f"It answers {done}.")
    found = trial.catalogue.find_dataset(dataset.investigation_id, dataset.name)
    require(found is not None and found.complete, f"After its completion it answers {found}.")
    trial.dataset = done
    return f"DOI {done.doi}" if done.doi else ""


def _closed(trial: Trial) -> str:
    dataset = trial.require_dataset()
    if not dataset.complete:
        raise NotTriedError("the dataset is not complete")
    trial.catalogue.register_datafiles(dataset.id, [_file(HOSTILE[0])])
    with suppress(CatalogueRefused):
        trial.catalogue.register_datafiles(dataset.id, [_file("late.h5")])
        raise DutyFailedError("It has accepted 'late.h5' after the completion.")
    return ""


def _lost_answer(_: Trial) -> str:
    raise NotTriedError("no answer can be made to get lost from here; our tests show it on the doubles")


_LEFT_OUT = "Such a file is shown as failed, with the reason, and its dataset is not completed before somebody acts."
_METADATA = "Such metadata are not in the catalogue; files and dataset are not affected."
_TWICE = (
    "Two catalog services, or one after a lost answer, can make the same dataset twice, or wait for it for ever: run "
    "one alone, and look at datasets of the same name."
)
WRITING = (
    Duty(
        "A dataset is made where the person may upload.",
        "Every upload is refused, or waits, with the sentence that was seen.",
        _made,
    ),
    Duty("A dataset is made once, also where four ask at the same time.", _TWICE, _made_once),
    Duty(
        "A dataset that was made is found by its name.",
        "The service cannot know that the dataset exists; it makes nothing more, and tries again.",
        _found,
    ),
    Duty(
        "Names of datasets that differ in case alone are two.",
        "The second of two such datasets is refused, or goes into the first.",
        _exact,
    ),
    Duty(
        "A dataset's name with colons, quotes and signs of other alphabets comes back as it was.",
        "A dataset of such a name is refused: another name than the wanted one is never taken for it.",
        _strange_name,
    ),
    Duty(
        "A datafile is registered with path, size, SHA-256, location and time.",
        "What stands in the catalogue is not what lies on the storage; receipts and manifests are right all the same.",
        _registered,
    ),
    Duty(
        "A datafile that is registered twice is there once.",
        "After a lost answer, files are sent again; they are then there twice.",
        _registered_once,
    ),
    Duty(
        "A newer version of a datafile takes the place of the older one.",
        "The catalogue shows the size and the SHA-256 of a version that is no longer on the storage.",
        _replaced,
    ),
    Duty("Datafiles' names with signs of any kind come back as they were.", _LEFT_OUT, _strange_files),
    Duty(
        f"{MANY:,} datafiles are registered, in as many requests as that takes.",
        "Datasets with so many files are not completed. See the settings for the size of a batch.",
        _many,
    ),
    Duty("Parameters of a dataset are kept: numbers as numbers, with units, the latest value.", _METADATA, _parameters),
    Duty("Parameters of a datafile are kept.", _METADATA, _file_parameters),
    Duty(
        "A parameter of a datafile that is not registered yet waits.",
        "Metadata that are quicker than their file are lost, or belong to nothing.",
        _waits,
    ),
    Duty(
        "The description of a dataset can be changed.",
        "A description that people write is refused, or stays “not yet in the catalogue”.",
        _described,
    ),
    Duty(
        "Whoever does not belong to the investigation cannot change a description.",
        "Only the pages decide: they let whoever asked for an upload, and staff, describe its dataset.",
        _strangers_describe_nothing,
    ),
    Duty(
        "A dataset is completed, and completing it twice changes nothing.",
        "Completing is tried again, or an upload is told to be complete whose dataset the catalogue shows as open.",
        _completed,
    ),
    Duty(
        "A complete dataset takes the datafiles that it has, and no others.",
        "A dataset that was completed may change later, or an upload that repeats its last step is refused.",
        _closed,
    ),
    Duty("After a lost answer, asking again makes nothing twice.", _TWICE, _lost_answer),
)
