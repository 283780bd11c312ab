"""Tries all duties of a catalogue in their order, and removes what it has made."""

import secrets
from collections.abc import Generator, Iterator

from datauploader.errors import BadRequest
from datauploader.plugins.catalogue.errors import CatalogError
from datauploader.plugins.catalogue.inspection import SCRATCH, CheckRequest, Diagnosable, Finding, Mark, Removable
from datauploader.plugins.catalogue.port import Catalogue
from datauploader.runtime.config import load
from datauploader_catalog.adapters import connect
from datauploader_catalog.conformance.duty import Trial
from datauploader_catalog.conformance.reading import REACHED, READING
from datauploader_catalog.conformance.writing import WRITING
from datauploader_catalog.settings import CatalogSettings

LEAVES_NOTHING = "What the check has made is removed again."
_KEPT = "The service itself never removes a dataset, so its work is not affected; have what was left removed."


def check_configured(request: CheckRequest) -> Generator[Finding]:
    """Try the catalogue that the settings choose.

    Raises:
        ConfigurationError: its settings are missing or wrong.
        BadRequest: it is to be written to, and nothing says where or for whom.
    """
    if request.write and not request.investigation:
        raise BadRequest("--write needs an investigation in which datasets may be made", "Give --investigation ID.")
    if request.write and request.session is None and not request.person:
        raise BadRequest("--write needs a person for whom datasets are made", "Give --session, or --user ID.")
    catalogue = connect(load(CatalogSettings))
    try:
        yield from check_catalogue(catalogue, request)
    finally:
        catalogue.close()


def check_catalogue(catalogue: Catalogue, request: CheckRequest, name: str = "") -> Generator[Finding]:
    """Try a catalogue, and yield a finding for each duty and trap; where it is not reached, nothing else is tried.

    Args:
        catalogue: the one to try.
        request: with whom, in which investigation, and whether anything may be written.
        name: of the dataset that is made; by default one that nobody has.
    """
    trial = Trial(catalogue, request, name or SCRATCH + secrets.token_hex(4), request.person)
    reached = REACHED.judge(trial)
    yield reached
    if reached.mark is not Mark.HOLDS:
        yield from (duty.untried("the catalogue was not reached") for duty in (*READING, *WRITING))
        return
    yield from (duty.judge(trial) for duty in READING)
    if not request.write:
        yield from (duty.untried("only with --write") for duty in WRITING)
        yield from _traps(trial)
        return
    cleaned: list[Finding] = []
    try:
        yield from (duty.judge(trial) for duty in WRITING)
        yield from _traps(trial)
    finally:
        cleaned.append(_clean(trial))
    yield from cleaned


def _traps(trial: Trial) -> Iterator[Finding]:
    if not isinstance(trial.catalogue, Diagnosable):
        return
    try:
        yield from trial.catalogue.traps(trial.dataset.id if trial.dataset else None)
    except CatalogError as error:
        yield Finding("The system's own traps can be looked for.", Mark.FAILS, str(error), "They stay unknown.")


def _clean(trial: Trial) -> Finding:
    """Remove every dataset that was made or asked for; say what is left."""
    left: list[str] = []
    for name in trial.names:
        try:
            found = trial.catalogue.find_dataset(trial.request.investigation, name)
        except CatalogError as error:
            left.append(f"perhaps dataset {name!r} ({error})")
        else:
            trial.made |= {found.id: name} if found else {}
    remover = trial.catalogue if isinstance(trial.catalogue, Removable) else None
    for dataset_id, name in trial.made.items():
        dataset = f"dataset {dataset_id}, {name!r}"
        try:
            stays = remover.remove_dataset(dataset_id) if remover else dataset
        except CatalogError as error:
            stays = f"{dataset} ({error})"
        left += [stays] if stays else []
    if not left:
        return Finding(LEAVES_NOTHING, Mark.HOLDS)
    where = f"Left in investigation {trial.request.investigation}: {'; '.join(left)}."
    if remover is None:
        return Finding(LEAVES_NOTHING, Mark.NOT_TRIED, f"this catalogue has no way to remove a dataset. {where}")
    return Finding(LEAVES_NOTHING, Mark.FAILS, where, _KEPT)
