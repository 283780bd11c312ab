"""Who and what the double knows when it is new: the people and experiments of VUO's double, in SciCat's form."""

from dataclasses import dataclass, field
from typing import Any

from datauploader_sandbox.vuo.seed import Person, Proposal
from datauploader_sandbox.vuo.seed import default_seed as people_and_proposals

SERVICE, PASSWORD = "datauploader", "sandbox-only-scicat-password"
"""The functional account of the catalog service."""
INSTRUMENTS = {"XRD1": "instrument-xrd1", "SAXS": "instrument-saxs"}
"""Their ids by name."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the double; people's `token` never ends, as one that an operator has made."""

    id: str
    username: str
    email: str
    name: str
    groups: tuple[str, ...]
    password: str
    token: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    """What the identity provider said at the last sign-in."""


@dataclass(frozen=True, slots=True)
class ScicatSeed:
    """All of it together."""

    accounts: tuple[Account, ...]
    proposals: tuple[dict[str, Any], ...]


def default_seed(base_dir: str = "/facility/store") -> ScicatSeed:
    """Return VUO's people and proposals, an account for the service and one with fewer rights."""
    seed = people_and_proposals(base_dir)
    accounts = [
        Account("9001", SERVICE, f"{SERVICE}@facility.eu", "DataUploader", ("admin",), PASSWORD),
        Account("9002", "ingestor", "ingestor@facility.eu", "Ingestor", ("ingestor",), PASSWORD),
    ]
    accounts += [_account(person, seed.proposals) for person in seed.people]
    return ScicatSeed(tuple(accounts), tuple(_proposal(proposal) for proposal in seed.proposals))


def _account(person: Person, proposals: tuple[Proposal, ...]) -> Account:
    groups = [f"p{one.id}" for one in proposals if person.id in one.members] + (["staff"] if person.staff else [])
    claims = {"uidNumber": person.uid, "gidNumber": person.gid}
    email = f"{person.account}@facility.eu"
    return Account(person.id, person.account, email, person.name, tuple(groups), person.session, person.session, claims)


def _proposal(one: Proposal) -> dict[str, Any]:
    first, _, last = one.principal_investigator.partition(" ")
    return {
        "proposalId": one.id, "title": one.title, "email": "proposer@facility.eu", "pi_email": "pi@facility.eu",
        "pi_firstname": first, "pi_lastname": last, "abstract": one.description, "ownerGroup": f"p{one.id}",
        "accessGroups": [], "startTime": f"{one.start}T00:00:00.000Z", "endTime": f"{one.end}T00:00:00.000Z",
        "instrumentIds": [INSTRUMENTS[one.beamline]],
    }  # fmt: skip
