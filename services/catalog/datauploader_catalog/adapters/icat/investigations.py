"""Investigations of ICAT: who belongs to them, when they are, and how one is made."""

from urllib.parse import quote

from pydantic import TypeAdapter

from datauploader.days import today
from datauploader.plugins.catalogue.errors import CatalogueForbids, CatalogueRefused
from datauploader.plugins.catalogue.port import CatalogueInvestigation, NewInvestigation
from datauploader_catalog.adapters.beamtime import reason_closed
from datauploader_catalog.adapters.icat import dates
from datauploader_catalog.adapters.icat.queries import entity, filled, is_id, reference
from datauploader_catalog.adapters.icat.refusals import AlreadyExists, TooMany
from datauploader_catalog.adapters.icat.session import Document, IcatSession
from datauploader_catalog.settings import IcatSettings

PAGE = 100
"""Investigations that are asked for at once; with their people they are several times as many rows."""
_BY_ID = (
    "SELECT i FROM Investigation i WHERE i.id = {id} AND i.facility.name = {facility} "
    "INCLUDE i.investigationUsers.user, i.investigationInstruments.instrument"
)
_BY_NAME = (
    "SELECT i FROM Investigation i WHERE i.name = {name} AND i.visitId = {visit} AND i.facility.name = {facility} "
    "INCLUDE i.investigationUsers.user, i.investigationInstruments.instrument"
)
_OF_USER = (
    "SELECT DISTINCT i FROM Investigation i JOIN i.investigationUsers iu WHERE iu.user.id = {user} "
    "AND i.facility.name = {facility} AND i.id > {last} ORDER BY i.id "
    "INCLUDE i.investigationUsers.user, i.investigationInstruments.instrument LIMIT 0, {page}"
)
_OF_NAME = (
    "SELECT i FROM Investigation i WHERE i.name = {name} AND i.facility.name = {facility} AND i.id > {last} "
    "ORDER BY i.id INCLUDE i.investigationUsers.user, i.investigationInstruments.instrument LIMIT 0, {page}"
)
_INSTRUMENT = "SELECT ins.id FROM Instrument ins WHERE LOWER(ins.name) = {name} AND ins.facility.name = {facility}"
_SCIENTIST = (
    "SELECT s.instrument.id FROM InstrumentScientist s WHERE s.user.id = {user} "
    "AND s.instrument.facility.name = {facility}"
)
_NAMED = {
    "Facility": "SELECT f.id FROM Facility f WHERE f.name = {name}",
    "DatasetType": "SELECT t.id FROM DatasetType t WHERE t.name = {name} AND t.facility.name = {facility}",
    "InvestigationType": "SELECT t.id FROM InvestigationType t WHERE t.name = {name} AND t.facility.name = {facility}",
}
IDS = TypeAdapter(list[int])
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in '/\\%:*?"<>|')


class _User(Document):
    id: int
    name: str
    full_name: str = ""


class _Member(Document):
    role: str
    user: _User


class _Instrument(Document):
    name: str


class _Place(Document):
    instrument: _Instrument


class Investigation(Document):
    """An investigation as ICAT tells it, with its people and instruments."""

    id: int
    name: str
    visit_id: str
    title: str
    summary: str = ""
    start_date: str | None = None
    end_date: str | None = None
    investigation_users: tuple[_Member, ...] = ()
    investigation_instruments: tuple[_Place, ...] = ()

    def has_member(self, person: int | None) -> bool:
        """Tell whether this person belongs to it."""
        return any(member.user.id == person for member in self.investigation_users)


_ROWS = TypeAdapter(list[dict[str, Investigation]])


