"""The people and proposals of SciCat: who somebody is, which proposals are theirs, and what is written of proposals."""

import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from datauploader.plugins.catalogue.errors import CatalogueForbids, CatalogueRefused, NoSuchInvestigation
from datauploader.plugins.catalogue.port import CatalogueInvestigation, NewInvestigation
from datauploader_catalog.adapters.scicat import records
from datauploader_catalog.adapters.scicat.session import ScicatSession, address
from datauploader_catalog.settings import ScicatSettings

_USER = re.compile(r"[0-9A-Za-z_-]{4,64}")
"""What can be a user's id (of MongoDB, 24 digits): SciCat fails with HTTP 500 for what cannot be one."""
_MOST_GROUPS = 100
"""Groups that are named in one address, which has a limit of 16 kB; staff may be in very many."""
_FRESH_S = 600.0
"""How long it is believed what instruments are called."""

Record = dict[str, Any]


class Proposals:
    """Reads people and proposals as the service's account, and writes what it may of them."""

    def __init__(self, settings: ScicatSettings, session: ScicatSession) -> None:
        """Ask in this session."""
        self._settings, self._session = settings, session
        self._instruments: tuple[float, dict[str, str]] = (0.0, {})

    @property
    def may_create(self) -> bool:
        """Tell whether the settings say for whom proposals are made, and whose they are then."""
        return bool(self._settings.creators and self._settings.create_group)

    def of_user(self, user_id: str) -> tuple[CatalogueInvestigation, ...]:
        """List the proposals that one of the user's groups owns or has access to."""
        groups = sorted(records.groups_of(self.identity(user_id)))
        found: dict[str, Record] = {}
        for start in range(0, len(groups), _MOST_GROUPS):
            some = groups[start : start + _MOST_GROUPS]
            where = {"$or": [{name: {"$in": some}} for name in ("ownerGroup", "accessGroups")]}
            wanted = {"where": where, "limits": {"order": "proposalId:asc"}}
            for one in self._session.all("v3/proposals", "filters", wanted, "proposalId"):
                found[records.text(one, "proposalId")] = one
        return tuple(self.read(one) for one in found.values())

    def identity(self, user_id: str) -> Record:
        """Return what SciCat knows of a user, {} where it does not know them, or nobody is named."""
        if not user_id:
            return {}
        if self._settings.people_by == "username":
            asked = {"filter": {"where": {"profile.username": user_id}}}
            answer = self._session.find("v3/useridentities/findOne", asked)
        elif _USER.fullmatch(user_id):
            answer = self._session.find(f"v3/{address('users', user_id)}/userIdentity")
        else:
            return {}
        if answer is None or (answer.status == HTTPStatus.OK and answer.body is None):
            return {}
        if answer.status != HTTPStatus.OK:
            raise answer.refusal(f"a look at user {user_id}, for which its account must be in ADMIN_GROUPS")
        identity = answer.record()
        found = records.read_user(identity, self._settings).id
        if found != user_id:
            raise CatalogueRefused(f"SciCat answered with user {found!r} when it was asked for {user_id!r}.")
        return identity

    def find(self, investigation_id: str) -> Record | None:
        """Look a proposal up."""
        if investigation_id in {"", ".", ".."}:
            return None
        answer = self._session.find(f"v3/{address('proposals', investigation_id)}")
        if answer is None:
            return None
        if answer.status != HTTPStatus.OK:
            raise answer.refusal(f"a look at proposal {investigation_id}")
        return answer.record()

    def read(self, proposal: Mapping[str, Any]) -> CatalogueInvestigation:
        """Translate a proposal."""
        return records.read_investigation(proposal, self._instrument_names(), self._settings)

    def read_active(self, proposal: Mapping[str, Any]) -> CatalogueInvestigation:
        """Translate a proposal that takes uploads.

        Raises:
            CatalogueForbids: it takes none any more.
        """
        one = self.read(proposal)
        if not one.active:
            raise CatalogueForbids(
                f"Proposal {one.id} takes no more uploads: {one.reason} Ask the user office.", words=one.reason
            )
        return one

    def require_member(self, identity: Record, user_id: str, investigation_id: str) -> Record:
        """Return a proposal to which this person belongs.

        Raises:
            CatalogueForbids: they do not, or there is none.
        """
        proposal = self.find(investigation_id)
        if proposal is None or not records.belongs(records.groups_of(identity), proposal):
            words = f"User {user_id} belongs to none of the groups of proposal {investigation_id}."
            raise CatalogueForbids(
                f"SciCat does not let this user upload: {words} Ask the principal investigator or the user office, "
                "then sign in to SciCat again.",
                words=words,
            )
        return proposal

    def require_allowed(self, identity: Record, user_id: str, investigation_id: str) -> Record:
        """Return a proposal to which this person belongs; "" is the service itself."""
        if user_id:
            return self.require_member(identity, user_id, investigation_id)
        proposal = self.find(investigation_id)
        if proposal is None:
            raise NoSuchInvestigation(f"SciCat has no proposal {investigation_id!r}.")
        return proposal

    def describe(self, investigation_id: str, description: str, by: str) -> None:
        """Set a proposal's abstract, if one of the person's groups is the proposal's."""
        self._session.change(
            f"v3/{address('proposals', investigation_id)}",
            lambda: self.require_allowed(self.identity(by), by, investigation_id),
            lambda proposal: records.if_other(proposal, abstract=description),
            f"proposal {investigation_id}", "a description of",
        )  # fmt: skip

    def create(self, wanted: NewInvestigation) -> Record | None:
        """Make a proposal; None where somebody else was quicker."""
        identity = self.identity(wanted.owner)
        if wanted.owner and not records.groups_of(identity) & set(self._settings.creators):
            raise CatalogueForbids(
                f"User {wanted.owner} is in none of the groups for which proposals are made in SciCat."
            )
        if not self.may_create:
            raise CatalogueForbids("No proposals are made in SciCat from here; ask the user office.")
        profile = records.profile_of(identity)
        body = records.new_proposal(wanted, profile, self._instrument_names(), self._settings)
        answer = self._session.tell("POST", "v3/proposals", body)
        if answer.status == HTTPStatus.CONFLICT:
            return None
        if answer.status != HTTPStatus.CREATED:
            raise answer.refusal(f"proposal {body['proposalId']!r}")
        return answer.record()

    def _instrument_names(self) -> dict[str, str]:
        read_at, names = self._instruments
        if not read_at or time.monotonic() - read_at > _FRESH_S:
            found = self._session.all("v3/instruments", "filter", {"limits": {"order": "uniqueName:asc"}}, "pid")
            names = {records.text(one, "pid"): records.text(one, "name") for one in found}
            self._instruments = time.monotonic(), names
        return names
