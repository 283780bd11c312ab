"""RabbitMQ only: what a station that somebody has taken over can make others believe with the rights that it has."""

import pika
import pytest

from datauploader.contracts.address import Station
from datauploader.contracts.datasets import DatasetCompleted
from datauploader.contracts.envelope import CONTENT_TYPE, Event, encode
from datauploader.contracts.questions import Folder, ListFolder, MayUpload, UploadRight
from datauploader.contracts.uploads import UploadOpened, UploadSealed
from datauploader.errors import Park, Retry
from datauploader.messaging.port import Start
from datauploader.messaging.rabbit.channel import FORBIDDEN
from datauploader.messaging.topology import (
    EVENTS,
    PARKED,
    QUESTIONS,
    RETRY_DELAYS_S,
    catalog_queue,
    harvester_queue,
    question_key,
    retry_name,
    watcher_queue,
)

pytestmark = [pytest.mark.rabbitmq, pytest.mark.attack("S13"), pytest.mark.usefixtures("nothing_stays")]

HERE, THERE = Station.parse("elettra.xrd1.ws01"), Station.parse("elettra.xrd1.ws02")
SEALED = UploadSealed(upload_id="upload-0001", files=0, bytes=0, left_out=0, manifest_sha256="0" * 64)
OPENED = UploadOpened(upload_id="upload-0001")
OWN_KEY = f"{HERE.key}.upload.sealed.v1"


@pytest.fixture
def publish(url):
    """Publish as the station ws01, past the port: any body, key and headers; say whether the broker has taken it.

    RabbitMQ 4 looks at the rights to the keys of CC and BCC too, and refuses what its sender may not say.
    """

    def send(exchange, key, body, **properties):
        connection = pika.BlockingConnection(pika.URLParameters(url("ws01")))
        properties = {"user_id": "ws01"} | properties
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.basic_publish(
                exchange, key, body, pika.BasicProperties(content_type=CONTENT_TYPE, **properties), mandatory=True
            )
        except pika.exceptions.ChannelClosedByBroker as refusal:
            if refusal.reply_code != FORBIDDEN or not {"CC", "BCC"} & set(properties.get("headers", {})):
                raise
            return False
        finally:
            connection.close()
        return True

    return send


def forged(data=SEALED, station=THERE, service="watcher"):
    """Build an event of somebody else's."""
    return Event(data, station, service)


def parked_reason(bus, queue, ident):
    """Return why a message is parked, "" while it is not."""
    return next((message.reason for message in bus.parked(queue) if message.id == ident), "")


def test_a_body_that_speaks_for_another_station_is_parked(sign_in, consume, recorder, eventually, publish):
    """The key is the station's own, so the broker lets it pass; the body says that it is another station's."""
    catalog, handler = sign_in("catalog"), recorder()
    consume(catalog, catalog_queue(), handler)
    event, honest = forged(), Event(SEALED, HERE, "watcher")
    publish(EVENTS, OWN_KEY, encode(event))
    publish(EVENTS, OWN_KEY, encode(honest))
    handler.wait_for(1)
    reason = eventually_reason(catalog, catalog_queue(), event.id, eventually)
    assert "its sender was only allowed to say" in reason
    assert handler.ids == [honest.id]


def test_a_body_of_another_kind_than_its_topic_is_parked(sign_in, consume, recorder, eventually, publish):
    """A station cannot say what the catalog says by writing it under a topic of its own."""
    bus, handler = sign_in("nexus"), recorder()
    queue = harvester_queue("nexus", ["#"])
    consume(bus, queue, handler)
    completed = DatasetCompleted(upload_id="upload-0001", dataset_id="1", files=0, bytes=0, manifest_sha256="0" * 64)
    event = forged(completed, HERE, "catalog")
    publish(EVENTS, f"{HERE.key}.upload.opened.v1", encode(event))
    assert "dataset.completed" in eventually_reason(bus, queue, event.id, eventually)
    assert event.id not in handler.ids


@pytest.mark.parametrize("header", ["CC", "BCC"])
def test_a_header_leads_an_event_into_no_queue_that_has_not_asked(
    sign_in, consume, recorder, eventually, publish, header
):
    """RabbitMQ 3.10 routes by these headers without looking at rights; the reader sees the key that was looked at."""
    bus, handler = sign_in("ws02"), recorder()
    consume(bus, watcher_queue(THERE), handler)
    event = Event(SEALED, HERE, "watcher")
    if publish(EVENTS, OWN_KEY, encode(event), headers={header: [f"{THERE.key}.file.stored.v1"]}):
        assert "a header has led it here" in eventually_reason(bus, watcher_queue(THERE), event.id, eventually)
    assert event.id not in handler.ids


@pytest.mark.parametrize("header", ["CC", "BCC"])
def test_the_way_of_retries_leads_into_no_queue_of_others(sign_in, consume, recorder, eventually, publish, header):
    """A delayed message goes where its keys say, the hidden ones too; its reader knows its own."""
    catalog, handler = sign_in("catalog"), recorder()
    consume(catalog, catalog_queue(), handler)
    event = forged()
    way = retry_name(RETRY_DELAYS_S[0])
    if publish(way, watcher_queue(HERE).name, encode(event), headers={header: [catalog_queue().name]}):
        assert "does not lead to catalog.work" in eventually_reason(catalog, catalog_queue(), event.id, eventually)
    assert event.id not in handler.ids


