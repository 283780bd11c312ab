"""Queries to the catalog: who is this, what may they upload to, which investigations are theirs, make one.

And those of stations: which files it has of an upload of theirs, when they have forgotten it.
"""

import base64
import unicodedata
from collections.abc import Callable, Iterable
from datetime import date
from functools import partial

from pydantic import SecretStr

from datauploader import days
from datauploader.contracts import Station
from datauploader.contracts.model import Question, WireModel
from datauploader.contracts.names import check_location
from datauploader.contracts.questions import (
    CatalogCondition,
    CreateInvestigation,
    Datafiles,
    DatasetState,
    HowIsTheCatalog,
    Identity,
    Investigations,
    InvestigationSummary,
    ListDatafiles,
    ListInvestigations,
    LookAtDataset,
    MayUpload,
    SignInAtCatalogue,
    UploadRight,
    WhoIs,
)
from datauploader.errors import QuestionRefused
from datauploader.messaging.port import WrittenAnswer
from datauploader.plugins.catalogue.errors import (
    CatalogError,
    CatalogueForbids,
    NoSuchInvestigation,
    UnknownSession,
)
from datauploader.plugins.catalogue.port import Catalogue, CatalogueInvestigation, NewInvestigation
from datauploader.reliability import Store
from datauploader_catalog import claims
from datauploader_catalog.claims import DatasetClaims
from datauploader_catalog.ledger import DatafileTable, OwningStations, WantedDatasets
from datauploader_catalog.seals import SealTable

PAGE_BYTES = 256 * 1024
"""How long a page may become; a single file is always told."""

MADE_ELSEWHERE = "Investigations are created by the user office; ask there for one."


_here = partial(days.today, "")
"""The day by this machine's clock and zone."""


class CatalogQueries:
    """Answers queries (request-reply) from the catalogue itself, every time anew: rights change."""

    def __init__(
        self,
        catalogue: Catalogue,
        storage_prefix: str,
        *,
        may_create: bool,
        store: Store,
        condition: Callable[[], CatalogCondition] = CatalogCondition,
        today: Callable[[], date] = _here,
    ) -> None:
        """Answer from this catalogue and of what was heard; its base directories are told without the prefix."""
        self._store, self._condition = store, condition
        self._catalogue = catalogue
        self._storage_prefix = storage_prefix
        self._may_create = may_create and catalogue.may_create
        self._today = today

    def __call__(self, question: Question) -> WireModel:
        """Answer one question.

        Raises:
            QuestionRefused: with a code (`not-signed-in`, `unavailable`, `taken`, `refused`, `unknown-question`) and a
                sentence.
        """
        try:
            return self._answer(question)
        except UnknownSession as error:
            raise QuestionRefused("not-signed-in", str(error)) from error
        except CatalogError as error:
            code = "unavailable" if error.retryable else "refused"
            raise QuestionRefused(code, str(error)) from error

    def _answer(self, question: Question) -> WireModel:
        if isinstance(question, WhoIs | SignInAtCatalogue):
            return self._identify(question)
        if isinstance(question, MayUpload):
            try:
                grant = self._catalogue.authorise(question.user_id, question.investigation)
            except (CatalogueForbids, NoSuchInvestigation) as error:
                right = UploadRight(allowed=False, detail=str(error))
            else:
                right = UploadRight(allowed=True, base_dir=self._below(grant.base_dir))
            return right
        if isinstance(question, ListInvestigations):
            found = self._catalogue.investigations(question.user_id)
            chosen, total = choose_investigations(found, text=question.text, today=self._today(), most=question.most)
            return Investigations(
                items=tuple(self._summary(one) for one in chosen),
                total=total,
                may_create=self._may_create,
                create_refusal="" if self._may_create else MADE_ELSEWHERE,
            )
        if isinstance(question, CreateInvestigation):
            return self._create(question)
        if isinstance(question, HowIsTheCatalog):
            return self._condition().model_copy(update={"about": self._catalogue.about})
        if isinstance(question, LookAtDataset):
            return self._look_at(question)
        raise QuestionRefused("unknown-question", f"the catalog cannot answer {question.name}")

    def _identify(self, question: WhoIs | SignInAtCatalogue) -> Identity:
        if isinstance(question, WhoIs):
            user = self._catalogue.identify(SecretStr(question.session))
        elif self._catalogue.about.password:
            user = self._catalogue.sign_in(question.username, SecretStr(question.password))
        else:
            raise UnknownSession("The catalogue takes no passwords from here; sign in in another way.")
        return Identity(user_id=user.id, name=user.name, unix_user=user.name)

    def _look_at(self, question: LookAtDataset) -> DatasetState:
        if self._store.needs_recovery:
            raise QuestionRefused("unavailable", "the catalog is still loading which dataset belongs to whom")
        return claims.find_conflict(
            claims.claim_lookup(self._store, question.investigation),
            partial(self._catalogue.find_dataset, question.investigation),
            self._catalogue.dataset_url,
            question.dataset,
            question.user_id,
            claims.find_lookalike(self._store, question.investigation, question.dataset),
        )

    def _create(self, asked: CreateInvestigation) -> InvestigationSummary:
        """Make an investigation; whoever asks the same again, having heard no answer, is given the same one."""
        if not self._may_create:
            raise QuestionRefused("refused", MADE_ELSEWHERE)
        made = self._catalogue.ensure_investigation(
            NewInvestigation(
                asked.investigation, asked.visit, asked.title, asked.user_id, asked.beamline, asked.start, asked.end
            )
        )
        what = f"investigation {asked.investigation}, visit {asked.visit},"
        try:
            self._catalogue.authorise(asked.user_id, made.id)
        except CatalogueForbids as error:
            raise QuestionRefused("taken", f"There is an {what} already, and you may not upload to it.") from error
        if made.title != asked.title:
            raise QuestionRefused("taken", f"There is an {what} already, with another title: {made.title[:500]}")
        return self._summary(made)

    def _summary(self, one: CatalogueInvestigation) -> InvestigationSummary:
        ended = f", which ended on {one.end.isoformat()}" if one.end else ""
        why_closed = one.reason or f"The user office has closed this investigation{ended}."
        return InvestigationSummary(
            id=one.id,
            title=one.title,
            name=one.name,
            visit=one.visit,
            base_dir=self._below(one.base_dir),
            open=one.active,
            reason="" if one.active else why_closed,
            beamline=one.beamline,
            start=one.start,
            end=one.end,
            principal_investigator=one.principal_investigator,
            description=one.description,
        )

    def _below(self, base_dir: str) -> str:
        """Return a base directory below a remote's base, or "" where it cannot be one."""
        relative = base_dir.removeprefix(self._storage_prefix).strip("/")
        try:
            return check_location(relative)
        except ValueError:
            return ""


