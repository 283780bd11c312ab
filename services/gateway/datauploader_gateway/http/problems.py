"""Turns whatever goes wrong into application/problem+json (RFC 9457), and describes that in OpenAPI."""

from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ValidationError
from redis.exceptions import OutOfMemoryError, RedisError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from datauploader_gateway.errors import TYPES, InvalidRequest, Problem, ProblemResponse, SessionsAway, SessionsFull
from datauploader_gateway.http import rendering
from datauploader_gateway.http.trace import trace_id

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str
    message: str


class ProblemBody(BaseModel):
    """A problem as RFC 9457 writes it; branch on `type`, read `detail` and `hint`."""

    type: str
    title: str
    status: int
    detail: str
    hint: str = ""
    trace_id: str
    errors: list[FieldProblem] = []
    suggestion: str = ""
    """With `dataset-…`: a name that is free."""
    upload: str = ""
    """With `dataset-…`: the caller's own upload that has the dataset."""


_MEANINGS = {
    401: "Not signed in, or wrong credentials",
    403: "The catalogue or the role says no, or another site's page asks",
    404: "It does not exist, or this person may not see it",
    409: "It is over, not complete, exists already, is taken, was changed, or an idempotency key was used twice",
    413: "The body is too large",
    422: "A field is wrong",
    429: "Too many attempts; see Retry-After",
    503: "Redis, the catalogue or the broker is away",
    504: "The station does not answer",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the problems that a route answers with."""
    return {status: {"model": ProblemBody, "description": _MEANINGS[status]} for status in statuses}


_FOR_MACHINES = ("/api/", "/health/", "/metrics", "/static/")


def install(app: FastAPI) -> None:
    """Let the application answer every failure as a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RedisError, _redis_away)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


def _render(problem: ProblemResponse, scope: Scope) -> Response:
    """Write a problem: as JSON for programs, as a page for people."""
    if not scope["path"].startswith(_FOR_MACHINES):
        return rendering.problem(Request(scope), problem, trace_id(scope))
    body = {
        "type": TYPES + problem.word, "title": problem.title, "status": problem.status, "detail": problem.detail,
        "hint": problem.hint, "trace_id": trace_id(scope),
    }  # fmt: skip
    content = body | dict(problem.more) | ({"errors": problem.errors} if problem.errors else {})
    return JSONResponse(content, problem.status, problem.headers, media_type=MEDIA_TYPE)


def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _render(ProblemResponse.of(error), request.scope)


def _redis_away(request: Request, error: Exception) -> Response:
    log.warning("redis_unavailable", problem=str(error))
    if isinstance(error, OutOfMemoryError):
        full = SessionsFull("Redis, which keeps sessions and status, is full")
        return _render(ProblemResponse.of(full), request.scope)
    away = SessionsAway("Redis, which keeps sessions and status, does not answer")
    return _render(ProblemResponse.of(away), request.scope)


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [
        {
            "field": ".".join(str(part) for part in problem["loc"][1:]) or str(problem["loc"][0]),
            "message": problem["msg"],
        }
        for problem in error.errors()
    ]
    detail = "; ".join(f"{problem['field']}: {problem['message']}" for problem in found[:5])
    return _render(ProblemResponse("invalid-request", "Invalid request", 422, detail, errors=found), request.scope)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, Problem):  # FastAPI wraps what reading the body raised
        return _problem(request, error.__cause__)
    if error.status_code == HTTPStatus.BAD_REQUEST:  # FastAPI's word for a body of bad UTF-8 or too deep
        return _problem(request, InvalidRequest("the body cannot be read: it is not JSON in UTF-8"))
    words = {404: ("not-found", "Not found"), 405: ("method-not-allowed", "Method not allowed")}
    word, title = words.get(error.status_code, ("http-error", str(error.detail)))
    detail = f"{request.method} {request.url.path}: {error.detail}"
    return _render(
        ProblemResponse(word, title, error.status_code, detail, headers=dict(error.headers or {})), request.scope
    )


def of_error(error: Exception, scope: Scope) -> Response:
    """Answer what no handler has answered; what is unexpected is told in the log alone."""
    if isinstance(error, Problem):
        return _render(ProblemResponse.of(error), scope)
    log.error("request_failed", method=scope["method"], path=scope["path"], exc_info=error)
    detail = "an unexpected error occurred in the gateway"
    hint = "Try again. If it happens again, give the trace id to an operator."
    return _render(ProblemResponse("internal-error", "Internal error", 500, detail, hint), scope)


def describe(document: dict[str, Any]) -> dict[str, Any]:
    """Say in an OpenAPI document that every error is a problem."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if status >= "400" and "content" in response:
                    schema = {"$ref": "#/components/schemas/ProblemBody"}
                    response["content"] = {MEDIA_TYPE: {"schema": schema}}
    for unused in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(unused, None)
    return document


def first_fault(error: ValidationError) -> str:
    """Say what is wrong with the first field of a form."""
    fault = error.errors(include_url=False, include_input=False)[0]
    return f"{' '.join(str(place) for place in fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}"
