"""The management API as tests use it: virtual hosts, queues and connections, made and broken on purpose."""

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx


class Management:
    """Speak to the management API of a broker as its administrator."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._url = f"{url}/api"
        self._user = user
        self._auth = (user, password)

    def answers(self) -> bool:
        """Say whether the API serves yet."""
        try:
            return self._call("GET", "overview").is_success
        except httpx.TransportError:
            return False

    def get(self, *path: str) -> Any:
        """Read anything, by the words of its path."""
        return self._call("GET", *path).raise_for_status().json()

    def put(self, *path: str, body: Mapping[str, Any] | None = None) -> None:
        """Create or replace anything, by the words of its path."""
        self._call("PUT", *path, body=body or {}).raise_for_status()

    def post(self, *path: str, body: Mapping[str, Any]) -> Any:
        """Ask for something to be done, by the words of its path."""
        return self._call("POST", *path, body=body).raise_for_status().json()

    def delete(self, *path: str) -> None:
        """Delete anything, by the words of its path."""
        self._call("DELETE", *path).raise_for_status()

    def create_vhost(self, name: str) -> None:
        """Create a virtual host that the administrator may use."""
        self.put("vhosts", name)
        self.put("permissions", name, self._user, body={"configure": ".*", "write": ".*", "read": ".*"})

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host with everything in it."""
        self.delete("vhosts", name)

    def delete_queue(self, vhost: str, name: str) -> None:
        """Delete a queue under the feet of whoever uses it."""
        self.delete("queues", vhost, name)

    def queues(self, vhost: str) -> list[dict[str, Any]]:
        """List the queues of a virtual host."""
        found: list[dict[str, Any]] = self.get("queues", vhost)
        return found

    def publish(self, vhost: str, exchange: str, body: bytes, properties: Mapping[str, Any], key: str = "") -> None:
        """Publish a message as another program would."""
        said = {
            "properties": properties,
            "routing_key": key,
            "payload": base64.b64encode(body).decode(),
            "payload_encoding": "base64",
        }
        self._call("POST", "exchanges", vhost, exchange, "publish", body=said).raise_for_status()

    def create_user(self, vhost: str, name: str, password: str, *, configure: str, write: str, read: str) -> None:
        """Create an account that may do only this, in one virtual host."""
        self.put("users", name, body={"password": password, "tags": ""})
        self.put("permissions", vhost, name, body={"configure": configure, "write": write, "read": read})

    def close_connections(self, vhost: str | None = None) -> int:
        """Close all connections (of one virtual host), and say how many there were."""
        listed = self.get("connections") if vhost is None else self.get("vhosts", vhost, "connections")
        for connection in listed:
            self._call("DELETE", "connections", connection["name"], reason="closed by a test")
        return len(listed)

    def _call(
        self, method: str, *path: str, body: Mapping[str, Any] | None = None, reason: str | None = None
    ) -> httpx.Response:
        url = "/".join([self._url, *(quote(word, safe="") for word in path)])
        headers = {"X-Reason": reason} if reason else {}
        # Plain HTTP on loopback: without `verify` each call would load the machine's certificates first.
        return httpx.request(
            method,
            url,
            json=body,
            headers=headers,
            auth=self._auth,
            timeout=30,
            trust_env=False,
            verify=False,
        )
