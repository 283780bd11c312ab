"""A browser and facilities with pages, for people who look at them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from datauploader_sandbox.browser.chromium import Chromium
from datauploader_sandbox.browser.site import Site
from datauploader_sandbox.browser.visitor import Visitor
from datauploader_testing.servers import MissingProgramError


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """Give a module's browser: while Playwright runs, its thread has an event loop that other modules' tests cannot."""
    try:
        browser = Chromium()
    except MissingProgramError as missing:
        pytest.fail(str(missing), pytrace=False)
    with browser:
        yield browser


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Give the facility that the tests of a module share; the module's `SITE` holds arguments of `Site`."""
    how = getattr(request.module, "SITE", {})
    try:
        made = Site(tmp_path_factory.mktemp("site"), **how)
    except MissingProgramError as missing:
        pytest.fail(str(missing), pytrace=False)
    with made:
        yield made


@pytest.fixture
def visitor(chromium: Chromium, site: Site) -> Iterator[Callable[..., Visitor]]:
    """Return a function that lets somebody come with a browser of their own; the arguments are `Chromium.place`'s."""
    with ExitStack() as stack:

        def come(name: str = "", goal: str = "/", **how: Any) -> Visitor:
            made = stack.enter_context(Visitor(chromium, site.url, **how))
            if name:
                made.sign_in(name, goal)
            return made

        yield come
