"""What routes depend on is found in the event loop itself."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from datauploader_gateway import application
from datauploader_gateway.desktop import setup
from datauploader_gateway.settings import GatewaySettings


def calls(dependant: Dependant) -> Iterator[Callable[..., Any]]:
    """Yield what a route calls before its own function."""
    for one in dependant.dependencies:
        if one.call is not None:
            yield one.call
        yield from calls(one)


def test_no_request_waits_for_a_thread_before_it_is_answered() -> None:
    """A dependency that is a plain function costs every request two switches of threads: 10 ms while events come."""
    app = application.build(GatewaySettings(), lambda: None)  # type: ignore[arg-type, return-value]
    routes = [*iter_route_contexts(app.routes), *iter_route_contexts(setup.router.routes)]
    found = {call for route in routes if (tree := getattr(route, "dependant", None)) for call in calls(tree)}
    assert len(found) >= 7
    assert [call.__name__ for call in found if not inspect.iscoroutinefunction(call)] == []
