"""Requests that this station cannot do are refused in words that say what to do."""

import pytest

from datauploader.contracts import Destination, UploadOpened, UploadRejected


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"root": "/etc"}, "outside-roots"),
        ({"root": "relative"}, "outside-roots"),
        ({"root": "{root}/da\0ta"}, "bad-path"),
        ({"sources": ("a\0b",)}, "bad-path"),
        ({"root": "{root}/missing"}, "root-missing"),
        ({"root": "{root}/a.dat"}, "root-missing"),
        ({"root": "{root}/../data/.."}, "outside-roots"),
        pytest.param({"root": "{root}/link"}, "outside-roots", marks=pytest.mark.posix),  # links
        ({"sources": ("../outside",)}, "source-outside"),
        ({"sources": ("/etc",)}, "source-outside"),
        pytest.param({"sources": ("link/passwd",)}, "source-outside", marks=pytest.mark.posix),  # links
        ({"sources": ("missing",)}, "source-missing"),
        ({"exclude": ("  ",)}, "bad-pattern"),
        ({"include": ("a[",), "exclude": ("!",)}, "bad-pattern"),
        ({"destination": Destination(remote="elsewhere", location="x")}, "remote-unknown"),
        ({"delete_after": True}, "delete-not-allowed"),
    ],
)
def test_a_request_that_cannot_be_done_is_rejected_with_its_reason(world, fields, reason):
    """The reason is a stable word; detail and hint are sentences."""
    world.write("a.dat")
    (world.root / "link").symlink_to("/etc")
    world.start()
    told = {k: v.replace("{root}", str(world.root)) if isinstance(v, str) else v for k, v in fields.items()}
    world.request(wait=False, **told)
    rejected = world.wait_for(UploadRejected)[0]
    assert rejected.reason == reason
    assert rejected.detail.endswith(".")
    assert rejected.hint.endswith(".")
    assert not world.events(UploadOpened)


def test_a_station_without_roots_says_who_can_help(world):
    """Nothing is allowed until somebody allows it."""
    world.start(roots=())
    world.request(wait=False)
    assert world.wait_for(UploadRejected)[0].reason == "no-roots"
