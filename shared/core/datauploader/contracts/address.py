"""Where an event belongs: facility, beamline and station, and the routing key made of them."""

from typing import Self

from datauploader.contracts.model import WireModel, Word

HARVESTER, CONSUMER = "harvester", "consumer"
"""No beamline is called so: under these words those report how they are who are no workstation."""


class Station(WireModel):
    """One workstation at one beamline of one facility."""

    facility: Word
    beamline: Word
    station: Word

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `facility.beamline.station` (slashes serve as well).

        Raises:
            ValueError: there are not three words of `a-z`, `0-9`, `_` and `-`.
        """
        words = text.replace("/", ".").split(".")
        if len(words) != 3:  # noqa: PLR2004 - three words make an address
            raise ValueError(f"a station is written facility.beamline.station, not {text!r}")
        return cls(facility=words[0], beamline=words[1], station=words[2])

    @classmethod
    def of_harvester(cls, facility: str, name: str) -> Self:
        """Return the address under which a harvester says how it is."""
        return cls(facility=facility, beamline=HARVESTER, station=name)

    @classmethod
    def of_consumer(cls, facility: str, name: str) -> Self:
        """Return the address under which a consumer says how it is."""
        return cls(facility=facility, beamline=CONSUMER, station=name)

    @property
    def is_plug_in(self) -> bool:
        """This is a harvester or a consumer, and no workstation."""
        return self.beamline in (HARVESTER, CONSUMER)

    @property
    def key(self) -> str:
        """The first three words of the routing key."""
        return f"{self.facility}.{self.beamline}.{self.station}"

    def __str__(self) -> str:
        return f"{self.facility}/{self.beamline}/{self.station}"


def matches(pattern: str, key: str) -> bool:
    """Tell whether a topic exchange would route `key` to a binding of `pattern`.

    `*` stands for exactly one word, `#` for any number of words, zero included (AMQP 0-9-1, 3.1.3.3). The set holds
    how many words of the key the pattern so far may have used up; so the time grows with the lengths' product only.
    """
    reached = {0}
    words = key.split(".") if key else []
    for part in pattern.split(".") if pattern else []:
        if part == "#":
            reached = set(range(min(reached, default=len(words) + 1), len(words) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(words) and part in ("*", words[at])}
    return len(words) in reached