def test_what_somebody_parked_for_another_cannot_be_replayed(sign_in, eventually, publish):
    """An operator who replays everything gives a forgery no blessing; it can be dropped."""
    catalog, event = sign_in("catalog"), forged()
    led_on = {"CC": [catalog_queue().name], "x-reason": "sound"}
    taken = publish(PARKED, watcher_queue(HERE).name, encode(event), headers=led_on)
    if taken:
        assert "somebody put it here" in eventually_reason(catalog, catalog_queue(), event.id, eventually)
    assert catalog.replay_parked(catalog_queue(), [event.id]) == 0
    assert catalog.drop_parked(catalog_queue(), [event.id]) == taken


def test_what_was_parked_as_forged_cannot_be_replayed(sign_in, consume, recorder, eventually, publish):
    """The replay would go a way on which the body is believed."""
    catalog, handler, event = sign_in("catalog"), recorder(), forged()
    consume(catalog, catalog_queue(), handler)
    publish(EVENTS, OWN_KEY, encode(event))
    eventually_reason(catalog, catalog_queue(), event.id, eventually)
    assert catalog.replay_parked(catalog_queue(), [event.id]) == 0
    assert catalog.drop_parked(catalog_queue(), [event.id]) == 1
    assert event.id not in handler.ids


def test_the_log_passes_no_forgery_on(sign_in, recorder, publish):
    """Whoever builds a view anew from the log reads the same as those who listened."""
    reader, event, honest = recorder(), forged(), Event(SEALED, HERE, "watcher")
    publish(EVENTS, OWN_KEY, encode(event))
    publish(EVENTS, OWN_KEY, encode(honest))
    sign_in("nexus").replay(Start(first=True), reader)
    while honest.id not in reader.ids:
        reader.wait_for(len(reader.deliveries) + 1)
    assert event.id not in reader.ids


def test_who_has_said_something_is_known_whatever_way_it_takes(sign_in, recorder, consume, eventually, publish):
    """First hand, after a retry, after a replay and in the log: the broker vouches for the name, and no header does."""
    catalog, station, queue = sign_in("catalog"), sign_in("ws01"), catalog_queue()
    ends = (None, Retry("later"), Park("look at it"))
    honest = [Event(SEALED, HERE, "watcher") for _ in ends]
    unsigned = Event(SEALED, HERE, "watcher")
    endings = dict(zip((event.id for event in honest), ends, strict=True))
    senders: dict[str, list[str]] = {}

    def hear(delivery):
        senders.setdefault(delivery.event.id, []).append(delivery.sender)
        if (ending := endings.pop(delivery.event.id, None)) is not None:
            raise ending

    consume(catalog, queue, hear)
    for event in honest:
        station.publish(event).result(60)
    publish(EVENTS, OWN_KEY, encode(unsigned), user_id=None, headers={"x-said-by": "ws01"})
    assert "gives no name" in eventually_reason(catalog, queue, unsigned.id, eventually)
    eventually_reason(catalog, queue, honest[2].id, eventually)
    assert sign_in("catalog").replay_parked(queue, [honest[2].id, unsigned.id]) == 1
    eventually(lambda: sum(map(len, senders.values())) == 5, lambda: f"all are heard: {senders}")
    assert senders == {honest[0].id: ["ws01"], honest[1].id: ["ws01", "ws01"], honest[2].id: ["ws01", "ws01"]}
    reader = recorder()
    sign_in("nexus").replay(Start(first=True), reader)
    eventually(lambda: honest[2].id in reader.ids, "the log is read")
    found = {delivery.event.id: delivery.sender for delivery in reader.deliveries}
    assert [found[event.id] for event in honest] == ["ws01", "ws01", "ws01"]
    assert unsigned.id not in found


def test_a_station_cannot_ask_what_is_not_its_to_ask(sign_in, eventually, publish):
    """Not even by a header that leads its question to the catalog as well."""
    asked = []

    def answer(question):
        asked.append(question.user_id)
        return UploadRight(allowed=True)

    catalog, station, gateway = sign_in("catalog"), sign_in("ws01"), sign_in("gateway")
    catalog.answer("catalog", answer)
    station.answer("watcher", lambda question: Folder(path=question.path), station=HERE)
    eventually(lambda: station.health().ok and catalog.health().ok, "both answer")
    assert gateway.ask(ListFolder(path="/"), Folder, station=HERE, timeout_s=10).result(60).path == "/"
    assert gateway.ask(MayUpload(user_id="first", investigation="1"), UploadRight, timeout_s=10).result(60).allowed
    forged_question = MayUpload(user_id="forged", investigation="1").model_dump_json().encode()
    publish(
        QUESTIONS, question_key("watcher", HERE), forged_question,
        type="catalog.may-upload", headers={"CC": [question_key("catalog", None)]},
    )  # fmt: skip
    gateway.ask(MayUpload(user_id="last", investigation="1"), UploadRight, timeout_s=10).result(60)
    eventually(lambda: "last" in asked, "the catalog has answered the last question")
    assert "forged" not in asked


def eventually_reason(bus, queue, ident, eventually):
    """Wait until a message is parked, and return why."""
    eventually(lambda: parked_reason(bus, queue, ident), f"{ident} is parked in {queue.parked}")
    return parked_reason(bus, queue, ident)
