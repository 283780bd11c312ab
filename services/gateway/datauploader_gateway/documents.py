"""The gateway's part of the generated documents: OpenAPI, as `GET /api/v1/openapi.json` answers it."""

import json

from datauploader_gateway.application import Running, build
from datauploader_gateway.settings import GatewaySettings

OPENAPI = "docs/reference/openapi.json"


def documents() -> dict[str, str]:
    """Return the documents by their paths below the top of the source tree."""
    app = build(GatewaySettings.model_construct(), _nothing)
    return {OPENAPI: json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n"}


def _nothing() -> Running:
    raise AssertionError("a document is no running gateway")
