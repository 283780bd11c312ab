"""One upload from the request to the completed dataset, with everything that may happen to its files."""

import hashlib

import pytest

from datauploader.contracts import FileReady, UploadSealed
from datauploader.contracts.uploads import manifest_digest


def test_a_batch_goes_from_request_to_completed(world):
    """Every file is announced once with its digests, receipts close it, and the seal counts the manifest."""
    content = {b"a.dat": b"one", b"deep/er/b.dat": b"two", b"deep/empty": b""}
    for name, data in content.items():
        world.write(name, data)
    world.start()
    world.request()
    announced = world.wait_announced(*content)
    for name, data in content.items():
        assert announced[name].sha256 == hashlib.sha256(data).hexdigest()
        assert announced[name].md5 == hashlib.md5(data).hexdigest()
        assert announced[name].size == len(data)
    seal = world.wait_for(UploadSealed)[0]
    assert (seal.files, seal.bytes, seal.left_out) == (3, 6, 0)
    assert seal.manifest_sha256 == manifest_digest((n, hashlib.sha256(d).hexdigest()) for n, d in content.items())
    world.store(*announced.values())
    world.wait_until(lambda: world.states() == {"stored": 3})
    world.catalogue(*announced.values())
    world.wait_until(lambda: world.states() == {"catalogued": 3})
    world.complete(seal)
    world.wait_until(lambda: world.upload_state() == "completed")
    assert sum(len(event.files) for event in world.events(FileReady)) == 3


@pytest.mark.parametrize(("remote", "told"), [({}, True), ({"type": "s3"}, True), ({"type": "local"}, False)])
def test_a_version_has_an_md5_where_its_storage_may_be_asked_for_one(world, remote, told):
    """A folder is asked for SHA-256; of a storage that is not known here nobody knows what it is asked for."""
    world.remotes = {"store": remote}
    world.write("file")
    world.start()
    world.request()
    (file,) = world.wait_announced("file").values()
    assert file.sha256 == hashlib.sha256(b"content").hexdigest()
    assert file.md5 == (hashlib.md5(b"content").hexdigest() if told else None)
