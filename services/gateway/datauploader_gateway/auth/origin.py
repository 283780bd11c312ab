"""Whether a browser's request comes from the gateway's own pages; decided by configuration, never by `Host`."""

from collections.abc import Mapping

from datauploader_gateway.errors import ForeignOrigin
from datauploader_gateway.settings import GatewaySettings

_SAFE = ("GET", "HEAD", "OPTIONS")


def own_origins(settings: GatewaySettings, port: int) -> frozenset[str]:
    """List what `Origin` says on the gateway's own pages."""
    own = {settings.public_url} if settings.public_url else set()
    if settings.is_loopback:
        own |= {f"http://{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]")}
    return frozenset(own)


def is_visit(method: str, headers: Mapping[str, str]) -> bool:
    """Tell whether a person comes to a page, by a link in a mail or from the identity provider, wherever that lies.

    Browsers alone set these headers (https://www.w3.org/TR/fetch-metadata/); scripts and forms of other sites say
    something else in them, and a frame is no document.
    """
    way = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
    return method in _SAFE and way == ("navigate", "document") and "origin" not in headers


def check_origin(method: str, headers: Mapping[str, str], own: frozenset[str], *, proven: bool) -> None:
    """Refuse what another site's page sent.

    Args:
        method: the HTTP method.
        headers: of the request, names in lower case.
        own: see `own_origins`.
        proven: an unsafe method must show where it comes from, because a cookie vouches for it.

    Raises:
        ForeignOrigin: it comes from elsewhere, or does not say where from although it must.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if origin is not None and origin not in own:
        raise ForeignOrigin(f"a page of {origin[:100]} must not use this interface")
    if site is not None and site not in ("same-origin", "none"):
        raise ForeignOrigin("a page of another site must not use this interface")
    if proven and method not in _SAFE and origin is None and site is None:
        raise ForeignOrigin("the request does not say which page it comes from")
