"""How NestJS says no."""

from http import HTTPStatus
from typing import Any


class Refusal(Exception):
    """An answer that is an error; `body` is its JSON."""

    def __init__(self, status: int, message: str | list[str], body: Any = None) -> None:
        super().__init__(message)
        self.status = status
        plain = {"message": message, "error": HTTPStatus(status).phrase, "statusCode": status}
        self.body = plain if body is None else body


def forbidden(message: str = "Forbidden resource") -> Refusal:
    """Return the refusal of rights."""
    return Refusal(403, message)
