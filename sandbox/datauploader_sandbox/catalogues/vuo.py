"""VUO's double as a catalogue of the sandbox."""

from pathlib import Path
from typing import Any, ClassVar

from datauploader_sandbox.catalogues.port import ANNA, State, Switches
from datauploader_sandbox.vuo import VuoDouble
from datauploader_sandbox.vuo.seed import default_seed


class VuoSwitches(Switches):
    """VUO's double, whose form is the form of all."""

    _known: ClassVar = {"identify": "vuo_sso.detail", "authorise": "vlab.sm_get_investigation_info"}

    def state(self) -> State:
        """Return what the double tells itself."""
        state: State = self._get("state")
        return state

    def _plan(self, operation: str, kind: str, match: str) -> State:
        kinds: dict[str, State] = {"unavailable": {"kind": "error"}, "refused": {"kind": "error", "status": 422}}
        procedure = self._known.get(operation, f"datauploader.{operation}")
        return {"procedure": procedure, "match": match} | kinds.get(kind, {"kind": kind})


class VuoSandbox(VuoSwitches):
    """VUO's double, for a facility."""

    sign_in_hint = f"the VUO session {ANNA}"

    def __init__(self, folder: Path, base_dir: str) -> None:
        """Keep its state in a file of the folder."""
        self.double = VuoDouble(state=folder / "vuo.sqlite", seed=default_seed(base_dir))
        super().__init__(self.double.url)

    def tables(self, url: str) -> dict[str, Any]:
        """Return `[catalog]`."""
        vuo = {"base_url": url, "secret": self.double.secret, "allow_http": True}
        return {"catalog": {"adapter": "vuo", "vuo": vuo}}

    def credentials(self, session: str) -> dict[str, str]:
        """Return a session of VUO."""
        return {"method": "vuo", "vuo_session": session}

    def stop(self) -> None:
        """Stop the double; its file stays."""
        self.double.stop()
