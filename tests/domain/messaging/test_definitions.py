"""definitions.json: valid for a broker, and no user can reach past its own."""

import json
import re

import pytest

from datauploader.contracts.address import Station
from datauploader.messaging.definitions import BrokerUser, definitions
from datauploader.messaging.topology import EVENTS, PARKED, catalog_queue, harvester_queue, watcher_queue

HERE, THERE = Station.parse("elettra.xrd1.ws01"), Station.parse("elettra.xrd1.ws0")
USERS = [
    BrokerUser("ws01", "station", station=HERE, password_hash="secret-hash"),
    BrokerUser("catalog", "catalog"),
    BrokerUser("gateway", "gateway"),
    BrokerUser("nexus", "harvester"),
    BrokerUser("operations", "operations"),
    BrokerUser("admin", "operator", password_hash="other-hash"),
]
CONFINED = [user.name for user in USERS if user.role != "operator"]


@pytest.fixture
def document():
    """Give the document of a facility with all kinds of users."""
    return definitions([HERE, THERE], USERS, vhost="facility")


def _rights(document, user):
    return next(one for one in document["permissions"] if one["user"] == user)


def test_it_is_json_and_always_the_same(document):
    """A file under version control must not change by itself."""
    assert json.dumps(document) == json.dumps(definitions([HERE, THERE], USERS, vhost="facility"))


def test_users_without_a_hash_are_left_to_the_administrator(document):
    """Their rights stand there all the same."""
    assert [user["name"] for user in document["users"]] == ["ws01", "admin"]
    assert {one["user"] for one in document["permissions"]} == {user.name for user in USERS}


@pytest.mark.parametrize("user", CONFINED)
def test_nobody_writes_to_the_default_exchange(document, user):
    """It would reach every queue past all topic permissions; the broker calls it amq.default."""
    assert not re.search(_rights(document, user)["write"], "amq.default")


@pytest.mark.parametrize("user", CONFINED)
def test_every_exchange_has_its_topics_confined(document, user):
    """A right to write to an exchange without topic permissions would be a right to say anything there."""
    confined = {one["exchange"] for one in document["topic_permissions"] if one["user"] == user}
    written = {one["name"] for one in document["exchanges"] if re.search(_rights(document, user)["write"], one["name"])}
    assert written <= confined


def test_a_station_whose_name_begins_like_anothers_is_another(document):
    """ws01 is not ws0 with a 1."""
    rights = _rights(document, "ws01")
    assert re.search(rights["read"], watcher_queue(HERE).name)
    for queue in (watcher_queue(THERE).name, watcher_queue(THERE).parked, catalog_queue().name):
        assert not any(re.search(rights[right], queue) for right in ("configure", "write", "read"))


def test_a_station_reads_no_topic_of_others(document):
    """Neither by a binding of its own queue, nor through what is parked."""
    read = {one["exchange"]: one["read"] for one in document["topic_permissions"] if one["user"] == "ws01"}
    assert re.search(read[EVENTS], "elettra.xrd1.ws01.file.stored.v1")
    assert not re.search(read[EVENTS], "elettra.xrd1.ws0.file.stored.v1")
    assert not re.search(read[EVENTS], "#")
    assert not re.search(read[PARKED], catalog_queue().name)


@pytest.mark.parametrize(
    ("words", "who"),
    [
        ("dataset.described", ["gateway"]),
        ("investigation.described", ["gateway"]),
        ("dataset.annotated", ["catalog"]),
        ("investigation.annotated", ["catalog"]),
        ("dataset.ensured", ["catalog"]),
    ],
)
def test_only_the_gateway_says_what_people_said_and_only_catalog_what_became_of_it(document, words, who):
    """No station, and no harvester, can describe what belongs to people."""
    rights = {one["user"]: one["write"] for one in document["topic_permissions"] if one["exchange"] == EVENTS}
    assert [user for user in CONFINED if re.search(rights.get(user, "^$"), f"{HERE.key}.{words}.v1")] == sorted(who)


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("datauploader.log", "datauploader-log"),
        (catalog_queue().name, "datauploader-work"),
        (watcher_queue(HERE).name, "datauploader-work"),
        (harvester_queue("nexus", []).name, "datauploader-harvesters"),
        (catalog_queue().parked, None),
        (harvester_queue("nexus", []).parked, None),
        ("gateway.view", None),
        ("datauploader.retry.10s", None),
    ],
)
def test_each_queue_has_at_most_one_policy(document, name, policy):
    """The broker applies only one; and none ever drops what is parked."""
    found = [one["name"] for one in document["policies"] if re.search(one["pattern"], name)]
    assert found == ([policy] if policy else [])


def test_who_settles_parked_messages_reaches_nothing_else(document):
    """The gateway has this account: whoever takes it over can give back and drop, not make, empty or listen."""
    rights = _rights(document, "operations")
    for queue in (catalog_queue(), watcher_queue(HERE), harvester_queue("nexus", [])):
        assert re.search(rights["read"], queue.parked)
        assert not re.search(rights["read"], queue.name)
        assert not any(
            re.search(rights[right], name) for right in ("configure", "write") for name in (queue.parked, queue.name)
        )
    topics = [one for one in document["topic_permissions"] if one["user"] == "operations"]
    assert [one["exchange"] for one in topics] == ["datauploader.retry.1s"]
    assert re.search(topics[0]["write"], watcher_queue(HERE).name)
    assert not re.search(topics[0]["write"], watcher_queue(HERE).parked)
