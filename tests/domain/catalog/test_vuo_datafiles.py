"""Datafiles are written for VUO as JSON writes them, and read back as they were."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from datauploader.plugins.catalogue.port import Datafile
from datauploader_catalog.adapters.vuo.contents import read_contents, write_datafile

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).map(lambda text: f"a/{text}")


@given(NAMES, st.integers(min_value=0, max_value=2**63 - 1), st.integers(min_value=-(2**63) + 1, max_value=2**63 - 1))
@example('a/"\\\n\x00\u2028é/🙂', 0, -1)
def test_a_datafile_is_written_as_an_encoder_writes_it_and_read_back(name: str, size: int, mtime_ns: int) -> None:
    """Quotes, control characters and letters of any language included."""
    datafile = Datafile(name, f"archive:1/{name}", size, "0f" * 32, mtime_ns)
    told = {"path": name, "location": f"archive:1/{name}", "size": size, "sha256": "0f" * 32, "mtime_ns": mtime_ns}
    written = write_datafile(datafile)
    assert written == json.dumps(told, separators=(",", ":"))
    shown = read_contents(f'OK:{{"description":"","datafiles":[{written}],"parameters":[]}}\n')
    assert shown.datafiles == (datafile,)
