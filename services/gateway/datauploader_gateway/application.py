"""The web application: routes, what surrounds them, and what OpenAPI says about them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.requests import Request
from starlette.responses import JSONResponse

from datauploader_gateway.auth.dependency import still_signed_in
from datauploader_gateway.desktop import pages as desktop_pages
from datauploader_gateway.features.audit_trail import api as audit_trail_api
from datauploader_gateway.features.audit_trail import pages as audit_trail_pages
from datauploader_gateway.features.audits import api as audits_api
from datauploader_gateway.features.audits import pages as audits_pages
from datauploader_gateway.features.descriptions import api as descriptions_api
from datauploader_gateway.features.descriptions import pages as descriptions_pages
from datauploader_gateway.features.investigations import api as investigations_api
from datauploader_gateway.features.investigations import pages as investigations_pages
from datauploader_gateway.features.mail import api as mail_api
from datauploader_gateway.features.new_upload import choices, previews
from datauploader_gateway.features.new_upload import pages as new_upload_pages
from datauploader_gateway.features.operations import api as operations_api
from datauploader_gateway.features.operations import pages as operations_pages
from datauploader_gateway.features.receipts import api as receipts_api
from datauploader_gateway.features.receipts import pages as receipts_pages
from datauploader_gateway.features.sign_in import api as sign_in_api
from datauploader_gateway.features.sign_in import oidc, people, token_page, tokens
from datauploader_gateway.features.sign_in import pages as sign_in_pages
from datauploader_gateway.features.uploads import api as uploads_api
from datauploader_gateway.features.uploads import charts, history, live, throughput
from datauploader_gateway.features.uploads import pages as uploads_pages
from datauploader_gateway.http import health, problems, rendering, visitor
from datauploader_gateway.http.middleware import RequestMiddleware
from datauploader_gateway.http.parts import Parts
from datauploader_gateway.settings import GatewaySettings

API = "/api/v1"
_DESCRIPTION = """The one door for people: sign-in, uploads, live events. See docs/rest.md for the whole picture."""

_REST = (
    sign_in_api.router,
    oidc.router,
    tokens.router,
    people.router,
    investigations_api.router,
    choices.router,
    mail_api.router,
    receipts_api.router,
    audit_trail_api.router,
    throughput.router,
    descriptions_api.router,
    audits_api.router,
    uploads_api.router,
    previews.router,
    live.router,
    operations_api.router,
)
_PAGES = (
    sign_in_pages.router,
    receipts_pages.router,
    history.router,
    audit_trail_pages.router,
    charts.router,
    new_upload_pages.router,
    audits_pages.router,
    uploads_pages.router,
    descriptions_pages.router,
    investigations_pages.router,
    token_page.router,
    operations_pages.router,
    desktop_pages.router,
)
"""In this order: an address that one page names is not to be taken for the action of another."""


class GatewayApp(FastAPI):
    """FastAPI whose OpenAPI document tells the truth about errors."""

    def openapi(self) -> dict[str, Any]:
        """Return the document."""
        if self.openapi_schema is None:
            self.openapi_schema = problems.describe(super().openapi())
        return self.openapi_schema


def build(settings: GatewaySettings, make_parts: Callable[[], Parts]) -> GatewayApp:
    """Put the application together; `make_parts` is called in the event loop that serves it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        parts: Parts = make_parts()
        app.state.parts = parts
        parts.live.start()
        parts.guard.start(partial(still_signed_in, parts))
        parts.post.start()
        yield
        parts.guard.close()
        parts.live.close()
        await parts.post.close()
        if parts.provider is not None:
            await parts.provider.close()
        await parts.redis.aclose()

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
    for router in _REST:
        app.include_router(router, prefix=API)
    app.include_router(health.router)
    for router in _PAGES:
        app.include_router(router)
    app.mount("/static", StaticFiles(packages=[(rendering.__package__, "static")]), name="static")

    async def openapi_document(_request: Request) -> JSONResponse:
        return JSONResponse(app.openapi())

    app.add_route(f"{API}/openapi.json", openapi_document, include_in_schema=False)
    problems.install(app)
    app.add_exception_handler(visitor.MustSignInError, visitor.send_to_sign_in)
    app.add_middleware(RequestMiddleware, secure=settings.secure)
    return app
