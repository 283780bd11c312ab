"""What a route depends on: use cases made when the gateway starts, its caller, the upload that it is about."""

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Path, Request, Response

from datauploader.contracts.rest.uploads import Upload
from datauploader_gateway.auth.authentication import Authentication, Caller
from datauploader_gateway.auth.origin import check_origin, is_visit
from datauploader_gateway.errors import NotFound, NotSignedIn
from datauploader_gateway.projection.harvest_reader import HarvestReader
from datauploader_gateway.projection.reader import ViewReader

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Site:
    """The gateway as browsers see it."""

    own_origins: frozenset[str]
    """What `Origin` says on its own pages."""
    secure: bool
    """It is reached over https."""


def provided(request: Request, kind: type[T]) -> T:
    """Return the one object of this class that was made when the gateway started."""
    found = request.app.state.provided[kind]
    assert isinstance(found, kind)
    return found


def use(kind: type[T]) -> Any:
    """Make the annotation with which a route depends on the one object of this class."""

    # Not a plain function, nor is any other dependency: FastAPI would hand each request to a thread for it.
    async def find(request: Request) -> T:
        return provided(request, kind)

    return Depends(find)


UseSite = Annotated[Site, use(Site)]
UseAuthentication = Annotated[Authentication, use(Authentication)]
UseReader = Annotated[ViewReader, use(ViewReader)]
UseHarvests = Annotated[HarvestReader, use(HarvestReader)]
UploadIdInPath = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{8,64}$")]


def cookie_name(*, secure: bool) -> str:
    """Name the session cookie; the prefix makes browsers keep it to this host and to https."""
    return "__Host-datauploader" if secure else "datauploader"


def give_cookie(response: Response, site: Site, secret: str) -> None:
    """Let the browser keep its session's secret until it is closed: the next person at the computer is another one."""
    response.set_cookie(
        cookie_name(secure=site.secure), secret, httponly=True, samesite="lax", secure=site.secure, path="/"
    )


def take_cookie(response: Response, site: Site) -> None:
    """Let the browser forget its session's secret."""
    response.delete_cookie(cookie_name(secure=site.secure), path="/", secure=site.secure)


def cookie_of(request: Request, site: Site) -> str:
    """Return the secret of the session that the browser has, "" where it has none."""
    return request.cookies.get(cookie_name(secure=site.secure), "")


def address_of(request: Request) -> str:
    """Return where the request comes from; a trusted proxy's word was already taken."""
    return request.client.host if request.client else "unknown"


def secret_of(request: Request, site: Site) -> tuple[str, bool]:
    """Return what the request proves itself with, and whether that is a cookie."""
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and bearer.strip():
        return bearer.strip(), False
    return cookie_of(request, site), True


async def optional_caller(request: Request, site: UseSite, authentication: UseAuthentication) -> Caller | None:
    """Find out who is asking, None for nobody.

    Raises:
        ForeignOrigin: another site's page.
    """
    secret, is_cookie = secret_of(request, site)
    check_origin(request.method, request.headers, site.own_origins, proven=is_cookie and bool(secret))
    return await authentication.authenticate(secret, address_of(request), is_cookie=is_cookie)


async def caller(request: Request, site: UseSite, authentication: UseAuthentication) -> Caller:
    """Find out who is asking.

    Raises:
        NotSignedIn: nobody that we know.
        ForeignOrigin: another site's page.
    """
    found = await optional_caller(request, site, authentication)
    if found is None:
        raise NotSignedIn("you need a session or a token that is still valid")
    return found


async def optional_visitor(request: Request, site: UseSite, authentication: UseAuthentication) -> Caller | None:
    """Find out who comes to a page, None for nobody; a link may lead here from anywhere.

    Raises:
        ForeignOrigin: another site's page asks, and no person.
    """
    if not is_visit(request.method, request.headers):
        return await optional_caller(request, site, authentication)
    secret, is_cookie = secret_of(request, site)
    return await authentication.authenticate(secret, address_of(request), is_cookie=is_cookie)


def check_visit(request: Request, site: Site) -> None:
    """See that a person comes to a page, by whatever link, and not what another site's page loads.

    Raises:
        ForeignOrigin: another site's page asks, and no person.
    """
    if not is_visit(request.method, request.headers):
        check_origin(request.method, request.headers, site.own_origins, proven=False)


SignedIn = Annotated[Caller, Depends(caller)]


async def upload_in_sight(upload_id: UploadIdInPath, who: SignedIn, reader: UseReader) -> Upload:
    """Find the upload that a route is about.

    Raises:
        NotFound: there is none, or it is none of the caller's business.
    """
    found = await reader.upload(upload_id)
    if found is None or not who.user.may_see(found):
        raise NotFound(f"there is no upload {upload_id} of yours", hint="GET /api/v1/uploads lists yours.")
    return found


UploadInSight = Annotated[Upload, Depends(upload_in_sight)]
