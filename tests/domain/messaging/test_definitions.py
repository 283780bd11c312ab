"""definitions.json: valid for a broker, and no user can reach past its own."""

import json
import re

import pytest

from datauploader.contracts.address import Station
from datauploader.messaging.definitions import BrokerUser, definitions
from datauploader.messaging.topology import EVENTS, catalog_queue, harvester_queue, watcher_queue

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


@pytest.mark.attack("S32")
@pytest.mark.parametrize("user", ["ws01", "nexus", "operations"])
def test_who_runs_elsewhere_makes_nothing_and_binds_nothing(document, user):
    """Whoever makes a queue chooses what the broker does with its messages; a binding needs to read an exchange."""
    rights = _rights(document, user)
    objects = [one["name"] for kind in ("queues", "exchanges") for one in document[kind]]
    for name in (*objects, "answers.ws01.0123abcd", "harvester.other", "amq.gen-x", "amq.topic", "mine"):
        assert not re.search(rights["configure"], name)
    exchanges = {one["name"] for one in document["exchanges"]}
    assert not [name for name in exchanges if re.search(rights["read"], name)]
    assert {name for name in objects if re.search(rights["write"], name)} <= exchanges


def test_each_user_reads_the_queues_that_are_made_for_it(document):
    """And nobody else, but those who settle what is parked."""
    readers = {
        queue: {user for user in CONFINED if re.search(_rights(document, user)["read"], queue)}
        for queue in (one["name"] for one in document["queues"])
    }
    settles = {"operations"}
    assert readers["watcher.asked.elettra.xrd1.ws01"] == readers["answers.elettra.xrd1.ws01.6"] == {"ws01"}
    assert readers["transfer.elettra.xrd1.ws01.claim"] == readers["transfer.elettra.xrd1.ws01"] == {"ws01"}
    assert readers["transfer.elettra.xrd1.ws01.parked"] == {"ws01"} | settles
    assert readers["watcher.elettra.xrd1.ws0"] == readers["answers.elettra.xrd1.ws0.1"] == set()
    assert readers["harvester.nexus"] == {"nexus"}
    assert readers["catalog.asked.stations"] == readers["catalog.work"] == {"catalog"}
    assert readers["datauploader.astray.parked"] == settles
    assert readers["datauploader.again.10s"] == set()


@pytest.mark.attack("S25")
def test_who_runs_elsewhere_names_queues_of_its_own_alone_for_a_retry(document):
    """Nothing else that it may say leads into the retry queues, whose queues everybody shares."""
    for user, own in (
        ("ws01", {"watcher.elettra.xrd1.ws01", "transfer.elettra.xrd1.ws01"}),
        ("nexus", {"harvester.nexus"}),
    ):
        rows = [one for one in document["topic_permissions"] if one["user"] == user and ".again." in one["exchange"]]
        names = [one["name"] for one in document["queues"]] + ["transfer.questions.elettra.xrd1.ws01", "x", ""]
        assert len(rows) == 4
        for row in rows:
            assert {name for name in names if re.search(row["write"], name)} == own


def test_users_who_run_elsewhere_are_bounded(document):
    """Somebody who opens connections without end takes none from others; nor does anybody fill the virtual host."""
    limits = {user["name"]: user["limits"] for user in document["users"]}
    assert set(limits["ws01"]) == {"max-connections", "max-channels"}
    assert limits["admin"] == {}
    (bounds,) = document["parameters"]
    assert bounds["value"]["max-queues"] > len(document["queues"])


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
        ("datauploader.again.10s", None),
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
    assert [one["exchange"] for one in topics] == ["datauploader.again.1s"]
    assert re.search(topics[0]["write"], watcher_queue(HERE).name)
    assert not re.search(topics[0]["write"], watcher_queue(HERE).parked)
