"""What is the cause and what follows from it: a table of rules over everything that is wrong; pure.

Several signs of one fault become one cause. What a cause brings about is folded under it, and what cannot be known
while it lasts is called unknown, not well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Literal

from pydantic import BaseModel, Field

from datauploader_gateway.features.operations.diagnosis import AWAY, KINDS, REFUSED, Kind, Trouble

NAMED = 3
"""So many causes are named in the sentence at the top."""

Sign = tuple[Kind, str]
"""A kind of part and a sign; one that ends in a blank stands for all that begin so."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What one fault brings about: at the same part alone, or at all parts of the kinds that it names."""

    cause: Sign
    brings: tuple[Sign, ...]
    same_part: bool = False
    hides: tuple[Kind, ...] = ()
    """Kinds of parts of which nothing can be known meanwhile."""

    def folds(self, cause: Trouble, other: Trouble) -> bool:
        """Tell whether this other trouble comes from that cause."""
        if self.same_part and other.part != cause.part:
            return False
        return any(_is(other, sign) for sign in self.brings)


_BEHIND_THE_BROKER: tuple[Sign, ...] = (
    ("service", "outbox"), ("service", "queues"), ("service", "view"), ("service", "trouble"), ("service", AWAY),
    ("service", "waiting "), ("catalogue", AWAY), ("catalogue", "updates"), ("storage", AWAY), ("station", AWAY),
    ("station", "watcher"), ("station", "transfer"), ("station", "trouble"), ("station", "old file"),
    ("station", "waiting "), ("mover", "trouble"), ("harvester", AWAY), ("harvester", "trouble"),
    ("harvester", "waiting "), ("broker", REFUSED), ("service", REFUSED), ("station", REFUSED), ("harvester", REFUSED),
)  # fmt: skip
_OTHERS: tuple[Kind, ...] = ("service", "catalogue", "storage", "station", "mover", "harvester")

RULES = (
    Rule(("broker", AWAY), (*_BEHIND_THE_BROKER, ("broker", "blocked")), hides=_OTHERS),
    Rule(("broker", "blocked"), _BEHIND_THE_BROKER, hides=("catalogue", "storage", "station", "mover", "harvester")),
    Rule(
        ("redis", AWAY),
        (("service", "view"), ("service", "trouble"), ("service", "waiting gateway"), ("service", "queues")),
        hides=("storage", "station", "mover"),
    ),
    Rule(("service", "view"), (("service", "waiting gateway"), ("station", AWAY), ("harvester", AWAY))),
    Rule(
        ("service", AWAY),
        (("service", "trouble"), ("service", "waiting "), ("service", "view"), ("service", "outbox")),
        same_part=True,
    ),
    Rule(
        ("service", AWAY), (("catalogue", AWAY), ("catalogue", "updates"), ("station", "old file")),
        hides=("catalogue",),
    ),
    Rule(
        ("catalogue", AWAY),
        (("service", "trouble"), ("service", "waiting catalog"), ("catalogue", "updates"), ("station", "old file")),
    ),
    Rule(("service", "trouble"), (("service", "waiting "), ("service", "outbox")), same_part=True),
    Rule(("service", "trouble"), (("station", "old file"),)),
    Rule(
        ("station", AWAY),
        (("station", "watcher"), ("station", "transfer"), ("station", "waiting "), ("station", "old file"),
         ("station", "trouble")),
        same_part=True,
    ),
    Rule(
        ("station", "transfer"),
        (("station", "waiting transfer"), ("station", "old file"), ("station", "trouble")), same_part=True,
    ),
    Rule(("station", "watcher"), (("station", "waiting watcher"), ("station", "trouble")), same_part=True),
    Rule(("station", "folder"), (("station", "trouble"), ("station", "old file")), same_part=True),
    Rule(("station", "state disk"), (("station", "trouble"), ("station", "old file")), same_part=True),
    Rule(("station", "name"), (("station", "trouble"),), same_part=True),
    Rule(("storage", AWAY), (("station", "old file"), ("station", "waiting transfer"), ("station", "trouble"))),
    Rule(("harvester", AWAY), (("harvester", "trouble"), ("harvester", "waiting ")), same_part=True),
    # last, over what those have folded: a part may work, and another computer be refused under its name
    Rule(("service", REFUSED), (("service", AWAY), ("service", "view")), same_part=True),
    Rule(("station", REFUSED), (("station", AWAY), ("station", "watcher"), ("station", "transfer")), same_part=True),
    Rule(("harvester", REFUSED), (("harvester", AWAY),), same_part=True),
)  # fmt: skip
"""In the order in which an operator looks for a cause: what an earlier rule has folded is no cause any more."""


class Acknowledged(BaseModel):
    """Somebody knows of a cause, and says what is done about it."""

    by: str
    sentence: str
    at: datetime
    until: datetime
    what: str = ""
    """The cause in its words of then, see `identity`: when they change, it is told of again."""


