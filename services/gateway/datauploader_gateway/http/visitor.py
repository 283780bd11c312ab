"""Who looks at a page, and at which upload: who is not signed in is sent to sign in and come back."""

from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import Depends, Request, Response
from fastapi.responses import RedirectResponse

from datauploader.contracts.rest.uploads import Upload
from datauploader_gateway.auth.authentication import Caller
from datauploader_gateway.errors import NotFound
from datauploader_gateway.http.dependencies import (
    UploadIdInPath,
    UseAuthentication,
    UseReader,
    UseSite,
    optional_visitor,
)
from datauploader_gateway.http.rendering import asks_for_part


class MustSignInError(Exception):
    """Nobody is signed in; the browser goes to the sign-in page and comes back to `goal` afterwards."""

    def __init__(self, goal: str) -> None:
        super().__init__(goal)
        self.goal = goal


async def visitor(request: Request, site: UseSite, authentication: UseAuthentication) -> Caller:
    """Find out who looks at the page.

    Raises:
        MustSignInError: nobody that we know.
        ForeignOrigin: another site's page sends this.
    """
    found = await optional_visitor(request, site, authentication)
    if found is None:
        # to come back to is the page that shows, not the fragment or the form that was asked for
        as_part = asks_for_part(request)
        shown = urlsplit(request.headers.get("hx-current-url" if as_part else "referer", ""))
        url = request.url if request.method == "GET" and not as_part else shown
        raise MustSignInError(f"{url.path or '/'}?{url.query}" if url.query else url.path or "/")
    request.state.who = found.user  # a page that says what went wrong shows who is signed in as well
    return found


Visitor = Annotated[Caller, Depends(visitor)]


def send_to_sign_in(request: Request, error: Exception) -> Response:
    """Let the browser go to the sign-in page; htmx is told in its own way."""
    assert isinstance(error, MustSignInError)
    address = f"/sign-in?next={quote(error.goal)}"
    if asks_for_part(request):
        return Response(status_code=401, headers={"HX-Redirect": address})
    return RedirectResponse(address, 303)


async def upload_on_page(upload_id: UploadIdInPath, who: Visitor, reader: UseReader) -> Upload:
    """Find the upload that a page is about.

    Raises:
        NotFound: there is none, or it is none of the visitor's business.
    """
    found = await reader.upload(upload_id)
    if found is None or not who.user.may_see(found):
        raise NotFound(
            f"there is no upload {upload_id} that {who.user.name or who.user.id} may see",
            hint="Another person at this computer may have started it: press Switch user, or look for it in History.",
        )
    return found


UploadOnPage = Annotated[Upload, Depends(upload_on_page)]
