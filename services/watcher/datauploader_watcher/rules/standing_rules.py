"""Standing rules at work: folders that fit become uploads, once; closed ones that change become new ones."""

import os
import stat
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import structlog

from datauploader.contracts.datasets import DatasetSpec
from datauploader.contracts.envelope import Event, natural_id
from datauploader.contracts.uploads import Destination, Person, UploadRequested
from datauploader.errors import ConfigurationError
from datauploader.files.leftovers import leftover
from datauploader.reliability import Outbox
from datauploader.reliability.hang_guard import DriveTimeout, HangGuard, in_a_thread
from datauploader.runtime.crash_points import crash_point
from datauploader_watcher.adapters.disk import LocalDisk
from datauploader_watcher.context import WatcherContext
from datauploader_watcher.discovery.late_changes import changed_since
from datauploader_watcher.domain.rules import Rule, Target, upload_id
from datauploader_watcher.domain.selection import Selection
from datauploader_watcher.domain.versions import join
from datauploader_watcher.errors import BadPattern
from datauploader_watcher.ledger.uploads import RuleFolder, RuleFolders
from datauploader_watcher.outgoing.publishing import SERVICE
from datauploader_watcher.settings import RuleSettings

log = structlog.get_logger()

MOST_EARLIER = 50
"""Earlier uploads that one request can name."""
MOST_LOOKED_AT = 10_000
"""Entries of a new folder among which a file is looked for; one with more becomes an upload in any case."""
LONGEST_WAIT_S = 30.0
"""A folder that has had its name for so long is asked for, however long its files must rest."""
LOOK_SHARE = 20
"""A look round comes at the earliest after so many times its own length."""


@dataclass(frozen=True, slots=True)
class _StandingRule:
    settings: RuleSettings
    rule: Rule
    disk: LocalDisk
    """Where the rule's folders really are."""
    selection: Selection
    since: dict[bytes, float]
    """The folders that fit, and when each was first seen under its name (monotonic)."""


