"""The help that the gateway serves: for anybody, from one folder alone, and a sentence where it is not installed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from datauploader_gateway.http import problems
from datauploader_gateway.http.help_pages import FOLDER, HelpPages
from datauploader_gateway.http.middleware import RequestMiddleware
from datauploader_gateway.http.server import WebServer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A help of one page, beside a file that is not of it."""
    (tmp_path / "secret.txt").write_text("secret")
    return tmp_path / "help"


@pytest.fixture
def client(folder: Path) -> Iterator[httpx.Client]:
    """Somebody who asks for pages of that help, as the gateway mounts it."""
    app = FastAPI()
    app.state.desktop = False
    problems.install(app)
    app.mount("/help", HelpPages(folder))
    app.add_middleware(RequestMiddleware, secure=False)
    server = WebServer(app, "127.0.0.1", 0, trusted_proxies=())
    server.start()
    with httpx.Client(base_url=server.url, trust_env=False, verify=False) as client:
        yield client
    server.stop(5)


def build(folder: Path) -> None:
    """Do what `./dev site` does, in small."""
    (folder / "search").mkdir(parents=True)
    (folder / "operations").mkdir()
    (folder / "index.html").write_text("<h1>Help</h1>")
    (folder / "operations" / "index.html").write_text("<h1>Operations</h1>")
    (folder / "search" / "search_index.json").write_text('{"docs": []}')


def test_pages_and_the_index_of_the_search_are_there_for_anybody(folder: Path, client: httpx.Client) -> None:
    """Who cannot sign in needs help as well; pages are asked for again after an upgrade."""
    build(folder)
    page = client.get("/help/")
    assert (page.status_code, page.text) == (200, "<h1>Help</h1>")
    assert page.headers["cache-control"] == "no-cache"
    assert client.get("/help/operations/").text == "<h1>Operations</h1>"
    assert client.get("/help/search/search_index.json").json() == {"docs": []}
    assert client.get("/help/", headers={"If-None-Match": page.headers["etag"]}).status_code == 304
    assert client.post("/help/").status_code == 405


def test_a_folder_without_its_slash_leads_to_the_page_at_whatever_address_it_was_asked(
    folder: Path, client: httpx.Client
) -> None:
    """A proxy in front has another name and scheme."""
    build(folder)
    assert client.get("/help/operations").headers["location"] == "/help/operations/"


def test_scripts_run_from_files_alone_and_pictures_may_stand_in_the_style(folder: Path, client: httpx.Client) -> None:
    """The policy is that of all pages, but for the theme's icons."""
    build(folder)
    policy = dict(rule.split(" ", 1) for rule in client.get("/help/").headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["img-src"] == "'self' data:"
    assert policy["frame-ancestors"] == "'none'"


def test_an_address_without_a_page_is_told_with_the_way_to_the_search(folder: Path, client: httpx.Client) -> None:
    """A link of an older release says where to go on."""
    build(folder)
    answer = client.get("/help/nowhere")
    assert answer.status_code == 404
    assert "The help has no page /help/nowhere." in answer.text
    assert "It begins at /help/" in answer.text


@pytest.mark.parametrize(
    "path",
    ["%2e%2e/secret.txt", "..%2fsecret.txt", "operations/..%2f..%2fsecret.txt", "%2fetc/passwd"],
)
@pytest.mark.attack("S1")
def test_nothing_outside_of_the_help_is_reached(folder: Path, client: httpx.Client, path: str) -> None:
    """However the way up is written."""
    build(folder)
    answer = client.get(f"/help/{path}")
    assert answer.status_code == 404
    assert "secret" not in answer.text.replace("secret.txt", "")


def test_where_the_help_is_not_installed_a_sentence_says_what_builds_it(folder: Path, client: httpx.Client) -> None:
    """A checkout has none; once it is built, nothing is started again."""
    answer = client.get("/help/")
    assert answer.status_code == 404
    assert "The help is not installed here." in answer.text
    assert "./dev site" in answer.text
    build(folder)
    assert client.get("/help/").status_code == 200


def test_the_gateway_has_the_help_and_its_pages_lead_to_it(facility: Any) -> None:
    """From the page to sign in as well."""
    client = facility.client()
    assert client.get("/help", follow_redirects=False).headers["location"] == "/help/"
    assert client.get("/help/").status_code == (200 if (FOLDER / "index.html").is_file() else 404)
    assert 'href="/help/"' in client.get("/sign-in").text
    assert 'href="/help/"' in facility.client("anna").get("/").text
