"""Proxies of the environment, which our services do not use: what they send holds secrets, so settings name the way."""

import os

_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")


def hint(setting: str) -> str:
    """Say which setting names a proxy, where the environment has one and something does not answer; else ""."""
    found = [name for name in _VARIABLES if os.environ.get(name)]
    return f" {found[0]} of the environment is not used here: if a proxy is on the way, set {setting}." if found else ""
