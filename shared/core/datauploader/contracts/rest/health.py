"""The gateway's health in REST: what it depends on, and whether that is well."""

from datauploader.contracts.rest.model import Needed, RestModel


class CheckBody(RestModel):
    """One thing that the gateway depends on; `detail` says what is wrong."""

    name: Needed[str]
    ok: Needed[bool]
    detail: str = ""


class Ready(RestModel):
    """All checks together, and each."""

    ok: Needed[bool]
    checks: list[CheckBody]
