"""For machines: is the gateway alive, is it ready, what has it counted."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from datauploader_gateway.auth.dependency import address_of, optional_caller
from datauploader_gateway.errors import NotAllowed, NotSignedIn
from datauploader_gateway.features.operations.diagnosis import CheckBody
from datauploader_gateway.http.parts import UseParts
from datauploader_gateway.http.problems import documented

router = APIRouter(tags=["health"])


class Live(BaseModel):
    """The gateway answers."""

    ok: bool = True


class Ready(BaseModel):
    """All checks together, and each."""

    ok: bool
    checks: list[CheckBody]


@router.get("/health/live", summary="Alive")
async def live() -> Live:
    """Answer."""
    return Live()


@router.get("/health/ready", responses={503: {"model": Ready, "description": "A check fails"}}, summary="Ready")
async def ready(response: Response, parts: UseParts) -> Ready:
    """Check the broker, Redis, the view, the catalogue and the outbox."""
    checks = await parts.health.ready()
    ok = all(check.ok for check in checks)
    response.status_code = 200 if ok else 503
    return Ready(ok=ok, checks=checks)


@router.get(
    "/metrics", response_class=Response, responses=documented(401, 403), summary="Counters in Prometheus' text format"
)
async def metrics(request: Request, parts: UseParts) -> Response:
    """Answer operators, and callers on this machine that no proxy stands in front of."""
    if not _is_local(request):
        who = await optional_caller(request, parts)
        if who is None:
            raise NotSignedIn("counters are for operators and for callers on the gateway's own machine")
        if who.user.role != "operator":
            raise NotAllowed("counters are for operators", hint="Ask an operator.")
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _is_local(request: Request) -> bool:
    forwarded = any(name in request.headers for name in ("x-forwarded-for", "forwarded", "x-real-ip"))
    return not forwarded and address_of(request) in ("127.0.0.1", "::1")
