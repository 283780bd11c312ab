"""The page where somebody who is signed in makes a token for the command line."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from datauploader_gateway.http.parts import UseParts
from datauploader_gateway.http.rendering import page
from datauploader_gateway.http.visitor import Visitor

router = APIRouter(include_in_schema=False)


@router.get("/token")
async def token_page(request: Request, who: Visitor, parts: UseParts) -> Response:
    """Show the form; the token comes from the REST interface and is shown once."""
    return page(request, parts, "token.html", who=who)
