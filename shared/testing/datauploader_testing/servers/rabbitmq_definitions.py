"""A definitions file keeps a broker from making its default user, so the administrator is written into it."""

import base64
import hashlib
import secrets
from typing import Any


def with_administrator(definitions: dict[str, Any], user: str, password: str) -> dict[str, Any]:
    """Add an administrator with all rights in every virtual host of the definitions."""
    vhosts = definitions.get("vhosts") or [{"name": "/"}]
    rights = [
        {"user": user, "vhost": vhost["name"], "configure": ".*", "write": ".*", "read": ".*"} for vhost in vhosts
    ]
    administrator = {
        "name": user,
        "password_hash": password_hash(password),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": ["administrator"],
    }
    return definitions | {
        "vhosts": vhosts,
        "users": [*definitions.get("users", []), administrator],
        "permissions": [*definitions.get("permissions", []), *rights],
    }


def password_hash(password: str) -> str:
    """Hash a password as RabbitMQ does: base64(salt + sha256(salt + password)) with 4 bytes of salt."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
