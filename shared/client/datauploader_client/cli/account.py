"""Commands about who is working: login, logout, whoami."""

import socket
import sys
import webbrowser
from typing import Annotated
from urllib.parse import quote, urlsplit

import typer

from datauploader.contracts.rest.session import MeBody, NewToken
from datauploader.errors import BadRequest, GatewayUnreachable, SignInNeeded
from datauploader.runtime.config import ClientSettings, load
from datauploader.wording import local, safe
from datauploader_client.cli import screen
from datauploader_client.cli.credentials import (
    StoredLogin,
    forget_login,
    gateway_url,
    open_gateway,
    read_login,
    store_login,
)
from datauploader_client.cli.exits import Code
from datauploader_client.cli.options import AsJson, AtGateway
from datauploader_client.gateway_client import GatewayClient

app = typer.Typer()


@app.command()
def login(
    url: Annotated[str, typer.Argument(metavar="[URL]", help="Address of the gateway; it is remembered.")] = "",
    *,
    user: Annotated[str, typer.Option("--user", "-u", help="Your user name; asked for if not given.")] = "",
    vuo_session: Annotated[
        bool, typer.Option("--vuo-session", help="Sign in with a session: the VUO's cookie, SciCat's token, ICAT's.")
    ] = False,
    catalogue: Annotated[
        bool, typer.Option("--catalogue", help="Sign in with your name and password of the catalogue (SciCat, ICAT).")
    ] = False,
    web: Annotated[bool, typer.Option("--web", help="Sign in on the web page and paste a token.")] = False,
    json: AsJson = False,
) -> None:
    """Sign in and store a token. The password, cookie or token is asked for, or read from standard input."""
    settings = load(ClientSettings)
    address = gateway_url(settings, url)
    if urlsplit(address).scheme == "http" and urlsplit(address).hostname not in ("localhost", "127.0.0.1", "::1"):
        screen.warn(f"{address} is not encrypted: others on the network can read what you type.")
    method = "catalogue" if catalogue else "local" if user else "vuo" if vuo_session else _by_password(address)
    if web or not method:
        made: NewToken | MeBody
        token, made = _from_page(address)
    else:
        if method == "vuo":
            session = screen.ask("Session (the VUO: cookie vuo_session)", hidden=True)
            credentials = {"method": method, "vuo_session": session}
        else:
            name = user or screen.ask("Name", hidden=False)
            credentials = {"method": method, "username": name, "password": screen.ask("Password", hidden=True)}
        with GatewayClient(address) as gateway:
            made = gateway.new_token(credentials, _purpose())
        token = made.token
    path = store_login(settings, StoredLogin(gateway=address, token=token))
    if json:
        screen.as_json({"gateway": address, "user": made.user.model_dump(), "expires": made.expires})
        return
    until = f" until {local(made.expires)}" if made.expires else ""
    screen.say(f"Signed in at {address} as {safe(made.user.name or made.user.id)}{until}.")
    screen.say(f"The token is in {path}, readable only by you; datauploader logout removes it.")


def _by_password(address: str) -> str:
    """Return the method by which names and passwords are the way to sign in; "" where the facility has its own way."""
    with GatewayClient(address) as gateway:
        ways = gateway.ways()
    if ways.oidc is not None:
        return ""
    return "local" if ways.local else "catalogue" if ways.catalogue and ways.catalogue.password else ""


def _from_page(address: str) -> tuple[str, MeBody]:
    """Have a token made in the browser, where any way to sign in works, and see that it is good."""
    page = f"{address}/token?name={quote(_purpose())}"
    screen.warn("Open this page in a browser, sign in, create a token, and paste it here:")
    screen.link(page)
    if sys.stdin.isatty():
        webbrowser.open(page)
    token = screen.ask("Token", hidden=True).strip()
    with GatewayClient(address, token) as gateway:
        me = gateway.me()
    if me.signed_in_by != "token":
        raise BadRequest("that is not a token of this gateway", f"Create one at {page}; it starts with du_.")
    return token, me


def _purpose() -> str:
    return f"datauploader on {socket.gethostname()}"


@app.command()
def logout() -> None:
    """Revoke the stored token and remove it."""
    settings = load(ClientSettings)
    stored = read_login(settings)
    if stored is None:
        screen.say("You were not signed in.")
        return
    try:
        with GatewayClient(stored.gateway, stored.token) as gateway:
            gateway.revoke_token()
    except SignInNeeded:
        pass  # it is worthless already
    except GatewayUnreachable as error:
        forget_login(settings)
        screen.warn(f"The token was removed from this computer, but remains valid until it expires: {error}")
        raise typer.Exit(Code.PARTLY) from error
    forget_login(settings)
    screen.say(f"Signed out at {stored.gateway}.")


@app.command()
def whoami(*, gateway: AtGateway = "", json: AsJson = False) -> None:
    """Show who is signed in."""
    with open_gateway(gateway) as connection:
        me = connection.me()
    if json:
        screen.as_json(me)
        return
    until = f" until {local(me.expires)}" if me.expires else ""
    screen.say(f"{safe(me.user.name)} ({safe(me.user.id)}), {safe(me.user.role)}, at {connection.url}{until}")
