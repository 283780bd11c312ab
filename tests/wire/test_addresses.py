"""Addresses and topic patterns mean here what they mean to the broker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datauploader.contracts.address import Station, matches
from datauploader.contracts.registry import EVENTS, kind_of, topic, type_name
from datauploader.messaging.topology import facility_queues
from datauploader_testing import builders


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        ("#", "", True),
        ("#", "a", True),
        ("#", "a.b.c", True),
        ("*", "", False),
        ("*", "a", True),
        ("*", "a.b", False),
        ("a", "a", True),
        ("a", "b", False),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("#.a", "a", True),
        ("#.a", "x.y.a", True),
        ("#.a", "a.x", False),
        ("a.#.b", "a.b", True),
        ("a.#.b", "a.x.y.b", True),
        ("a.#.b", "a.b.x", False),
        ("*.#", "a", True),
        ("#.*", "a", True),
        ("#.#", "", True),
        ("#.#", "a.b", True),
        ("*.*.*.file.stored.v1", "elettra.xrd1.ws01.file.stored.v1", True),
        ("*.*.*.file.stored.v1", "elettra.xrd1.file.stored.v1", False),
        ("*.*.*.file.stored.v1", "elettra.xrd1.ws01.file.stored.v2", False),
        ("elettra.xrd1.#", "elettra.xrd1.ws01.file.stored.v1", True),
        ("elettra.xrd1.#", "elettra.xrd10.ws01.file.stored.v1", False),
        ("#.stored.#", "a.stored.stored.b", True),
        ("a*", "ab", False),
    ],
)
def test_patterns_match_as_a_topic_exchange_matches(pattern, key, expected) -> None:
    """`*` is one word, `#` any number, zero included, and neither works inside a word."""
    assert matches(pattern, key) is expected


words = st.lists(st.sampled_from(["a", "b", "stored"]), min_size=1, max_size=5)


@given(words)
def test_every_key_matches_itself_and_the_catch_all(key) -> None:
    """A key without wildcards is its own pattern."""
    text = ".".join(key)
    assert matches(text, text)
    assert matches("#", text)
    assert matches(".".join("*" * len(key)), text)


def test_many_hashes_do_not_take_forever() -> None:
    """A harvester's odd pattern must not stop the in-process broker."""
    assert not matches(".".join(["#"] * 20 + ["z"]), ".".join("a" * 20))


@pytest.mark.parametrize("text", ["elettra.xrd1.ws01", "elettra/xrd1/ws01"])
def test_a_station_is_read_with_dots_or_slashes(text) -> None:
    """People write both."""
    assert Station.parse(text) == builders.HERE
    assert str(Station.parse(text)) == "elettra/xrd1/ws01"


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c.d", "A.b.c", "a..c", "a.*.c", "a.#.c", "a.b.c\n", "a.b.ç"])
def test_what_is_no_station_is_refused(text) -> None:
    """A wildcard or a capital in an address would reach other stations' queues or none."""
    with pytest.raises(ValueError, match=r"station|pattern"):
        Station.parse(text)


def test_every_event_has_six_words_and_is_heard_by_the_status_view() -> None:
    """The routing key of each kind fits the contract, and at least one queue of the facility hears it."""
    queues = facility_queues([builders.HERE])
    for kind in EVENTS:
        key = f"{builders.HERE.key}.{topic(kind)}"
        assert len(key.split(".")) == 6, key
        assert kind_of(type_name(kind)) is kind
        assert any(matches(pattern, key) for queue in queues for pattern in queue.bindings), key


def test_a_queue_that_must_hear_an_event_is_bound_to_it() -> None:
    """What a publisher insists on is what the topology delivers."""
    for queue in facility_queues([builders.HERE]):
        for kind in queue.required_for:
            key = f"{builders.HERE.key}.{topic(kind)}"
            assert any(matches(pattern, key) for pattern in queue.bindings), (queue.name, key)


def test_a_stations_queue_hears_no_other_station() -> None:
    """The bindings of one station's queues begin with its address."""
    other = builders.station("elettra.xrd1.ws02")
    for queue in facility_queues([builders.HERE]):
        if queue.station is not None:
            assert not any(
                matches(pattern, f"{other.key}.{topic(kind)}") for pattern in queue.bindings for kind in EVENTS
            )
            assert not any(queue.must_hear(kind, other) for kind in EVENTS)
