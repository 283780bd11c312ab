"""The gateway's part of the generated documents: OpenAPI, as `GET /api/v1/openapi.json` answers it, and as a page."""

import json

from datauploader_gateway.application import Running, build
from datauploader_gateway.routes_page import routes_page
from datauploader_gateway.settings import GatewaySettings

OPENAPI = "docs/reference/openapi.json"
ROUTES = "docs/reference/routes.md"


def documents() -> dict[str, str]:
    """Return the documents by their paths below the top of the source tree."""
    document = build(GatewaySettings.model_construct(), _nothing).openapi()
    return {OPENAPI: json.dumps(document, indent=2, ensure_ascii=False) + "\n", ROUTES: routes_page(document)}


def _nothing() -> Running:
    raise AssertionError("a document is no running gateway")
