"""The help under `/help`: pages made from docs/ when this package was built, for anybody, without a session."""

from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from datauploader_gateway.errors import NotFound

FOLDER = Path(__file__).parent / "help"
"""Where `./dev site` puts them; no part of a checkout, but of every wheel, image and installer."""


class HelpPages(StaticFiles):
    """Serves the help, or says what to do where it is not."""

    def __init__(self, folder: Path = FOLDER) -> None:
        super().__init__(directory=folder, html=True, check_dir=False)
        self._start = folder / "index.html"

    async def check_config(self) -> None:
        """Look whether the pages are there, until they are.

        Raises:
            NotFound: they are not.
        """
        if not self._start.is_file():
            hint = "In a checkout, ./dev site builds it; packages and images have it. The folder docs has the same."
            raise NotFound("the help is not installed here", hint=hint)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a page.

        Raises:
            NotFound: there is none of this address.
        """
        try:
            answer = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code == HTTPStatus.NOT_FOUND:
                hint = "It begins at /help/, with a search."
                raise NotFound(f"the help has no page {scope['path']}", hint=hint) from None
            raise
        if isinstance(answer, RedirectResponse):  # without the host, which a proxy may have changed
            answer.headers["Location"] = urlsplit(answer.headers["Location"]).path
        return answer
