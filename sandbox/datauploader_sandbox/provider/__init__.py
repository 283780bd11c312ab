"""A real identity provider (the certified `oidc-provider` on Node.js) as a process of its own, and people."""

from datauploader_sandbox.provider.browser import Browser
from datauploader_sandbox.provider.server import IdentityProvider

__all__ = ["Browser", "IdentityProvider"]
