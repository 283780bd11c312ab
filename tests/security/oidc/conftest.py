"""An issuer that signs whatever a test wants, and gateways that trust it as their facility's identity provider."""

import json
import ssl
import threading
import time
import types
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from argon2 import PasswordHasher
from joserfc import jwt
from joserfc.jwk import RSAKey

from datauploader.messaging.memory.bus import MemoryBroker
from datauploader.messaging.topology import catalog_queue, transfer_queue, watcher_queue
from datauploader.runtime.config import Settings
from datauploader.runtime.service import Context
from datauploader_gateway import redis_client
from datauploader_gateway.service import GatewayService
from datauploader_gateway.settings import GatewaySettings
from datauploader_testing.waiting import eventually

CLIENT, AUDIENCE = "datauploader", "https://upload.facility.eu/api"
PASSWORD = "correct horse"
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


class Issuer:
    """A small identity provider on loopback, honest or not as a test wants; it counts what it is asked."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "first", "use": "sig"})
        self.asked: list[str] = []
        self.away = False
        self.answer: dict[str, Any] = {}
        """What the token endpoint says."""
        self.form: dict[str, list[str]] = {}
        """What the token endpoint was sent last."""
        self.userinfo: dict[str, Any] = {}
        """What is said of a person beside the ID token; nothing unless a test wants it."""
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                self._say(issuer.pages().get(self.path))

            def do_POST(self) -> None:
                issuer.asked.append(self.path)
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                issuer.form = parse_qs(body)
                self._say(issuer.answer)

            def _say(self, said: Any) -> None:
                body = json.dumps(said).encode()
                self.send_response(503 if issuer.away else 200 if said is not None else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def pages(self) -> dict[str, Any]:
        """Return what can be read here."""
        url = self.url
        more = {"userinfo_endpoint": f"{url}/userinfo"} if self.userinfo else {}
        return {
            "/userinfo": self.userinfo,
            "/.well-known/openid-configuration": {
                "issuer": url, "authorization_endpoint": f"{url}/authorize", "token_endpoint": f"{url}/token",
                "jwks_uri": f"{url}/jwks", "end_session_endpoint": f"{url}/end", **more,
            },
            "/jwks": {"keys": [self.key.as_dict(private=False)]},
        }  # fmt: skip

    def rotate(self, name: str) -> None:
        """Sign with a new key."""
        self.key = RSAKey.generate_key(2048, {"kid": name, "use": "sig"})

    def fetches(self, path: str = "/jwks") -> int:
        """Count how often something was asked for."""
        return self.asked.count(path)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a sound access token; None takes one away."""
        now = int(time.time())
        sound = {"iss": self.url, "aud": AUDIENCE, "sub": "anna", "iat": now, "exp": now + 300, "groups": ["users"]}
        return {name: value for name, value in (sound | changes).items() if value is not None}

    def token(self, head: dict[str, Any] | None = None, **changes: Any) -> str:
        """Sign an access token."""
        return jwt.encode(
            {"alg": "RS256", "kid": self.key.kid, "typ": "at+jwt"} | (head or {}), self.claims(**changes), self.key
        )

    def id_token(self, told_nonce: str, **changes: Any) -> str:
        """Sign an ID token."""
        return self.token({"typ": "JWT"}, **{"aud": CLIENT, "nonce": told_nonce, **changes})


class Door:
    """A gateway that trusts an issuer."""

    def __init__(self, directory: Path, issuer: Issuer, redis_url: str = "", **settings: Any) -> None:
        accounts = directory / "accounts.toml"
        accounts.write_text(f'[[account]]\nname = "otto"\nuser_id = "otto"\nrole = "operator"\npassword = "{HASH}"\n')
        self.redis_url = redis_url or f"memory://{uuid.uuid4()}"
        broker = MemoryBroker.shared(f"memory://{uuid.uuid4()}")
        common = Settings(facility="elettra", beamline="xrd1", station="server", state_dir=directory)
        broker.declare(catalog_queue())
        for queue in (watcher_queue, transfer_queue):
            broker.declare(queue(common.here))
        provider = {"issuer": issuer.url, "client_id": CLIENT, "audience": AUDIENCE} | settings.pop("oidc", {})
        found: dict[str, Any] = {"port": 0, "redis": self.redis_url, "accounts": accounts, "watch_interval_s": 0.05}
        self.gateway = GatewayService(
            Context(common, broker.bus("gateway")), GatewaySettings(**found | settings, oidc=provider)
        )
        self.gateway.start()
        self.url = self.gateway.url
        self._clients: list[httpx.Client] = []

    def client(self, **headers: str) -> httpx.Client:
        """Return a browser or a program."""
        said = {"Origin": self.url, **headers}
        client = httpx.Client(base_url=self.url, headers=said, timeout=10, trust_env=False, verify=False)
        self._clients.append(client)
        return client

    def bearer(self, token: str) -> httpx.Client:
        """Return a program with a token."""
        return self.client(Authorization=f"Bearer {token}")

    def status(self, token: str) -> int:
        """Tell what the gateway says to a token."""
        return self.bearer(token).get("/api/v1/me").status_code

    def begin(self, client: httpx.Client) -> dict[str, str]:
        """Begin a sign-in; return what the provider would be told."""
        sent = client.get("/api/v1/oidc/start").headers["location"]
        return {name: values[0] for name, values in parse_qs(urlsplit(sent).query).items()}

    def come_back(self, client: httpx.Client, state: str, code: str = "code", **more: str) -> httpx.Response:
        """Come back from the provider."""
        return client.get("/api/v1/oidc/callback", params={"state": state, "code": code, **more})

    def local(self, name: str = "otto") -> httpx.Client:
        """Return the browser of somebody with a local account."""
        client = self.client()
        said = {"method": "local", "username": name, "password": PASSWORD}
        assert client.post("/api/v1/session", json=said).status_code == 200
        return client

    def audited(self) -> list[str]:
        """Return what stands in the book of what people did, and in that of whom nobody let in."""
        client = redis_client.connect(self.redis_url)
        entries = [*client.xrange("datauploader:audit"), *client.xrange("datauploader:audit:refused")]
        return [fields[b"what"].decode() for _, fields in entries]

    def everything_in_redis(self) -> bytes:
        """Return all that Redis holds."""
        stored = redis_client.connect(self.redis_url)
        return b"".join(key + (stored.dump(key) or b"") for key in stored.keys("*"))

    def close(self) -> None:
        """Stop it."""
        for client in self._clients:
            client.close()
        self.gateway.stop(5)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """Give an issuer."""
    made = Issuer()
    yield made
    made.close()


@pytest.fixture
def open_door(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Door]]:
    """Open gateways that trust the issuer, or another one, with settings of one's own."""
    opened: list[Door] = []

    def make(redis_url: str = "", trusted: Issuer | None = None, **settings: Any) -> Door:
        issuer = trusted or request.getfixturevalue("issuer")
        door = Door(tmp_path, issuer, redis_url, **settings)
        opened.append(door)
        return door

    yield make
    for door in opened:
        door.close()


@pytest.fixture
def door(open_door: Callable[..., Door]) -> Door:
    """Give a gateway that trusts the issuer."""
    return open_door()


@pytest.fixture
def scene() -> Any:
    """Return what tests build with, because test modules do not import each other."""
    return types.SimpleNamespace(CLIENT=CLIENT, AUDIENCE=AUDIENCE, Issuer=Issuer, eventually=eventually)
