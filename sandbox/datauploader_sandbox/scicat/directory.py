"""Proposals, instruments and people: all of these exist in /api/v3 alone."""

from datetime import UTC, datetime
from typing import Any

from datauploader_sandbox.scicat import dtos
from datauploader_sandbox.scicat.mongo import Record, parse, select
from datauploader_sandbox.scicat.refusals import Refusal, forbidden
from datauploader_sandbox.scicat.seed import Account
from datauploader_sandbox.scicat.store import ADMINS, PROPOSERS, Call, Store, check_unmodified, is_in, may_read


class Directory:
    """Answers about who is who, and who works on what."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def sign_in(self, call: Call) -> tuple[int, Any]:
        """POST /auth/login, which creates a token and says so."""
        account, token = self._store.sign_in(str(call.body.get("username")), str(call.body.get("password")))
        user = {"_id": account.id, "id": account.id, "username": account.username, "email": account.email}
        ttl = int(self._store.ttl)
        created = datetime.now(UTC).isoformat()
        return 201, {
            "access_token": token, "id": token, "expires_in": ttl, "ttl": ttl, "created": created,
            "userId": account.id, "user": {**user, "authStrategy": "local"},
        }  # fmt: skip

    def own_identity(self, call: Call) -> tuple[int, Any]:
        """GET /users/my/identity."""
        if call.user is None:
            raise Refusal(401, "Unauthenticated")
        return 200, _identity(call.user)

    def identity(self, call: Call) -> tuple[int, Any]:
        """GET /users/:id/userIdentity, which only administrators may ask of others."""
        if call.user is None:
            raise Refusal(401, "Unauthenticated")
        if not is_in(call.user, ADMINS) and call.user.id != call.parts[1]:
            raise forbidden("Access Forbidden or Unauthorized")
        account = self._store.accounts.get(call.parts[1])
        return 200, _identity(account) if account else None

    def find_identity(self, call: Call) -> tuple[int, Any]:
        """GET /useridentities/findOne; others than administrators find themselves alone."""
        if call.user is None:
            raise Refusal(401, "Unauthenticated")
        name = (parse(call.query.get("filter")).get("where") or {}).get("profile.username")
        seen = self._store.accounts.values() if is_in(call.user, ADMINS) else (call.user,)
        found = next((one for one in seen if one.username == name), None)
        if found is None:
            raise Refusal(404, "Not Found", {"message": "Not Found", "statusCode": 404})
        return 200, _identity(found)

    def instruments(self, call: Call) -> tuple[int, Any]:
        """GET /instruments."""
        return 200, select(self._store.instruments, parse(call.query.get("filter")), limit=100)

    def proposals(self, call: Call) -> tuple[int, Any]:
        """GET /proposals; a stranger is answered with what is public."""
        seen = [one for one in self._store.proposals.values() if self._sees(call.user, one)]
        return 200, select(seen, parse(call.query.get("filters"), "filters"), limit=100)

    def proposal(self, call: Call) -> tuple[int, Any]:
        """GET /proposals/:id."""
        return 200, self._of(call)

    def create_proposal(self, call: Call) -> tuple[int, Any]:
        """POST /proposals."""
        if call.user is None or not is_in(call.user, ADMINS, PROPOSERS):
            raise forbidden()
        if found := dtos.problems(call.body, {**dtos.PROPOSAL, "proposalId": "text!"}):
            raise Refusal(400, found)
        name = call.body["proposalId"]
        if name in self._store.proposals:
            raise Refusal(409, f"Proposal with {name} already exists")
        made = {"accessGroups": [], "instrumentIds": [], "isPublished": False, "type": "Default Proposal", **call.body}
        made |= {field: dtos.instant(made[field]) for field in ("startTime", "endTime") if made.get(field)}
        self._store.proposals[name] = self._store.stamped(made, call.user)
        return 201, made

    def change_proposal(self, call: Call) -> tuple[int, Any]:
        """PATCH /proposals/:id."""
        if call.user is None or not is_in(call.user, ADMINS, PROPOSERS):
            raise forbidden()
        if found := dtos.problems(call.body, dtos.PROPOSAL, partial=True):
            raise Refusal(400, found)
        record = self._of(call)
        check_unmodified(record, call.unmodified_since)
        record.update(call.body)
        return 200, self._store.stamped(record, call.user, new=False)

    def _of(self, call: Call) -> Record:
        record = self._store.proposals.get(call.parts[1])
        if record is None:
            raise Refusal(404, f"Proposal: {call.parts[1]} not found")
        if not self._sees(call.user, record):
            raise forbidden("Unauthorized to this proposal")
        return record

    @staticmethod
    def _sees(user: Account | None, record: Record) -> bool:
        return may_read(user, record) or is_in(user, PROPOSERS)


def _identity(account: Account) -> Record:
    return {
        "_id": f"identity-{account.id}", "authStrategy": "oidc" if account.claims else "local", "credentials": {},
        "externalId": account.username, "provider": "double", "userId": account.id,
        "profile": {
            "displayName": account.name, "email": account.email, "username": account.username,
            "accessGroups": list(account.groups), "id": account.id, "oidcClaims": account.claims,
        },
    }  # fmt: skip
