"""Asks the catalogue and the stations over the broker, without ever blocking the event loop."""

import asyncio
import time

from datauploader.contracts import Station, UploadRequested
from datauploader.contracts.model import Question
from datauploader.contracts.previews import DestinationContent, FoundValues, HeldObject, Preview
from datauploader.contracts.questions import (
    CatalogCondition,
    CatalogueAbout,
    CreateInvestigation,
    DatasetState,
    Folder,
    HowIsTheCatalog,
    Identity,
    Investigations,
    InvestigationSummary,
    ListFolder,
    ListInvestigations,
    LookAtDataset,
    LookAtDestination,
    MayUpload,
    PreviewUpload,
    ReadValues,
    SignInAtCatalogue,
    UploadRight,
    WhoIs,
)
from datauploader.errors import MessagingError, NoAnswer, QuestionRefused, Unroutable
from datauploader.messaging.port import A, Bus
from datauploader_gateway.errors import (
    CatalogueAway,
    InvestigationExists,
    NotAllowed,
    NotFound,
    Problem,
    StationBusy,
    StationRefuses,
    StationSilent,
    UnknownInvestigation,
    WrongCredentials,
)

_REMEMBERED_S = 5.0
"""How long the answer to whether the catalogue answers is believed."""
_PATIENCE_S = 1.0
"""How long a page waits for the words that a catalogue is known by."""
_SHARE = 0.6
"""Part of the time for an answer that the station may take for its work."""
_LONGEST_S = 20.0
"""More than that no question may ask for."""
_FORBIDDEN = frozenset(("outside-roots", "no-roots", "source-outside", "delete-not-allowed"))
"""Reasons of a station that are about what may be done, not about what can be done."""


_UNKNOWN = CatalogueAbout(
    system="the catalogue", session="session of the catalogue",
    session_help="The catalogue has not answered yet; when it does, this says where you find it."
)  # fmt: skip


