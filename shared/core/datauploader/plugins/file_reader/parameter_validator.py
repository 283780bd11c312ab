"""What of a reader's findings may travel: real values of a bounded size; of all else a person is told the name."""

from pydantic import ValidationError

from datauploader.contracts.datasets import Parameter

MOST_PARAMETERS = 500
"""Parameters that are taken of one file."""
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

    def validate_parameter(self, found: object) -> Parameter | None:
        """Return the parameter as it may travel; None where it is none, which `problems` then says."""
        try:
            match found:
                case Parameter():
                    one = found
                case (name, value):
                    one = Parameter.model_validate({"name": name, "value": value})
                case (name, value, units):
                    one = Parameter.model_validate({"name": name, "value": value, "units": units})
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

    def problems(self) -> list[str]:
        """Say what was not taken as it was found."""
        said = self._wrong[:_MOST_SENTENCES]
        if more := len(self._wrong) - len(said):
            said.append(f"{more} more are no values")
        if self._short:
            said.append(f"only the first {LONGEST_TEXT} characters are kept of: {', '.join(self._short)}")
        if self._large:
            said.append(f"left out, because these numbers are too large: {', '.join(self._large)}")
        return said


def why_not(error: ValidationError) -> str:
    """Say in our words why something is no parameter."""
    problem = error.errors(include_url=False)[0]
    where = str(problem["loc"][-1]) if problem["loc"] else ""
    return _ROOM.get(where) or problem["msg"].removeprefix("Value error, ")
