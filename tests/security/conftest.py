"""What the tests of the security table share: the files of a deployment, made as a deployer makes them."""

import runpy
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """Run make_env.py for a sandbox with a second station; give the values of .env and the folder of the site."""
    folder = tmp_path_factory.mktemp("deployment")
    script: dict[str, Any] = runpy.run_path(str(ROOT / "deploy" / "make_env.py"))
    options = Namespace(
        sandbox=True, station="elettra.xrd1.ws01", add_station=["elettra.xrd1.ws02"], add_harvester=[],
        env=folder / ".env", site=folder / "site",
    )  # fmt: skip
    script["make"](options)
    return script["read_env"](folder / ".env"), folder / "site"
