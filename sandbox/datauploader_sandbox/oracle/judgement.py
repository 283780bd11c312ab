"""The comparison itself: pure, so that every kind of damage can be shown to it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, fields, replace

from datauploader_sandbox.oracle.evidence import Content, Datafile, Receipt, Written


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that is known about a run; None means that it was not asked for."""

    ledger: Mapping[bytes, Written]
    stored: Mapping[bytes, Content] | None = None
    catalogue: Sequence[Datafile] | None = None
    receipts: Sequence[Receipt] = ()
    kept: AbstractSet[str] | None = None
    """The digests of what lies on the writer's disk at the end."""
    broken: Sequence[str] = ()
    """What was found of datasets that were complete and did not stay so; see `promises`."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is not as it must be: sentences, by kind. Everything is well when all are empty."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    false_verified: list[str] = field(default_factory=list)
    false_complete: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Say whether nothing is amiss."""
        return not any(self.counts.values())

    @property
    def counts(self) -> dict[str, int]:
        """Count the findings by kind."""
        return {kind.name: len(getattr(self, kind.name)) for kind in fields(self)}


def judge(evidence: Evidence) -> Verdict:
    """Compare what was written with what is stored, catalogued and said."""
    verdict = Verdict()
    ledger = _with_choices_made(evidence)
    if evidence.stored is not None:
        _compare("storage", ledger, evidence.stored, verdict)
    if evidence.catalogue is not None:
        _judge_catalogue(ledger, evidence.catalogue, verdict)
    verdict.false_verified.extend(_false_claims(evidence))
    verdict.false_complete.extend(evidence.broken)
    verdict.lost.extend(_nowhere(evidence))
    return verdict


def _nowhere(evidence: Evidence) -> Iterator[str]:
    """Find files that are called stored, and whose last closed bytes are neither on the storage nor on the disk."""
    if evidence.stored is None or evidence.kept is None:
        return
    somewhere = evidence.kept | {content.sha256 for content in evidence.stored.values()}
    for path in sorted({receipt.path for receipt in evidence.receipts}):
        written = evidence.ledger.get(path)
        if written and written.final and not written.gone and written.final.sha256 not in somewhere:
            yield f"{shown(path)} is called stored, and what was written last exists nowhere"


def _with_choices_made(evidence: Evidence) -> dict[bytes, Written]:
    """Require an optional file everywhere once it is somewhere: stored and not catalogued is half done.

    Of a file that is gone, the state that is required everywhere is the one in which it was caught.
    """
    there = {file.path: file.content for file in evidence.catalogue or ()} | dict(evidence.stored or {})
    return {path: _with_choice_made(file, there.get(path)) for path, file in evidence.ledger.items()}


def _with_choice_made(file: Written, there: Content | None) -> Written:
    if file.gone and there is not None and there.sha256 in file.versions:
        return replace(file, final=there)
    return replace(file, optional=(file.optional or file.gone) and there is None)


def _compare(where: str, ledger: Mapping[bytes, Written], found: Mapping[bytes, Content], verdict: Verdict) -> None:
    for path, written in ledger.items():
        if path not in found:
            if not written.optional:
                verdict.lost.append(f"{where}: {shown(path)} is missing")
        elif found[path] != written.final:
            what = "an older version" if found[path].sha256 in written.versions else "bytes that never existed"
            verdict.wrong.append(f"{where}: {shown(path)} holds {what}")
    verdict.unexpected.extend(f"{where}: nobody wrote {shown(path)}" for path in found.keys() - ledger.keys())


def _judge_catalogue(ledger: Mapping[bytes, Written], catalogue: Sequence[Datafile], verdict: Verdict) -> None:
    names = {spelling: path for path in ledger for spelling in spellings(path)}
    files = [(names.get(file.path, file.path), file) for file in catalogue]
    for path, times in Counter(path for path, _ in files).items():
        if times > 1:
            datasets = sorted({file.dataset for other, file in files if other == path})
            verdict.duplicated.append(f"catalogue: {shown(path)} is there {times} times, in {', '.join(datasets)}")
    _compare("catalogue", ledger, {path: file.content for path, file in files}, verdict)


def _false_claims(evidence: Evidence) -> Iterator[str]:
    """Find files whose last claim differs from the stored bytes, and claims about bytes that never existed."""
    last: dict[bytes, Receipt] = {}
    claims: dict[bytes, set[str]] = defaultdict(set)
    for receipt in evidence.receipts:
        last[receipt.path] = receipt
        if receipt.verified:
            claims[receipt.path].add(receipt.sha256)
    if evidence.stored is not None:
        yield from _contradicted(last.values(), evidence.stored)
    for path, digests in claims.items():
        known = evidence.ledger[path].versions if path in evidence.ledger else set()
        if digests - known:
            yield f"{shown(path)} was called verified in a state that it never had"


def _contradicted(receipts: Iterable[Receipt], stored: Mapping[bytes, Content]) -> Iterator[str]:
    for receipt in receipts:
        if not receipt.verified:
            continue
        if receipt.path not in stored:
            yield f"{shown(receipt.path)} is called verified and is not on the storage"
        elif stored[receipt.path].sha256 != receipt.sha256:
            yield f"{shown(receipt.path)} is called verified, and what is read back differs"


def spellings(path: bytes) -> set[bytes]:
    """List how a catalogue, which holds text only, may spell a path."""
    return {path, *(path.decode("utf-8", errors).encode() for errors in ("replace", "backslashreplace"))}


def shown(path: bytes) -> str:
    """Write a path so that every byte of it can be seen on one line."""
    return ascii(path.decode("utf-8", "surrogateescape"))