class QueryClient:
    """A client for queries (request-reply) to the other services."""

    def __init__(self, bus: Bus, timeout_s: float) -> None:
        """Ask over this bus; give up after `timeout_s`."""
        self._bus = bus
        self._timeout_s = timeout_s
        self._work_s = min(timeout_s * _SHARE, _LONGEST_S)
        self._catalogue: tuple[float, str] = (float("-inf"), "")
        self.catalog_answers = True
        """Whether the catalog service answered when it was last asked how the catalogue is."""
        self._status: tuple[float, CatalogCondition] = (float("-inf"), CatalogCondition(about=_UNKNOWN))

    async def who_is(self, vuo_session: str) -> Identity:
        """Ask whose VUO session this is.

        Raises:
            WrongCredentials: nobody's.
            CatalogueAway: there was no answer.
        """
        return await self._catalog(WhoIs(session=vuo_session), Identity)

    async def sign_in(self, username: str, password: str) -> Identity:
        """Ask who signs in at the catalogue with this name and password.

        Raises:
            WrongCredentials: nobody.
            CatalogueAway: there was no answer.
        """
        return await self._catalog(SignInAtCatalogue(username=username, password=password), Identity)

    async def may_upload(self, user_id: str, investigation: str) -> UploadRight:
        """Ask whether somebody may upload to an investigation, and where its data belong.

        Raises:
            NotAllowed: they may not, in the catalogue's words.
            UnknownInvestigation: there is none.
            CatalogueAway: there was no answer.
        """
        right = await self._catalog(MayUpload(user_id=user_id, investigation=investigation), UploadRight)
        if not right.allowed:
            detail = right.detail or f"you may not upload to investigation {investigation}"
            raise NotAllowed(detail, hint="GET /api/v1/investigations lists the ones that you may upload to.")
        return right

    async def dataset(self, user_id: str, investigation: str, name: str) -> DatasetState:
        """Ask whether a new upload of somebody can become this dataset, and what stands in its way.

        Raises:
            CatalogueAway: there was no answer.
        """
        question = LookAtDataset(investigation=investigation, dataset=name, user_id=user_id)
        return await self._catalog(question, DatasetState)

    async def investigations(self, user_id: str, text: str = "") -> Investigations:
        """Ask which investigations are somebody's; with a text, those in which all of its words stand.

        Raises:
            CatalogueAway: there was no answer.
        """
        return await self._catalog(ListInvestigations(user_id=user_id, text=text), Investigations)

    async def create_investigation(self, wish: CreateInvestigation) -> InvestigationSummary:
        """Have an investigation made.

        Raises:
            NotAllowed: none can be made here, or not by this person.
            InvestigationExists: the name and visit are another one's.
            CatalogueAway: there was no answer, so nobody knows whether it was made.
        """
        try:
            return await self._catalog(wish, InvestigationSummary)
        except CatalogueAway as away:
            hint = "Send the same request again in a moment; it will not create a second investigation."
            raise CatalogueAway(away.detail, hint=hint) from away

    async def folder(
        self,
        station: Station,
        path: str,
        offset: int = 0,
        limit: int = 1000,
        *,
        contains: str = "",
        counts: bool = False,
    ) -> Folder:
        """Ask a station what lies in a folder.

        Raises:
            StationSilent: there was no answer.
            NotAllowed: the folder is not for uploads.
        """
        question = ListFolder(path=path, offset=offset, limit=limit, contains=contains, counts=counts)
        try:
            return await self._ask(question, Folder, station)
        except QuestionRefused as refused:
            if refused.code == "not-found":
                raise NotFound(str(refused)) from refused
            raise NotAllowed(
                str(refused), hint="An empty path lists the folders that may be uploaded from."
            ) from refused
        except MessagingError as error:
            raise StationSilent(f"{station}: {error}") from error

    async def preview(self, station: Station, request: UploadRequested, held: tuple[HeldObject, ...] = ()) -> Preview:
        """Ask a station what an upload would find, and which of it meets what the storage holds.

        Raises:
            NotAllowed: the folder is not for uploads, or what is asked for is not allowed there.
            StationRefuses: the station would reject it for another reason.
            StationBusy: it counts for others.
            StationSilent: there was no answer.
        """
        question = PreviewUpload(request=request, within_s=self._work_s, held=held)
        found = await self._station(question, Preview, station)
        if (refused := found.refused) is not None:
            kind = NotAllowed if refused.reason in _FORBIDDEN else StationRefuses
            raise kind(refused.detail, hint=refused.hint)
        return found

    async def values(self, station: Station, request: UploadRequested) -> FoundValues:
        """Ask a station what the files of an upload say about themselves.

        Raises:
            NotAllowed: the folder is not for uploads.
            StationBusy: it reads for others.
            StationSilent: there was no answer.
        """
        question = ReadValues(request=request, within_s=self._work_s)
        return await self._station(question, FoundValues, station)

    async def destination(self, station: Station, request: UploadRequested) -> DestinationContent:
        """Ask the transfer of a station what the storage holds already where an upload would go.

        Raises:
            StationSilent: there was no answer, or the storage gave none.
        """
        there = request.destination
        question = LookAtDestination(
            remote=there.remote, location=there.location, continues=request.continues, within_s=self._work_s
        )  # fmt: skip
        return await self._station(question, DestinationContent, station)

    async def _station(self, question: Question, answer: type[A], station: Station) -> A:
        try:
            return await self._ask(question, answer, station)
        except QuestionRefused as refused:
            if refused.code == "busy":
                raise StationBusy(f"{station}: {refused}", retry_after_s=3) from refused
            if refused.code in _FORBIDDEN:
                raise NotAllowed(str(refused)) from refused
            raise StationSilent(str(refused), hint="") from refused
        except MessagingError as error:
            raise StationSilent(f"{station}: {error}") from error

    async def catalogue_trouble(self) -> str:
        """Say what is wrong with the catalogue, "" when it answers; asks at most every ten seconds."""
        asked, trouble = self._catalogue
        if time.monotonic() - asked > _REMEMBERED_S:
            self.catalog_answers = True
            try:
                await self._ask(WhoIs(session="-"), Identity, None)
            except QuestionRefused as refused:
                trouble = str(refused) if refused.code in ("unavailable", "internal") else ""
            except MessagingError as error:
                trouble, self.catalog_answers = str(error), not isinstance(error, NoAnswer | Unroutable)
            else:
                trouble = ""
            self._catalogue = (time.monotonic(), trouble)
        return trouble

    async def catalog_condition(self) -> CatalogCondition:
        """Say what keeps the catalog service from its work; nothing where it is silent, which is told otherwise."""
        asked, found = self._status
        if time.monotonic() - asked > _REMEMBERED_S:
            try:
                found = await self._ask(HowIsTheCatalog(), CatalogCondition, None)
            except (QuestionRefused, MessagingError):  # an older release, or `catalogue_trouble` says it
                found = CatalogCondition(about=self.about)
            self._status = (time.monotonic(), found)
        return found

    @property
    def about(self) -> CatalogueAbout:
        """What is known by now of how people call the catalogue."""
        return self._status[1].about

    async def learn_about(self) -> CatalogueAbout:
        """Ask how people call the catalogue; after a second, what is known by now must do."""
        asking = asyncio.create_task(self.catalog_condition())
        await asyncio.wait((asking,), timeout=_PATIENCE_S)
        return self.about

    async def _catalog(self, question: Question, answer: type[A]) -> A:
        try:
            return await self._ask(question, answer, None)
        except QuestionRefused as refused:
            raise _refusal(refused) from refused
        except MessagingError as error:
            raise CatalogueAway(str(error)) from error

    async def _ask(self, question: Question, answer: type[A], station: Station | None) -> A:
        future = self._bus.ask(question, answer, station=station, timeout_s=self._timeout_s)
        return await asyncio.wrap_future(future)


def _refusal(refused: QuestionRefused) -> Problem:
    if refused.code == "not-signed-in":
        return WrongCredentials(str(refused), hint="With a session: sign in there again and use the new one.")
    if refused.code in ("unknown-investigation", "no-such-investigation"):
        return UnknownInvestigation(str(refused))
    if refused.code == "taken":
        return InvestigationExists(str(refused))
    if refused.code in ("unavailable", "internal"):
        return CatalogueAway(str(refused))
    return NotAllowed(str(refused))
