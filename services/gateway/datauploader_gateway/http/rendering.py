"""Turns what is known into pages and fragments of pages; whatever comes from outside is text there."""

import base64
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates
from markupsafe import Markup, escape

from datauploader.contracts.questions import CatalogueAbout
from datauploader.wording import count, duration, lasting, safe, size, step, timing_notes
from datauploader_gateway.auth.authentication import Authentication, Caller
from datauploader_gateway.auth.oidc import roles
from datauploader_gateway.errors import ProblemResponse
from datauploader_gateway.events.query_client import QueryClient
from datauploader_gateway.http import labels
from datauploader_gateway.http.dependencies import provided
from datauploader_gateway.projection.projection_status import ProjectionStatus


def _words(request: Request) -> dict[str, str]:
    """Call investigations what the catalogue calls them; before the first questions of a desktop there is none."""
    questions = getattr(request.app.state, "provided", {}).get(QueryClient)
    about = questions.about if isinstance(questions, QueryClient) else CatalogueAbout()
    return {"noun": about.investigation}


templates = Jinja2Templates(directory=Path(__file__).parent / "templates", context_processors=[_words])


def page(
    request: Request,
    name: str,
    *,
    who: Caller | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    """Make a whole page with its navigation, for somebody who is signed in, or for nobody."""
    known = {
        "who": who.user if who else None,
        "left_out": who.record.claims.get(roles.LEFT_OUT, ()) if who else (),
        "ways": provided(request, Authentication).ways,
        "view": provided(request, ProjectionStatus),
        "here": request.url.path,
        "version": version("ceric-datauploader-gateway"),
    }
    return templates.TemplateResponse(request, name, known | context, status, headers)


def part(
    request: Request, name: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **context: Any
) -> HTMLResponse:
    """Make a fragment that takes a place in a page that is there already."""
    return templates.TemplateResponse(request, name, context, status, headers)


def fragment(name: str, **context: Any) -> str:
    """Make a fragment that no request asks for, such as one for a stream."""
    return str(templates.get_template(name).render(context))


def asks_for_part(request: Request) -> bool:
    """Tell whether htmx asks, which puts the answer into a page that is there already."""
    return request.headers.get("hx-request") == "true"


def problem(request: Request, problem: ProblemResponse, trace: str = "") -> HTMLResponse:
    """Show what went wrong: as a page, or as a notice on the page from which htmx asked."""
    context = {"who": getattr(request.state, "who", None), "here": request.url.path, "problem": problem, "trace": trace}
    headers = {name: value for name, value in problem.headers.items() if name != "WWW-Authenticate"}
    if asks_for_part(request):
        headers |= {"HX-Retarget": "#notice", "HX-Reswap": "innerHTML show:top"}
        return part(request, "parts/notice.html", status=problem.status, headers=headers, **context)
    return templates.TemplateResponse(request, "problem.html", context, problem.status, headers)


def _when(moment: str | datetime | None) -> Markup:
    """Write a moment in UTC; the browser shows it in the reader's own time."""
    if not moment:
        return Markup()
    known = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    text = known.strftime("%Y-%m-%d %H:%M UTC")
    return Markup('<time datetime="{}">{}</time>').format(known.isoformat(), text)


def _sentence(text: str) -> str:
    """Begin with a capital letter and end with a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".") if text else ""


templates.env.filters |= {
    # a path in base64, whatever its bytes are: a form brings it back unchanged
    "packed": lambda file: file.path_b64 or base64.b64encode(file.path.encode()).decode("ascii"),
    "size": size,
    "duration": duration,
    "lasting": lasting,
    "step": step,
    "timing_notes": timing_notes,
    "count": "{:,}".format,
    "files": lambda number: count(number, "file"),
    "when": _when,
    "sentence": _sentence,
    "safe_text": safe,
    "address": lambda upload: f"/uploads/{upload.id}",
    "state": labels.state,
    "file_state": labels.file_state,
    "share": labels.share,
    "old_view": labels.old_view,
    "safety": labels.safety,
    "spoken": lambda said: escape(said.text).replace("{since}", _when(said.since)),
    "actions": labels.actions,
}
