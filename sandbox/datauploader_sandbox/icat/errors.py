"""The errors of ICAT, with the HTTP status of each."""

STATUS = {
    "BAD_PARAMETER": 400,
    "INTERNAL": 500,
    "INSUFFICIENT_PRIVILEGES": 403,
    "NO_SUCH_OBJECT_FOUND": 404,
    "OBJECT_ALREADY_EXISTS": 412,
    "SESSION": 403,
    "VALIDATION": 412,
    "NOT_IMPLEMENTED": 501,
}


class IcatError(Exception):
    """What ICAT answers in place of a result; `offset` counts the entities of an array, -1 where there is none."""

    def __init__(self, code: str, message: str, offset: int = -1) -> None:
        super().__init__(message)
        self.code, self.message, self.offset = code, message, offset

    def document(self) -> dict[str, str | int]:
        """Return the body of the answer."""
        offset = {"offset": self.offset} if self.offset >= 0 else {}
        return {"code": self.code, "message": self.message, **offset}


def bad_parameter(message: str) -> IcatError:
    """Return the error for something that cannot be read."""
    return IcatError("BAD_PARAMETER", message)