class StationQueries:
    """Answers the queries of stations from the ledger, and each station about its own uploads alone."""

    def __init__(self, store: Store) -> None:
        """Answer from this state."""
        self._store = store

    def __call__(self, question: Question, station: Station) -> WrittenAnswer:
        """Answer one question of a station, with the files as the ledger holds them.

        Raises:
            QuestionRefused: with a code (`unavailable`, `not-allowed`, `invalid-question`, `unknown-question`).
        """
        if not isinstance(question, ListDatafiles):
            raise QuestionRefused("unknown-question", f"the catalog does not answer {question.name} to stations")
        if self._store.needs_recovery:
            raise QuestionRefused("unavailable", "the catalog is still loading its history; ask again later")
        with self._store.reading() as db:
            home = OwningStations(db).station_of(question.upload_id)
            if home not in (None, station.key):
                raise QuestionRefused("not-allowed", f"{station.key} asks about an upload of another station")
            try:
                after = base64.b64decode(question.after, validate=True)
            except ValueError as error:
                raise QuestionRefused("invalid-question", "`after` is none of the catalog's own `next`") from error
            found = DatafileTable(db).known_files(question.upload_id, after, question.limit + 1)
            datasets = WantedDatasets(db)
            items, behind = _page(found, question.limit)
            around = Datafiles(
                next=base64.b64encode(behind).decode(),
                ensured=datasets.is_ensured(question.upload_id),
                complete=DatasetClaims(db).claim_state(question.upload_id) == "complete",
                asked=datasets.is_requested(question.upload_id),
                sealed=SealTable(db).sealed_at(question.upload_id),
            ).model_dump_json(exclude={"items"})
        return WrittenAnswer(Datafiles, f'{{"items":[{",".join(items)}],{around[1:]}')


def _page(found: Iterable[tuple[bytes, str, bool]], most: int) -> tuple[list[str], bytes]:
    """Write known datafiles in JSON, as many as a page holds; return them and the last one's path, b"" if all are."""
    items: list[str] = []
    filled, last = 0, b""
    for path, stored, registered in found:
        if len(items) == most or filled > PAGE_BYTES:
            return items, last
        items.append(f'{{"stored":{stored},"registered":{"true" if registered else "false"}}}')
        filled, last = filled + len(stored), path
    return items, b""


def choose_investigations(
    found: Iterable[CatalogueInvestigation], *, text: str, today: date, most: int
) -> tuple[list[CatalogueInvestigation], int]:
    """Choose which a person is shown: those in which their words stand, today's first, at most so many; count them all.

    Accents and capitals do not matter in the search.
    """
    words = _plain(text).split()
    kept: list[CatalogueInvestigation] = []
    for one in found:
        held = _plain(f"{one.id} {one.name} {one.visit} {one.title} {one.principal_investigator} {one.beamline}")
        if all(word in held for word in words):
            kept.append(one)
    kept.sort(key=lambda one: one.start or date.min, reverse=True)
    kept.sort(
        key=lambda one: (
            not (one.active and one.start and one.start <= today <= (one.end or today)),
            not one.active,
        )
    )
    return kept[:most], len(kept)


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))
