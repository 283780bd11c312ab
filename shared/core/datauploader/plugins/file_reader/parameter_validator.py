"""What of a reader's findings may travel: real values of a bounded size; of all else a person is told the name."""

import datetime as dt
from typing import Any

from pydantic import ValidationError

from datauploader.contracts.datasets import Parameter
from datauploader.contracts.pictures import MOST_PICTURES, Picture
from datauploader.plugins.file_reader import QuickLook

MOST_PARAMETERS = 500
"""Parameters that are taken of one file."""
MOST_VALUES = 1000
"""Values of one array."""
LONGEST_TEXT = 4000
"""Characters of a text value; what is longer is shortened."""
_LARGEST_BITS = 1024
"""Of a whole number."""
_MOST_SENTENCES = 10
_ROOM = {
    "name": "the name of a parameter is a text of 1 to 200 characters",
    "units": "the units of a parameter are a text of at most 60 characters",
}


class ParameterValidator:
    """Validates parameters: what a reader finds in one file, one thing after the other."""

    def __init__(self) -> None:
        """Begin with a file."""
        self._short: list[str] = []
        self._large: list[str] = []
        self._wrong: list[str] = []
        self._pictures = 0

    def validate_parameter(self, found: object) -> Parameter | None:
        """Return the parameter as it may travel; None where it is none, which `problems` then says."""
        try:
            match found:
                case Parameter():
                    one = found
                case (name, value):
                    one = Parameter.model_validate({"name": name, "value": plain(name, value)})
                case (name, value, units):
                    one = Parameter.model_validate({"name": name, "value": plain(name, value), "units": units})
                case _:
                    kind = type(found).__name__
                    self._wrong.append(f"a reader yields parameters, not something of type {kind}")
                    return None
        except ValidationError as error:
            self._wrong.append(why_not(error))
            return None
        except ValueError as error:
            self._wrong.append(str(error))
            return None
        if isinstance(one.value, str) and len(one.value) > LONGEST_TEXT:
            self._short.append(one.name)
            return one.model_copy(update={"value": f"{one.value[: LONGEST_TEXT - 1]}…"})
        if isinstance(one.value, int) and one.value.bit_length() > _LARGEST_BITS:
            self._large.append(one.name)
            return None
        return one

    def validate_picture(self, found: QuickLook) -> Picture | None:
        """Return the picture as it may travel; None where it is none or one too many, which `problems` then says."""
        try:
            picture = Picture.of(bytes(found.data), str(found.title))
        except (TypeError, ValueError) as error:  # of pydantic as well
            self._wrong.append(f"its picture {str(found.title)[:60]!r} is not taken: {error}")
            return None
        self._pictures += 1
        return picture if self._pictures <= MOST_PICTURES else None

    def problems(self) -> list[str]:
        """Say what was not taken as it was found."""
        said = self._wrong[:_MOST_SENTENCES]
        if self._pictures > MOST_PICTURES:
            said.append(f"only the first {MOST_PICTURES} pictures are taken")
        if more := len(self._wrong) - len(said):
            said.append(f"{more} more are no values")
        if self._short:
            said.append(f"only the first {LONGEST_TEXT} characters are kept of: {', '.join(self._short)}")
        if self._large:
            said.append(f"left out, because these numbers are too large: {', '.join(self._large)}")
        return said


def plain(name: object, value: Any) -> Any:
    """Give dates and arrays the form in which they travel: ISO 8601, and a list with commas; leave others as they are.

    Raises:
        ValueError: it has none; says of which parameter, and why.
    """
    which = f"the value of {str(name)[:200]}"
    if getattr(value, "shape", None) and hasattr(value, "tolist"):  # an array of numpy
        if value.size > MOST_VALUES:
            raise ValueError(f"{which} is an array of {value.size} values, of which at most {MOST_VALUES} are taken")
        value = value.astype(str).tolist() if _is_time(value) else value.tolist()
    if not isinstance(value, list | tuple):
        return _moment(which, value)
    if len(value) > MOST_VALUES:
        raise ValueError(f"{which} is an array of {len(value)} values, of which at most {MOST_VALUES} are taken")
    if len(value) < 2:  # noqa: PLR2004 - an array with one value is that value
        return plain(name, value[0] if value else None)
    return ", ".join(_element(which, one) for one in value)


def _element(which: str, one: Any) -> str:
    one = _moment(f"one of the array that is {which}", one)
    if getattr(one, "shape", None) == () and hasattr(one, "item"):  # a scalar of numpy
        one = one.item()
    if isinstance(one, bytes):
        one = one.decode("utf-8", "replace")
    if isinstance(one, bool):
        return str(one).lower()
    if not isinstance(one, str | int | float):
        raise ValueError(f"{which} is an array with a value of type {type(one).__name__}")  # noqa: TRY004 - as pydantic
    return str(one)


def _moment(which: str, value: Any) -> Any:
    """Write a date as text; leave anything else as it is."""
    if value is None:
        raise ValueError(f"{which} is empty")
    if not isinstance(value, dt.date) and not _is_time(value):  # a datetime is a date as well
        return value
    text = str(value) if _is_time(value) else value.isoformat()
    if text == "NaT":
        raise ValueError(f"{which} is not a date")
    return text


def _is_time(value: object) -> bool:
    return getattr(getattr(value, "dtype", None), "kind", "") == "M"


def why_not(error: ValidationError) -> str:
    """Say in our words why something is no parameter."""
    problem = error.errors(include_url=False)[0]
    where = str(problem["loc"][-1]) if problem["loc"] else ""
    return _ROOM.get(where) or problem["msg"].removeprefix("Value error, ")
