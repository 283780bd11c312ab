"""What operators can do about people: sign somebody out everywhere."""

from typing import Annotated

from fastapi import APIRouter, Path

from datauploader_gateway.auth.dependency import SignedIn
from datauploader_gateway.errors import NotAllowed
from datauploader_gateway.http.parts import UseParts
from datauploader_gateway.http.problems import documented

router = APIRouter(prefix="/people", tags=["people"])


@router.post(
    "/{person_id:path}/sign-out",
    status_code=204,
    responses=documented(401, 403, 404, 422, 503),
    summary="Sign out everywhere",
)
async def sign_out(
    person_id: Annotated[str, Path(min_length=1, max_length=200)], who: SignedIn, parts: UseParts
) -> None:
    """Make all sessions and tokens of a person worthless at once; running uploads go on. For operators, or oneself."""
    if who.user.role != "operator" and who.user.id != person_id:
        raise NotAllowed("signing others out is for operators", hint="Ask an operator.")
    await parts.sessions.sign_out(person_id)
    await parts.audit.record("signed out everywhere", who=who.user.id, address=who.address, person=person_id)
