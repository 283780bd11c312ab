"""Who and what the double knows when it is new: the invented people and experiments of the sandbox, in ICAT's words."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from datauploader_sandbox.icat.store import ALL, Rules, Store
from datauploader_sandbox.vuo.seed import Person, Proposal
from datauploader_sandbox.vuo.seed import default_seed as people_and_proposals

FACILITY, PLUGIN, PEOPLE = "SANDBOX", "simple", "db"


@dataclass(frozen=True, slots=True)
class Account:
    """A user who signs in with a password."""

    name: str
    password: str
    rules: dict[str, str]

    @property
    def user(self) -> str:
        """The name that ICAT knows it by."""
        return f"{PLUGIN}/{self.name}"


_WRITES = (
    "Investigation", "InvestigationUser", "InvestigationInstrument", "Dataset", "Datafile", "ParameterType",
    "DatasetParameter", "DatafileParameter",
)  # fmt: skip
SERVICE = Account("datauploader", "sandbox-only-icat-password", {ALL: "R"} | dict.fromkeys(_WRITES, "CRUD"))
"""What the catalog service signs in as."""
ROOT = Account("root", "sandbox-only-icat-root", {ALL: "CRUD"})


@dataclass(frozen=True, slots=True)
class Seed:
    """All of it together."""

    people: tuple[Person, ...]
    proposals: tuple[Proposal, ...]
    accounts: tuple[Account, ...] = (SERVICE, ROOT)

    @property
    def passwords(self) -> dict[str, str]:
        """Passwords by user; those of people are their sessions."""
        accounts = {account.user: account.password for account in self.accounts}
        return accounts | {f"{PEOPLE}/{person.account}": person.session for person in self.people}

    @property
    def sessions(self) -> dict[str, str]:
        """Users by the sessions that never end."""
        return {person.session: f"{PEOPLE}/{person.account}" for person in self.people}

    def sow(self) -> Store:
        """Return a new store with what the double knows."""
        store = Store(Rules({account.user: account.rules for account in self.accounts}))
        store.add("Facility", 1, name=FACILITY)
        store.add("InvestigationType", 21, name="experiment", facility=1)
        for number, kind in enumerate(("raw", "processed")):
            store.add("DatasetType", 31 + number, name=kind, facility=1)
        beamlines = sorted({one.beamline for one in self.proposals})
        for number, name in enumerate(beamlines, 11):
            store.add("Instrument", number, name=name, fullName=f"Beamline {name}", facility=1)
        for person in self.people:
            names = {"name": f"{PEOPLE}/{person.account}", "fullName": person.name}
            store.add("User", int(person.id), **names)
            for number in range(11, 11 + len(beamlines)) if person.staff else ():
                store.add("InstrumentScientist", 10 * int(person.id) + number, user=int(person.id), instrument=number)
        for one in self.proposals:
            self._sow_proposal(store, one, 11 + beamlines.index(one.beamline))
        return store

    def _sow_proposal(self, store: Store, one: Proposal, instrument: int) -> None:
        number = int(one.id)
        told: dict[str, Any] = {"name": one.name, "visitId": one.visit, "title": one.title}
        told |= {"summary": one.description or None, "startDate": _midnight(one.start), "endDate": _midnight(one.end)}
        store.add("Investigation", number, facility=1, type=21, **told)
        store.add("InvestigationInstrument", number, investigation=number, instrument=instrument)
        names = {person.id: person.name for person in self.people}
        for place, member in enumerate(one.members):
            role = "PI" if names[member] == one.principal_investigator else "Investigator"
            store.add("InvestigationUser", 10 * number + place, investigation=number, user=int(member), role=role)


def default_seed() -> Seed:
    """Return the sandbox's people and proposals, and two accounts: the service's and root's."""
    seed = people_and_proposals()
    return Seed(seed.people, seed.proposals)


def _midnight(day: str) -> str:
    return f"{datetime.fromisoformat(day).replace(tzinfo=UTC):%Y-%m-%dT%H:%M:%S}.000Z"