class Cause(Trouble):
    """Something that is wrong by itself, with what follows from it."""

    key: str
    """Names the cause for as long as it lasts."""
    since: datetime | None = None
    """When the gateway saw it first."""
    consequences: list[Trouble] = Field(default_factory=list)
    acknowledged: Acknowledged | None = None


class Part(BaseModel):
    """A part of the facility and how it is."""

    kind: Kind
    name: str
    health: Literal["ok", "problem", "affected", "unknown"]
    """`affected`: it suffers from what is wrong elsewhere; `unknown`: nothing can be known of it now."""
    sentence: str
    since: datetime | None = None
    """With `unknown`: when something was known of it last."""


def causes(found: Sequence[Trouble]) -> list[Cause]:
    """Fold everything that is wrong under what it comes from; each thing is told once."""
    merged = _merged(found)
    for rule in RULES:
        for cause in [each for each in merged if _is(each, rule.cause)]:
            folded = [other for other in merged if other is not cause and rule.folds(cause, other)]
            for other in folded:
                cause.consequences += [_plain(other), *other.consequences]
            merged = [other for other in merged if not any(other is one for one in folded)]
    return merged


def parts(
    known: Sequence[tuple[Kind, str, str]],
    found: Sequence[Cause],
    unheard: Mapping[tuple[Kind, str], str] = MappingProxyType({}),
) -> list[Part]:
    """Say how each part is, in one sentence.

    Args:
        known: each with what is to be said of it when it is well.
        found: what is wrong.
        unheard: parts of which nothing was heard for a while, although nothing need be wrong, and what is said of them.
    """
    hidden = {kind for rule in RULES for cause in found if _is(cause, rule.cause) for kind in rule.hides}
    rows: list[Part] = []
    for kind, name, well in known:
        own = [cause for cause in found if (cause.kind, cause.part) == (kind, name)]
        within = [(cause, one) for cause in found for one in cause.consequences if (one.kind, one.part) == (kind, name)]
        if own:
            rows.append(Part(kind=kind, name=name, health="problem", sentence="; ".join(cause.what for cause in own)))
        elif kind in hidden and name != "gateway":
            reason = next(c.what for c in found if any(_is(c, r.cause) and kind in r.hides for r in RULES))
            rows.append(Part(kind=kind, name=name, health="unknown", sentence=reason))
        elif (kind, name) in unheard:
            rows.append(Part(kind=kind, name=name, health="unknown", sentence=unheard[kind, name]))
        elif within:
            cause, one = within[0]
            rows.append(Part(kind=kind, name=name, health="affected", sentence=f"{one.what}, because {cause.what}"))
        else:
            rows.append(Part(kind=kind, name=name, health="ok", sentence=well))
    return sorted(rows, key=lambda row: (row.health == "ok", KINDS.index(row.kind), row.name))


def summary(found: Sequence[Cause]) -> str:
    """Say in one sentence how many things are wrong and what, or that all is well."""
    fresh = [cause for cause in found if cause.acknowledged is None]
    rest = len(found) - len(fresh)
    known = f" {rest} acknowledged problem{'s' if rest != 1 else ''}." if rest else ""
    if not fresh:
        return f"No new problems.{known}" if rest else "No problems found."
    named = "; ".join(cause.what for cause in fresh[:NAMED])
    more = f"; and {len(fresh) - NAMED} more" if len(fresh) > NAMED else ""
    count = "1 problem" if len(fresh) == 1 else f"{len(fresh)} problems"
    return f"{count}: {named}{more}.{known}"


def acknowledge(found: Sequence[Cause], known: Mapping[str, Acknowledged], now: datetime) -> None:
    """Put to each cause what somebody said of it, unless its time is over or the cause is not the same any more."""
    for cause in found:
        said = known.get(cause.key)
        if said is not None and said.until > now and said.what == identity(cause):
            cause.acknowledged = said


def identity(cause: Trouble) -> str:
    """Write a cause so that it stays the same while times go on; one more parked message is something new."""
    text = f"{cause.what} {cause.detail}"
    if cause.about == "parked":
        return text
    words = (word for word in (each.strip(".,;:()") for each in text.split()) if not word.isdigit())
    return " ".join(word for word in words if word not in {"s", *_UNITS, *(f"{unit}s" for unit in _UNITS)})


_UNITS = ("minute", "hour", "day")


def _merged(found: Sequence[Trouble]) -> list[Cause]:
    """Make one of several signs of the same thing at the same part."""
    merged: dict[str, Cause] = {}
    for trouble in found:
        key = f"{trouble.kind}:{trouble.part}:{trouble.sign}".replace(" ", "-")
        if key in merged:
            merged[key].consequences.append(trouble)
        else:
            merged[key] = Cause(**trouble.model_dump(), key=key, consequences=[])
    return list(merged.values())


def _is(trouble: Trouble, sign: Sign) -> bool:
    kind, word = sign
    return trouble.kind == kind and (trouble.sign == word or (word.endswith(" ") and trouble.sign.startswith(word)))


def _plain(cause: Cause) -> Trouble:
    return Trouble(**cause.model_dump(include=set(Trouble.model_fields)))
