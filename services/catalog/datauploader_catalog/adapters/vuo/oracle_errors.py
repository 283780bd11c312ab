"""Which of Oracle's errors refuse a value, which pass by themselves, and which nobody here knows.

Each number is described at https://docs.oracle.com/error-help/db/ora-NNNNN/ (five digits); docs/catalogues/vuo.md says
the same as a table, for the people of VUO.
"""

import re
from typing import Literal

Meaning = Literal["refused", "passes", "unknown"]

_LINE = re.compile(r"^(ORA|PLS)-([0-9]+)", re.MULTILINE)
_OF_APPLICATION = range(20000, 21000)
"""What VUO's own procedures raise (RAISE_APPLICATION_ERROR)."""
_REFUSED = frozenset(
    (
        1400, 1401, 1407, 1426, 1438, 1461, 1704, 1722, 1830, 1839, 1841, 1843, 1847, 1858, 1861, 2290, 2291, 6502,
        12899, 22835, 40441, 40478,
    )
)  # fmt: skip
"""Empty, too long, too large, no number, no date, against a constraint, no JSON."""
_PASSES = frozenset(
    (
        18, 20, 28, 54, 60, 257, 1012, 1013, 1033, 1034, 1089, 1090, 1092, 1109, 1555, 1652, 1653, 1654, 1688, 1691,
        2049, 2391, 2396, 2399, 3113, 3114, 3135, 4020, 4021, 4030, 4031, 4061, 4068, 8177, 25408, 30006,
    )
)  # fmt: skip
"""Sessions and processes used up, locks, a restart, no room, no memory, a lost connection, a renewed package."""
_OF_NETWORK = range(12150, 12700)
"""Oracle Net: listeners and connections."""


def meaning(text: str) -> Meaning:
    """Say what an error text means; of a stack of errors the first one that is known counts."""
    for kind, digits in _LINE.findall(text):
        number = int(digits)
        if kind == "ORA" and (number in _REFUSED or number in _OF_APPLICATION):
            return "refused"
        if kind == "ORA" and (number in _PASSES or number in _OF_NETWORK):
            return "passes"
    return "unknown"
