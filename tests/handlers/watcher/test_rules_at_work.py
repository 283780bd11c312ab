"""Standing rules: a folder that fits becomes an upload by itself, once, and again when it changes after its close."""

import pytest

from datauploader.contracts import UploadOpened, UploadRequested, UploadSealed
from datauploader.errors import ConfigurationError


def rule(world, **fields) -> dict[str, object]:
    """Return a rule of the station."""
    usual = {
        "name": "xrd1", "pattern": f"{world.root}/{{investigation}}/{{dataset}}/**", "remote": "store",
        "quiet_period_s": 0.1,
    }  # fmt: skip
    return {**usual, **fields}


def test_a_folder_that_appears_becomes_an_upload_once(world):
    """Investigation, dataset and location come from its path."""
    world.start(rules=[rule(world)])
    world.write("20260101/run1/a.dat")
    world.wait_announced("a.dat")
    request = world.events(UploadRequested)[0]
    assert (request.investigation, request.dataset.name) == ("20260101", "run1")
    assert request.destination.location == "20260101/run1"
    assert request.requested_by.id == "rule:xrd1"
    assert request.mode == "sync"
    world.stop()
    world.start(rules=[rule(world)])
    world.write("20260101/run2/b.dat")
    world.wait_for(UploadOpened, 2)
    assert len(world.events(UploadRequested)) == 2


def test_a_folder_that_cannot_be_a_dataset_is_told_of_and_others_go_on(world):
    """The operator sees which one, and what to do."""
    (world.root / "20260101" / "bad:name").mkdir(parents=True)
    world.start(rules=[rule(world)])
    world.write("20260101/good/a.dat")
    world.wait_announced("a.dat")
    world.wait_until(lambda: any("bad:name" in text for text in world.watcher.glance.troubles))


def test_a_closed_folder_that_changes_is_uploaded_again_as_a_new_upload(world):
    """What the scientist adds the next day must not stay on the workstation."""
    settings = {"rules": [rule(world, idle_close_s=0.3)], "reopen_interval_s": 0.2}
    world.start(**settings)
    world.write("20260101/run1/a.dat")
    seal = world.wait_for(UploadSealed)[0]
    first = world.events(UploadRequested)[0]
    files = list(world.announced().values())
    world.catalogue(*files, upload_id=first.upload_id)
    world.complete(seal)
    world.wait_until(lambda: world.watcher.glance.uploads == 0)
    world.write("20260101/run1/b.dat")
    second = world.wait_for(UploadRequested, 2)[1]
    assert second.upload_id != first.upload_id
    assert second.dataset == first.dataset
    assert second.destination == first.destination
    assert world.wait_for(UploadSealed, 2)[1].files == 2


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"pattern": "/elsewhere/{investigation}/{dataset}"}, "roots"),
        ({"remote": "nowhere"}, "nowhere"),
        ({"exclude": ("#",)}, "'#'"),
        ({"marker": " "}, "' '"),
        ({"delete_after": True}, "allow_delete"),
        ({"location": "{sample}"}, "{sample}"),
    ],
)
def test_a_rule_that_cannot_work_stops_the_start_with_its_name(world, fields, problem):
    """A wrong configuration is a sentence, not a surprise at night."""
    with pytest.raises(ConfigurationError) as caught:
        world.start(rules=[rule(world, **fields)])
    assert "xrd1" in str(caught.value)
    assert problem in str(caught.value)


def test_a_request_of_a_rule_that_gets_lost_is_said_again(world):
    """The broker lost it on its way back to the station."""
    world.start(rules=[rule(world)], receipt_patience_s=0.5)
    world.write("20260101/run1/a.dat")
    world.wait_announced("a.dat")
    with world.watcher.store.transaction() as db:
        db.execute("DELETE FROM files")
        db.execute("DELETE FROM folders")
        db.execute("DELETE FROM uploads")
        db.execute("DELETE FROM inbox")
    world.wait_until(lambda: len(world.events(UploadRequested)) == 2, "the request is said again")
    assert len({event.upload_id for event in world.events(UploadRequested)}) == 1
