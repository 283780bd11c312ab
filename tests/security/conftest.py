"""What the tests of the security table share: the files of a deployment, made as a deployer makes them."""

from pathlib import Path

import pytest

from datauploader_client.admin.install import Answers, install
from datauploader_client.admin.registering import Registering
from datauploader_client.admin.site import read_site

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """Install a sandbox with a second station; give the values of .env and the folder of the site."""
    folder = tmp_path_factory.mktemp("deployment")
    site = read_site(ROOT, folder / ".env").with_values(SITE_DIR=str(folder / "site"))
    site = install(site, Answers(station="elettra.xrd1.ws01", sandbox=True))
    site = Registering(site, None).add_station("elettra.xrd1.ws02")
    return dict(site.values), site.folder
