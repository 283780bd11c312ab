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

from datauploader_gateway import problems
from datauploader_gateway.auth.dependency import still_signed_in
from datauploader_gateway.middleware import RequestMiddleware
from datauploader_gateway.parts import Parts
from datauploader_gateway.routes import (
    audit,
    audits,
    choices,
    descriptions,
    events,
    health,
    investigations,
    mails,
    oidc,
    operations,
    people,
    previews,
    receipts,
    session,
    throughput,
    tokens,
    uploads,
)
from datauploader_gateway.settings import GatewaySettings
from datauploader_gateway.web import audit as audit_page
from datauploader_gateway.web import audits as audits_page
from datauploader_gateway.web import (
    charts,
    describing,
    desktop,
    history,
    new,
    receipt,
    rendering,
    sign_in,
    token,
    visitor,
)
from datauploader_gateway.web import investigations as investigation_pages
from datauploader_gateway.web import operations as operations_page
from datauploader_gateway.web import uploads as uploads_pages

API = "/api/v1"
_DESCRIPTION = """The one door for people: sign-in, uploads, live events. See docs/rest.md for the whole picture."""

_REST = (
    session.router,
    oidc.router,
    tokens.router,
    people.router,
    investigations.router,
    choices.router,
    mails.router,
    receipts.router,
    audit.router,
    throughput.router,
    descriptions.router,
    audits.router,
    uploads.router,
    previews.router,
    events.router,
    operations.router,
)
_PAGES = (
    sign_in.router,
    receipt.router,
    history.router,
    audit_page.router,
    charts.router,
    new.router,
    audits_page.router,
    uploads_pages.router,
    describing.router,
    investigation_pages.router,
    token.router,
    operations_page.router,
    desktop.router,
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
