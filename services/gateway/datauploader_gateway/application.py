"""The web application: routes, what surrounds them, and what OpenAPI says about them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles
from redis.asyncio import Redis
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse

from datauploader_gateway.auth.authentication import Authentication, Caller
from datauploader_gateway.auth.oidc.provider import Provider
from datauploader_gateway.auth.stream_monitor import StreamSessionMonitor
from datauploader_gateway.desktop import pages as desktop_pages
from datauploader_gateway.desktop.one_time_login import DesktopAccess
from datauploader_gateway.features.audit_trail import api as audit_trail_api
from datauploader_gateway.features.audit_trail import pages as audit_trail_pages
from datauploader_gateway.features.audits import api as audits_api
from datauploader_gateway.features.audits import pages as audits_pages
from datauploader_gateway.features.descriptions import api as descriptions_api
from datauploader_gateway.features.descriptions import pages as descriptions_pages
from datauploader_gateway.features.investigations import api as investigations_api
from datauploader_gateway.features.investigations import pages as investigations_pages
from datauploader_gateway.features.mail import api as mail_api
from datauploader_gateway.features.mail import pages as mail_pages
from datauploader_gateway.features.mail.sender import MailSender
from datauploader_gateway.features.metadata import api as metadata_api
from datauploader_gateway.features.metadata import pages as metadata_pages
from datauploader_gateway.features.new_upload import api as new_upload_api
from datauploader_gateway.features.new_upload import pages as new_upload_pages
from datauploader_gateway.features.operations import api as operations_api
from datauploader_gateway.features.operations import pages as operations_pages
from datauploader_gateway.features.receipts import api as receipts_api
from datauploader_gateway.features.receipts import pages as receipts_pages
from datauploader_gateway.features.sign_in import api as sign_in_api
from datauploader_gateway.features.sign_in import pages as sign_in_pages
from datauploader_gateway.features.uploads import api as uploads_api
from datauploader_gateway.features.uploads import pages as uploads_pages
from datauploader_gateway.http import problems, rendering, visitor
from datauploader_gateway.http.help_pages import HelpPages
from datauploader_gateway.http.middleware import RequestMiddleware
from datauploader_gateway.projection.live import LiveStreams
from datauploader_gateway.settings import GatewaySettings

API = "/api/v1"
_DESCRIPTION = """The one door for people: sign-in, uploads, live events. See docs/rest.md for the whole picture."""

_REST = (
    sign_in_api.router,
    sign_in_pages.provider,
    sign_in_api.provider,
    sign_in_api.tokens,
    sign_in_api.people,
    investigations_api.router,
    new_upload_api.router,
    mail_api.router,
    receipts_api.router,
    metadata_api.router,
    audit_trail_api.router,
    uploads_api.throughput,
    descriptions_api.router,
    audits_api.router,
    uploads_api.router,
    new_upload_api.trials,
    uploads_api.events,
    operations_api.router,
)
_PAGES = (
    sign_in_pages.router,
    receipts_pages.router,
    metadata_pages.router,
    mail_pages.router,
    audit_trail_pages.router,
    new_upload_pages.router,
    audits_pages.router,
    uploads_pages.router,
    descriptions_pages.router,
    investigations_pages.router,
    operations_pages.router,
    desktop_pages.router,
)
"""In this order: an address that one page names is not to be taken for the action of another."""


def _all_routes() -> APIRouter:
    every = APIRouter()
    for router in _REST:
        every.include_router(router, prefix=API)
    every.include_router(operations_api.probes)
    for router in _PAGES:
        every.include_router(router)
    return every


_ROUTES = _all_routes()
"""Of every application of this process: FastAPI works out what each route takes at the first request, in 0.3 s."""


@dataclass(frozen=True, slots=True)
class Running:
    """What belongs to the event loop that serves the application: begun and ended with it."""

    live: LiveStreams
    monitor: StreamSessionMonitor[Caller]
    authentication: Authentication
    mail: MailSender
    provider: Provider | None
    """The identity provider, where there is one."""
    redis: Redis
    provided: tuple[object, ...]
    """What routes depend on (`http.dependencies.use`), one object of each class."""


class GatewayApp(FastAPI):
    """FastAPI whose OpenAPI document tells the truth about errors."""

    def openapi(self) -> dict[str, Any]:
        """Return the document."""
        if self.openapi_schema is None:
            self.openapi_schema = problems.describe(super().openapi())
        return self.openapi_schema


def build(settings: GatewaySettings, make: Callable[[], Running]) -> GatewayApp:
    """Put the application together; `make` is called in the event loop that serves it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        running = make()
        app.state.provided = {type(one): one for one in (*running.provided, running.authentication)}
        app.state.desktop = DesktopAccess in app.state.provided
        running.live.start()
        running.monitor.start(running.authentication.still_signed_in)
        running.mail.start()
        yield
        running.monitor.close()
        running.live.close()
        await running.mail.close()
        if running.provider is not None:
            await running.provider.close()
        await running.redis.aclose()

    app = GatewayApp(
        title="DataUploader gateway",
        version=version("ceric-datauploader-gateway"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.router.routes.extend(_ROUTES.routes)
    app.mount("/static", StaticFiles(packages=[(rendering.__package__, "static")]), name="static")
    app.mount("/help", HelpPages(), name="help")

    async def openapi_document(_request: Request) -> JSONResponse:
        return JSONResponse(app.openapi())

    async def to_help(_request: Request) -> RedirectResponse:
        return RedirectResponse("/help/")

    app.add_route("/help", to_help, include_in_schema=False)
    app.add_route(f"{API}/openapi.json", openapi_document, include_in_schema=False)
    problems.install(app)
    app.add_exception_handler(visitor.MustSignInError, visitor.send_to_sign_in)
    app.add_middleware(RequestMiddleware, secure=settings.secure)
    return app
