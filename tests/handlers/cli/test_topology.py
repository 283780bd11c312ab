"""The commands `topology` and `parked` on a real broker: what is missing is said, made, and then there."""

import json

import pytest

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def broker(surroundings, rabbitmq_vhost):
    """Name an empty virtual host as the broker."""
    surroundings.setenv("DATAUPLOADER_BROKER", rabbitmq_vhost.url)
    return rabbitmq_vhost


def test_what_is_missing_is_said_made_and_then_there(run, broker) -> None:
    """Check, apply, check again; applying twice changes nothing."""
    before = run("topology", "check", "--json")
    assert before.code == 1
    missing = json.loads(before.out)["missing"]
    assert "the queue catalog.work does not exist" in missing
    assert "datauploader topology apply" in run("topology", "check").out
    assert run("topology", "apply").code == 0
    assert run("topology", "apply").code == 0
    after = run("topology", "check", "--json")
    assert (after.code, after.err) == (0, "")
    assert json.loads(after.out) == {"ok": True, "missing": []}
    assert run("parked", "list").code == 0


def test_doctor_names_what_the_broker_lacks(run, broker) -> None:
    """Reached and let in, but nothing is there."""
    found = {check["name"]: check for check in json.loads(run("doctor", "--json").out)["checks"]}
    assert found["broker sign-in"]["ok"]
    assert not found["broker topology"]["ok"]
    assert "datauploader topology apply" in found["broker topology"]["detail"]


@pytest.mark.campaign
def test_a_wrong_password_is_not_allowed_and_an_absent_broker_unreachable(run, broker, surroundings) -> None:
    """Exit codes 4 and 5, and the password in neither sentence."""
    surroundings.setenv("DATAUPLOADER_BROKER", f"amqp://guest:wrong-canary@{broker.host}:{broker.port}/")
    refused = run("topology", "check")
    assert refused.code == 4, refused
    surroundings.setenv("DATAUPLOADER_BROKER", "amqp://guest:wrong-canary@127.0.0.1:1/")
    away = run("topology", "check")
    assert away.code == 5, away
    assert "canary" not in refused.err + refused.out + away.err + away.out


def test_definitions_can_be_exported_without_a_broker(run) -> None:
    """With the rights of those who are named; a role that does not exist is usage."""
    ran = run("topology", "export", "--user", "ws01:station:elettra.xrd1.ws01", "--user", "cat:catalog")
    assert ran.code == 0
    document = json.loads(ran.out)
    assert {right["user"] for right in document["permissions"]} == {"ws01", "cat"}
    assert "catalog.work" in {queue["name"] for queue in document["queues"]}
    for wrong in ("x", "x:king", "x:station", "x:station:a.b", "x:catalog:y", ":catalog"):
        assert run("topology", "export", "--user", wrong).code == 2, wrong
