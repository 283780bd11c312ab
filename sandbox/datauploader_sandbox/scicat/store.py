"""What the double remembers, for as long as it runs; everything happens in one thread."""

import time
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import uuid4

from datauploader_sandbox.scicat.mongo import Record, decoded
from datauploader_sandbox.scicat.refusals import Refusal
from datauploader_sandbox.scicat.seed import INSTRUMENTS, Account, ScicatSeed

ADMINS, DELETERS, PRIVILEGED, PROPOSERS = "admin", "archivemanager", "ingestor", "proposalingestor"
"""The groups of ADMIN_GROUPS, DELETE_GROUPS, CREATE_DATASET_PRIVILEGED_GROUPS and PROPOSAL_GROUPS; those of
CREATE_DATASET_WITH_PID_GROUPS are nobody's, and CREATE_DATASET_GROUPS are all, as by default."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, read."""

    method: str
    version: str
    parts: list[str]
    """The address behind the version, decoded piece by piece."""
    query: dict[str, str]
    body: Record
    user: Account | None
    unmodified_since: str = ""
    merges: bool = False
    """Whether the body came as application/merge-patch+json."""


class Store:
    """The double's records, and who is signed in."""

    def __init__(self, seed: ScicatSeed) -> None:
        self._seed = seed
        self.forget()

    def forget(self) -> None:
        """Be as new: only the seed stays."""
        self.accounts = {one.id: one for one in self._seed.accounts}
        self.tokens: dict[str, tuple[str, float]] = {
            one.token: (one.id, 0.0) for one in self._seed.accounts if one.token
        }
        self.ttl = 3600.0
        self.proposals: dict[str, Record] = {}
        self.datasets: dict[str, Record] = {}
        self.blocks: dict[str, Record] = {}
        self.counts: Counter[str] = Counter()
        """Requests by call, and their bytes."""
        self.instruments = [
            {"_id": pid, "pid": pid, "uniqueName": name, "name": name, "customMetadata": {}}
            for name, pid in INSTRUMENTS.items()
        ]
        for proposal in self._seed.proposals:
            self.proposals[proposal["proposalId"]] = self.stamped(
                {"isPublished": False, **deepcopy(proposal)}, self.accounts["9001"]
            )

    def sign_in(self, username: str, password: str) -> tuple[Account, str]:
        """Return who this is, with a new token."""
        for account in self.accounts.values():
            if account.username == username and account.password == password:
                token = f"jwt.{uuid4()}.double"
                self.tokens[token] = (account.id, time.monotonic() + self.ttl)
                return account, token
        raise Refusal(401, "Unauthorized", {"message": "Unauthorized", "statusCode": 401})

    def user_of(self, token: str) -> Account | None:
        """Return who is signed in; with a token that is unknown or over, that is nobody."""
        account_id, end = self.tokens.get(token, ("", 0.0))
        return None if end and end < time.monotonic() else self.accounts.get(account_id)

    @staticmethod
    def stamped(record: Record, user: Account, *, new: bool = True) -> Record:
        """Write down by whom and when a record was made or changed."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        made = {"createdBy": user.username, "createdAt": now} if new else {}
        record.update(made, updatedBy=user.username, updatedAt=now)
        return record

    def blocks_of(self, pid: str) -> list[Record]:
        """Return the origdatablocks of a dataset in the order of their making."""
        return [block for block in self.blocks.values() if block["datasetId"] == pid]

    def state(self) -> dict[str, Any]:
        """Return everything that an oracle compares."""
        return {
            "proposals": list(self.proposals.values()),
            "datasets": [
                {**one, "scientificMetadata": decoded(one["scientificMetadata"]), "blocks": self.blocks_of(one["pid"])}
                for one in self.datasets.values()
            ],
            "counts": dict(self.counts),
        }


def may_read(user: Account | None, record: Record) -> bool:
    """Tell who sees what is not published: its owners, those with access, and administrators."""
    if record.get("isPublished"):
        return True
    groups = set(user.groups) if user else set()
    return ADMINS in groups or record["ownerGroup"] in groups or bool(groups & set(record.get("accessGroups") or ()))


def may_change(user: Account | None, record: Record) -> bool:
    """Tell who changes datasets and blocks: members of the group that owns them, and administrators."""
    return user is not None and (ADMINS in user.groups or record["ownerGroup"] in user.groups)


def is_in(user: Account | None, *groups: str) -> bool:
    """Tell whether a user has one of these roles."""
    return user is not None and any(group in user.groups for group in groups)


def check_unmodified(record: Record, since: str) -> None:
    """Refuse where the record is as old as the header's time or younger; a header that is no time is ignored."""
    try:
        limit = parsedate_to_datetime(since) if since.endswith("GMT") else datetime.fromisoformat(since)
    except ValueError:
        return
    if limit <= datetime.fromisoformat(record["updatedAt"]):
        raise Refusal(412, "Resource has been modified on server")