class StandingRules:
    """The standing rules of this station: folders that fit a pattern become uploads by themselves."""

    def __init__(self, context: WatcherContext) -> None:
        """Read the rules.

        Raises:
            ConfigurationError: names the rule that cannot work, and why.
        """
        settings = context.settings
        self._store, self._outbox, self._clock = context.store, context.outbox, context.clock
        self._claim = context.claim
        self._here, self._settings, self._admission = context.here, settings, context.admission
        rules = []
        for wanted in settings.rules:
            rule = Rule.parse(
                wanted.name,
                wanted.pattern,
                investigation=wanted.investigation,
                dataset=wanted.dataset,
                location=wanted.location,
            )
            try:
                real = self._admission.check_rule(wanted, rule.prefix)
            except BadPattern as error:
                raise ConfigurationError(f"[[watcher.rules]] {wanted.name}: {error}") from error
            rules.append(_StandingRule(wanted, rule, LocalDisk(real), self._admission.selection(wanted), {}))
        self._rules = tuple(rules)
        names = [one.settings.name for one in self._rules]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ConfigurationError(f"[[watcher.rules]] {twice.pop()}: two rules have this name; give each its own")
        self._due = 0.0
        self._reopen_due = context.clock.monotonic() + settings.reopen_interval_s
        self._problems: dict[bytes, str] = {}
        self._asked: dict[bytes, float] = {}
        """Until when to wait for the upload of a folder that was asked for."""
        self._hang_guard = HangGuard()
        self._comparing: dict[str, Future[list[RuleFolder]]] = {}
        """By rule, the closed folders that have changed, as soon as that is known."""

    @property
    def due(self) -> float | None:
        """When it is time to look round again; None where there are no rules."""
        return self._due if self._rules else None

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences about folders that fit a rule and cannot become a dataset, and about rules whose drive hangs."""
        silent = [
            f"Rule {one.rule.name}: {one.rule.prefix} does not answer; check the network and the server of this drive."
            for one in self._rules
            if self._hang_guard.silent(one.rule.name)
        ]
        return (*silent, *tuple(self._problems.values())[:20])

    def scan_roots(self) -> None:
        """Look for new folders where it is time to."""
        now = self._clock.monotonic()
        if not self._rules or now < self._due:
            return
        if not self._claim.ours:  # the computer that has the station's name goes by its own rules
            self._due = now + self._settings.rule_interval_s
            return
        for one in self._rules:
            self._scan(one)
            self._reopen(one)
        took = self._clock.monotonic() - now
        self._due = now + took + max(self._settings.rule_interval_s, LOOK_SHARE * took)
        if self._settings.reopen_days and now >= self._reopen_due:
            self._reopen_due = now + self._settings.reopen_interval_s
            since = self._clock.now_ns() / 1e9 - self._settings.reopen_days * 86400
            with self._store.reading() as db:
                closed = list(RuleFolders(db).closed(since))
            # the rules beside each other
            for name in {one.settings.name for one in self._rules} - self._comparing.keys():
                rows = [row for row in closed if row.rule == name]
                self._comparing[name] = in_a_thread(partial(self._changed, rows))

    def _is_ready(self, one: _StandingRule, folder: bytes) -> bool:
        """Tell whether a folder has had its name for a quiet period, and holds something to upload.

        A new folder is empty and is called `New folder` until the person has typed a name.
        """
        if self._clock.monotonic() - one.since[folder] < min(one.settings.quiet_period_s, LONGEST_WAIT_S):
            return False
        try:
            return self._hang_guard.call_with_deadline(
                one.rule.name, lambda: _holds_file(folder, one.selection), folder
            )
        except (DriveTimeout, OSError):
            return False

    def _scan(self, one: _StandingRule) -> None:
        """Ask for uploads of the folders that fit a rule; an answer that comes late is taken at a later look round."""
        try:
            folders = self._hang_guard.call_with_deadline(one.rule.name, lambda: _fitting(one), "folders")
        except DriveTimeout:
            return
        for gone in one.since.keys() - {folder for folder, _ in folders}:  # what is said of it is over
            del one.since[gone]
            self._problems.pop(gone, None)
        now = self._clock.monotonic()
        for folder, _ in folders:
            one.since.setdefault(folder, now)
        for folder, values in folders:
            with self._store.reading() as db:
                before = RuleFolders(db).asked(one.settings.name, folder)
            generation, arrived = before or (1, False)
            now = self._clock.monotonic()
            if arrived or now < self._asked.get(folder, 0.0):  # a request may get lost on its way here
                continue
            target = self._target(one, folder, values)
            if target is not None and (before or self._is_ready(one, folder)):
                self._asked[folder] = now + self._settings.receipt_patience_s
                self._request(one, folder, target, generation=generation)

    def _target(self, one: _StandingRule, folder: bytes, values: dict[str, str]) -> Target | None:
        try:
            target = one.rule.target(values)
        except ValueError as error:
            shown = folder.decode("utf-8", "backslashreplace")
            if folder not in self._problems:
                log.warning("rule_folder_name_invalid", folder=shown, rule=one.rule.name)
            self._problems[folder] = f"Rule {one.rule.name}: {shown} is not uploaded, because {error}; rename it."
            return None
        self._problems.pop(folder, None)
        return target

    def _request(self, one: _StandingRule, folder: bytes, target: Target, *, generation: int) -> None:
        rule = one.settings
        name = upload_id(self._here.key, rule.name, folder, generation)
        # A complete dataset is never written to again: what is new in its folder becomes a further dataset beside it,
        # which leaves out the unchanged files of the earlier ones.
        numbers = range(max(1, generation - MOST_EARLIER), generation)
        earlier = tuple(upload_id(self._here.key, rule.name, folder, number) for number in numbers)
        if earlier:
            target = target.further(generation)
        data = UploadRequested(
            upload_id=name,
            investigation=target.investigation,
            dataset=DatasetSpec(name=target.dataset),
            root=os.fsdecode(folder),
            include=rule.include,
            exclude=rule.exclude,
            mode=rule.mode,
            destination=Destination(remote=rule.remote, location=target.location),
            requested_by=Person(id=f"rule:{rule.name}"),
            quiet_period_s=rule.quiet_period_s,
            marker=rule.marker,
            idle_close_s=rule.idle_close_s,
            delete_after=rule.delete_after,
            when_restless=rule.when_restless,
            without=earlier,
        )
        event = Event(data=data, station=self._here, service=SERVICE, id=natural_id(UploadRequested, name))
        with self._store.transaction() as db:
            RuleFolders(db).put(rule.name, folder, generation, name)
            Outbox.put(db, event)
        crash_point("watcher.rule-asked")
        self._outbox.wake()
        log.info(
            "rule_upload_requested", rule=rule.name, upload_id=name, folder=os.fsdecode(folder), generation=generation
        )

    def _changed(self, rows: list[RuleFolder]) -> list[RuleFolder]:
        return [row for row in rows if changed_since(self._store, self._admission, row.upload_id)]

    def _reopen(self, one: _StandingRule) -> None:
        """Ask for a further dataset of each folder that has changed since its last one was closed."""
        changed = self._comparing.get(one.settings.name)
        if changed is None or not changed.done():
            return
        del self._comparing[one.settings.name]
        for row in changed.result():
            names = os.fsdecode(row.folder).replace(os.sep, "/").split("/")[-len(one.rule.levels) :]
            values: dict[str, str] = {}
            for depth, name in enumerate(names):
                more = one.rule.level(depth, name) if _is_named_by_a_person(one.rule, depth, name) else None
                if more is None:
                    break
                values |= more
            else:
                target = self._target(one, row.folder, values)
                if target is not None:
                    self._request(one, row.folder, target, generation=row.generation + 1)


def _fitting(one: _StandingRule) -> list[tuple[bytes, dict[str, str]]]:
    """Go through the folders that fit a rule now."""
    prefix = os.fsencode(one.rule.prefix)
    level: list[tuple[bytes, dict[str, str]]] = [(b"", {})]
    for depth in range(len(one.rule.levels)):
        level = [
            (path, {**values, **more})
            for folder, values in level
            for path, name in _subfolders(one.disk, folder)
            if (more := one.rule.level(depth, name)) is not None and _is_named_by_a_person(one.rule, depth, name)
        ]
    return [(os.path.join(prefix, path.replace(b"/", os.fsencode(os.sep))), values) for path, values in level]  # noqa: PTH118 - bytes


def _is_named_by_a_person(rule: Rule, depth: int, name: str) -> bool:
    """Leave aside what is a system's or a temporary name, and hidden folders where the rule does not ask for them."""
    hidden = name.startswith(".") and not rule.levels[depth].pattern.startswith("\\.")
    return not hidden and leftover(name, folder=True) is None


def _holds_file(folder: bytes, selection: Selection) -> bool:
    """Tell whether a file lies somewhere in a folder that is not left out.

    So many entries hold one for sure; of what cannot be read the upload will tell.
    """
    disk, rest, seen = LocalDisk(folder), [b""], 0
    while rest and seen < MOST_LOOKED_AT:
        below = rest.pop()
        try:
            with disk.folder(below) as opened:
                for name, is_folder in opened.entries():
                    seen += 1
                    path = join(below, name)
                    if selection.omits(path, folder=is_folder) is not None:
                        continue
                    if is_folder:
                        rest.append(path)
                    elif stat.S_ISREG(opened.stat(name).st_mode):
                        return True
        except FileNotFoundError:
            continue
        except OSError:
            return True
    return bool(rest)


def _subfolders(disk: LocalDisk, folder: bytes) -> Sequence[tuple[bytes, str]]:
    """List the folders in a folder that have a name that can be shown; links are not followed."""
    try:
        with disk.folder(folder) as opened:
            found = sorted(name for name, is_folder in opened.entries() if is_folder)
    except OSError:
        return ()
    return [(join(folder, name), os.fsdecode(name)) for name in found]
