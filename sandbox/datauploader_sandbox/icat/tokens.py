"""Cuts a query into tokens as ICAT's Tokenizer does: a blank is the only white space, and quotes are doubled."""

import re
from dataclasses import dataclass

from datauploader_sandbox.icat.errors import IcatError, bad_parameter

_TOKEN = re.compile(
    r"(?P<string>'(?:[^'\0]|'')*')"
    r"|(?P<timestamp>\{\s*ts\s+\d{4}-\d{2}-\d{2}\s+\d{2}:\d{2}:\d{2}\s*\})"
    r"|(?P<name>[^\W\d][\w.$]*|\$[\w.$]*)"
    r"|(?P<real>-?\d+(?:\.\d*(?:[eE][+-]?\d+)?|[eE][+-]?\d+))"
    r"|(?P<integer>-?\d+)"
    r"|(?P<sign><=|>=|<>|!=|[=<>(),*])"
)
_KEYWORD = re.compile(
    "AND|ASC|AS|AVG|BETWEEN|BY|CONCAT|COUNT|DESC|DISTINCT|FALSE|FETCH|FROM|GROUP|HAVING|INCLUDE|INNER|IN|IS|JOIN|LEFT"
    "|LIKE|LIMIT|LOWER|MAX|MIN|NOT|NULL|ORDER|OR|OUTER|SELECT|SUM|TRUE|UPPER|WHERE",
    re.IGNORECASE,
)
_PARAMETER_IN_TEXT = re.compile(r":ts\d{14}")


@dataclass(frozen=True, slots=True)
class Token:
    """One token; keywords are in capitals, strings without their quotes."""

    kind: str
    text: str


def tokens(query: str) -> list[Token]:
    """Cut a query into tokens."""
    found: list[Token] = []
    at = 0
    while at < len(query):
        if query[at] == " ":
            at += 1
            continue
        match = _TOKEN.match(query, at)
        if match is None:
            raise bad_parameter(f"Unexpected character {query[at]!r} near {query[at : at + 9]!r} for string: {query}")
        at = match.end()
        found.append(_token(str(match.lastgroup), match[0]))
    return found


def _token(kind: str, text: str) -> Token:
    if kind == "string":
        if _PARAMETER_IN_TEXT.search(text):  # icat.server takes it for one of its own timestamps, and fails
            raise IcatError("INTERNAL", "You have attempted to set a parameter that does not exist in the query")
        return Token("string", text[1:-1].replace("''", "'"))
    if kind == "name" and _KEYWORD.fullmatch(text):
        return Token("keyword", text.upper())
    return Token(kind, text)


class Input:
    """The tokens of one query, taken one after the other."""

    def __init__(self, query: str) -> None:
        self.query = query
        self._tokens = tokens(query)
        self._at = 0

    @property
    def next(self) -> Token:
        """Look at the next token; after the last one there is an empty one."""
        return self._tokens[self._at] if self._at < len(self._tokens) else Token("end", "")

    def take(self) -> Token:
        """Go past the next token."""
        token = self.next
        self._at += 1
        return token

    def accept(self, *texts: str) -> str:
        """Go past the next token if it is a keyword or sign of these; return it, "" where it is another one."""
        token = self.next
        if token.kind in {"keyword", "sign"} and token.text in texts:
            self._at += 1
            return token.text
        return ""

    def expect(self, *texts: str) -> str:
        """Go past a keyword or sign that must come now."""
        return self.accept(*texts) or self.fail(f"one of {', '.join(texts)} was expected")

    def expect_kind(self, kind: str) -> str:
        """Go past a token of a kind that must come now."""
        return self.take().text if self.next.kind == kind else self.fail(f"a token of kind {kind} was expected")

    def fail(self, why: str) -> str:
        """Refuse the query."""
        raise bad_parameter(f"{why} before {self.next.text!r} in: {self.query}")
