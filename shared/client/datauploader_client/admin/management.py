"""RabbitMQ's management API, as far as registrations need it; https://www.rabbitmq.com/docs/management#http-api."""

import ssl
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx

from datauploader.errors import BrokerRefused, BrokerUnreachable, ConfigurationError

_PATIENCE_S = 60.0
"""How long a broker may take to load all definitions."""
_CLOSING_S = 15.0
_LOOK_S = 0.2
_NOT_FOUND, _UNAUTHORIZED, _FORBIDDEN = 404, 401, 403


class BrokerManagement:
    """The broker as its administrator sees it."""

    def __init__(self, url: str, user: str, password: str, *, ca_file: Path | None = None) -> None:
        """Speak to the API at this address, such as `http://127.0.0.1:15672`.

        Raises:
            ConfigurationError: the address or the file of certificates is wrong.
        """
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ConfigurationError(f"{url!r} is not the address of a management page; it is like http://host:15672")
        try:
            tls = url.startswith("https:")
            context = ssl.create_default_context(cafile=ca_file) if tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        except OSError as error:
            raise ConfigurationError(f"the certificates in {ca_file} cannot be used: {error}") from error
        self._url, self._user = url.rstrip("/"), user
        self._client = httpx.Client(auth=(user, password), timeout=_PATIENCE_S, verify=context, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def check(self) -> None:
        """See that the broker can be reached, and lets us in as an administrator.

        Raises:
            BrokerUnreachable: it cannot.
            BrokerRefused: it does not.
        """
        tags = self._ask("GET", "whoami").json()["tags"]
        if "administrator" not in tags:
            raise BrokerRefused(f"the broker's user {self._user} is no administrator there; {_ONCE}")

    def load(self, definitions: Mapping[str, Any]) -> None:
        """Make everything that the definitions say; nothing is deleted, and nobody's connection is touched."""
        self._ask("POST", "definitions", body=definitions)

    def delete_user(self, name: str) -> None:
        """Let this user in no more."""
        self._ask("DELETE", "users", name, missing=True)

    def connections(self, user: str) -> list[str]:
        """Name the connections that this user has open."""
        answer = self._ask("GET", "connections", "username", user, missing=True)
        return [] if answer.status_code == _NOT_FOUND else [one["name"] for one in answer.json()]

    def close_connections(self, user: str, reason: str) -> int:
        """Close all connections of this user, also those that were being opened; return how many."""
        closed: set[str] = set()
        end = time.monotonic() + _CLOSING_S
        while names := self.connections(user):
            if time.monotonic() > end:
                raise BrokerRefused(
                    f"the broker still has open connections of {user}: {', '.join(names)}; run it again"
                )
            for name in names:
                self._ask("DELETE", "connections", name, missing=True, reason=reason)
            closed.update(names)
            time.sleep(_LOOK_S)  # the broker says a moment later that they are gone
        return len(closed)

    def disabled_feature_flags(self) -> list[str]:
        """Name the stable feature flags that are not enabled: the next release may not start without them."""
        flags = self._ask("GET", "feature-flags").json()
        return sorted(one["name"] for one in flags if one["stability"] == "stable" and one["state"] != "enabled")

    def has_queue(self, name: str) -> bool:
        """Tell whether this queue is there."""
        return self._ask("GET", "queues", "/", name, missing=True).status_code != _NOT_FOUND

    def holds_messages(self, queue: str) -> bool:
        """Tell whether a message waits in this queue at this moment; the counts of the API are some seconds old."""
        look = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto", "truncate": 1}
        return bool(self._ask("POST", "queues", "/", queue, "get", body=look).json())

    def keep_bindings(self, queue: str, exchange: str, keys: Collection[str]) -> None:
        """Remove what else this exchange gives to this queue: loading definitions takes nothing away."""
        path = ("bindings", "/", "e", exchange, "q", queue)
        answer = self._ask("GET", *path, missing=True)
        for binding in () if answer.status_code == _NOT_FOUND else answer.json():
            if binding["routing_key"] not in keys:
                self._ask("DELETE", *path, binding["properties_key"], missing=True)

    def delete_queue(self, name: str) -> None:
        """Delete this queue with what is in it."""
        self._ask("DELETE", "queues", "/", name, missing=True)

    def _ask(
        self, method: str, *path: str, body: Mapping[str, Any] | None = None, missing: bool = False, reason: str = ""
    ) -> httpx.Response:
        url = "/".join([f"{self._url}/api", *(quote(word, safe="") for word in path)])
        headers = {"X-Reason": reason} if reason else {}
        try:
            answer = self._client.request(method, url, json=body, headers=headers)
        except httpx.TransportError as error:
            raise BrokerUnreachable(
                f"the broker's management API at {self._url} cannot be reached ({error}); start the broker, or name "
                "the address with --management"
            ) from error
        if answer.status_code == _UNAUTHORIZED:
            raise BrokerRefused(f"the broker does not let the user {self._user} in; {_ONCE}")
        if answer.is_success or (missing and answer.status_code == _NOT_FOUND):
            return answer
        what = f"the user {self._user} may not do that" if answer.status_code == _FORBIDDEN else _reason(answer)
        raise BrokerRefused(f"the broker refused {method} {'/'.join(path)}: {what}")


_ONCE = (
    "load its account once: ./admin apply --offline, then docker compose exec -T rabbitmq rabbitmqctl "
    "import_definitions < deploy/site/broker/definitions.json"
)


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["reason"])[:500]
    except (ValueError, KeyError, TypeError):
        return f"HTTP status {answer.status_code}"