class IcatInvestigations:
    """Finds and makes investigations of one facility."""

    def __init__(self, settings: IcatSettings, session: IcatSession) -> None:
        self._settings, self._session = settings, session

    def find(self, investigation_id: str) -> Investigation | None:
        """Return an investigation by its id."""
        if not is_id(investigation_id):
            return None
        return self._one(filled(_BY_ID, id=int(investigation_id), facility=self._settings.facility))

    def named(self, name: str, visit: str) -> Investigation | None:
        """Return an investigation by its key."""
        return self._one(filled(_BY_NAME, name=name, visit=visit, facility=self._settings.facility))

    def of_user(self, person: int) -> list[Investigation]:
        """Return all investigations to which this person belongs."""
        return self._paged(_OF_USER, user=person)

    def of_name(self, name: str) -> list[Investigation]:
        """Return all visits of an investigation."""
        return self._paged(_OF_NAME, name=name)

    def create(self, wanted: NewInvestigation, person: int | None) -> Investigation | None:
        """Make an investigation with its first member and its instrument; None where somebody was quicker.

        Raises:
            CatalogueForbids: the person is no scientist of the instrument.
        """
        instrument = self._instrument(wanted.beamline) if wanted.beamline else None
        if person is not None:
            self._require_scientist(person, instrument, wanted)
        zone = self._settings.timezone
        values = {
            "name": wanted.name,
            "visitId": wanted.visit,
            "title": wanted.title,
            "facility": reference(self.facility_id()),
            "type": reference(self._id_of("InvestigationType", self._settings.investigation_type)),
            "startDate": dates.of_day(wanted.start, zone) if wanted.start else None,
            "endDate": dates.of_day(wanted.end, zone) if wanted.end else None,
            "investigationUsers": (
                [] if person is None else [{"role": self._settings.owner_role, "user": reference(person)}]
            ),
            "investigationInstruments": [{"instrument": reference(instrument)}] if instrument else [],
        }
        try:
            made = self._session.write([entity("Investigation", values)])
        except AlreadyExists:
            return None
        return self.find(str(made[0]))

    def dataset_type(self, name: str) -> int:
        """Return the id of a type of datasets."""
        return self._id_of("DatasetType", self._settings.dataset_types.get(name, name))

    def facility_id(self) -> int:
        """Return the id of the facility."""
        return self._id_of("Facility", self._settings.facility)

    def describe(self, one: Investigation) -> CatalogueInvestigation:
        """Put an investigation into the words of the port."""
        zone = self._settings.timezone
        leaders = (m.user for m in one.investigation_users if m.role in self._settings.leader_roles)
        leader = next((user.full_name or user.name for user in leaders), "")
        end = dates.read_day(one.end_date, zone)
        reason = reason_closed(end, self._settings.closed_after_days, today(zone))
        beamline = min((place.instrument.name for place in one.investigation_instruments), default="")
        return CatalogueInvestigation(
            str(one.id), one.name, one.visit_id, one.title, self._directory(one, beamline), not reason,
            reason, beamline, dates.read_day(one.start_date, zone), end, leader, one.summary,
        )  # fmt: skip

    def _directory(self, one: Investigation, beamline: str) -> str:
        """Fill the pattern; what stands in a name never leads out of its folder."""
        start = dates.read_day(one.start_date, self._settings.timezone)
        parts = {
            "id": str(one.id),
            "name": one.name,
            "visit": one.visit_id,
            "beamline": beamline,
            "year": str(start.year) if start else "",
        }
        return self._settings.base_dir.format_map({key: _folder(text) for key, text in parts.items()})

    def _paged(self, query: str, **values: str | int) -> list[Investigation]:
        found: list[Investigation] = []
        page = PAGE
        while True:
            last = found[-1].id if found else 0
            asked = filled(query, facility=self._settings.facility, last=last, page=page, **values)
            try:
                rows = [one for row in self._session.search(asked, _ROWS) for one in row.values()]
            except TooMany:
                if page == 1:
                    raise
                page //= 2
                continue
            found += rows
            if len(rows) < page:
                return found

    def _one(self, query: str) -> Investigation | None:
        found = self._session.search(query, _ROWS)
        return next((one for row in found for one in row.values()), None)

    def _instrument(self, beamline: str) -> int:
        query = filled(_INSTRUMENT, name=beamline.lower(), facility=self._settings.facility)
        found = self._session.search(query, IDS)
        if not found:
            raise CatalogueRefused(f"ICAT has no instrument {beamline!r}; choose one that it has.")
        return found[0]

    def _id_of(self, kind: str, name: str) -> int:
        """Return the id of a row by its name.

        Raises:
            CatalogueRefused: there is none.
        """
        query = filled(_NAMED[kind], name=name, facility=self._settings.facility)
        found = self._session.search(query, IDS)
        if not found:
            raise CatalogueRefused(
                f"ICAT has no {kind} {name!r} that this service may see. Ask its operators to make it, or correct the "
                "settings under [catalog.icat]."
            )
        return found[0]

    def _require_scientist(self, person: int, instrument: int | None, wanted: NewInvestigation) -> None:
        found = self._session.search(filled(_SCIENTIST, user=person, facility=self._settings.facility), IDS)
        if not found or (instrument and instrument not in found):
            words = f"User {wanted.owner} is no scientist of {wanted.beamline or 'any instrument'}."
            raise CatalogueForbids(f"Only those who run the instrument make investigations: {words}", words=words)


def _folder(text: str) -> str:
    """Write a name as the name of one folder; signs that mean something in paths come with percent signs."""
    name = quote(text, safe=_PLAIN)
    return name.replace(".", "%2E") if name in {".", ".."} else name
