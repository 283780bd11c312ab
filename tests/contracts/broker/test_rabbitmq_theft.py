"""RabbitMQ only: what a thief with a station's password can have the broker itself move past the topic rights.

The user `ws01` has the rights of this release and can make nothing. The user `former` may make queues and bindings of
its own, as stations might before: there the readers alone stand in the way.
"""

import secrets

import pika
import pika.exceptions
import pytest
import structlog

from datauploader.contracts.address import Station
from datauploader.contracts.envelope import CONTENT_TYPE, Event, encode
from datauploader.contracts.questions import Folder, ListFolder, MayUpload, UploadRight
from datauploader.contracts.uploads import UploadSealed
from datauploader.errors import NoAnswer
from datauploader.messaging.port import Start
from datauploader.messaging.rabbit.channel import FORBIDDEN
from datauploader.messaging.topology import (
    ANSWERS,
    BACK,
    EVENTS,
    PARKED,
    QUESTIONS,
    RETRY_DELAYS_S,
    answer_queues,
    astray_queue,
    catalog_queue,
    gateway_queue,
    question_key,
    retry_name,
    watcher_queue,
)

pytestmark = [pytest.mark.rabbitmq, pytest.mark.attack("S32"), pytest.mark.usefixtures("nothing_stays")]

HERE, THERE = Station.parse("elettra.xrd1.ws01"), Station.parse("elettra.xrd1.ws02")
SEALED = UploadSealed(upload_id="upload-0001", files=0, bytes=0, left_out=0, manifest_sha256="0" * 64)
RUNG = retry_name(RETRY_DELAYS_S[0])
LOOT = "answers.former.0123abcd"
"""A name that a station could give to a queue, or an exchange, of its own in former releases."""


@pytest.fixture
def connect(url):
    """Give a maker of bare channels."""
    connections = []

    def make(user):
        connections.append(pika.BlockingConnection(pika.URLParameters(url(user))))
        channel = connections[-1].channel()
        channel.confirm_delivery()
        return channel

    yield make
    for connection in connections:
        connection.close()


@pytest.fixture
def thief(connect):
    """Give a channel of somebody with the former rights."""
    return connect("former")


@pytest.fixture
def launder(thief):
    """Give a way to have the broker say any body under any key on any exchange: a queue that dead-letters there."""

    def send(exchange, key, body, **properties):
        arguments = {"x-message-ttl": 0, "x-dead-letter-exchange": exchange, "x-dead-letter-routing-key": key}
        queue = f"answers.former.{secrets.token_hex(4)}"
        thief.queue_declare(queue, arguments=arguments | {"x-expires": 10_000}, durable=True)
        thief.queue_bind(queue, ANSWERS, queue)
        named = {"content_type": CONTENT_TYPE, "user_id": "former"} | properties
        thief.basic_publish(ANSWERS, queue, body, pika.BasicProperties(**named), mandatory=True)

    return send


@pytest.fixture
def reason(eventually):
    """Give why a message is parked, as soon as it is."""

    def look(bus, queue, ident):
        def found():
            return next((message.reason for message in bus.parked(queue) if message.id == ident), "")

        eventually(found, f"{ident} is parked in {queue.parked}")
        return found()

    return look


def sealed(station=THERE):
    """Build an event of a station's watcher."""
    return Event(SEALED, station, "watcher")


@pytest.mark.parametrize("hidden", [{}, {"x-death": []}, {"x-death": "none", "x-first-death-queue": "catalog.work"}])
def test_an_event_that_the_broker_has_moved_counts_for_nobody(
    launder, sign_in, consume, recorder, reason, hidden, connect
):
    """The broker adds the header to whatever the sender has written there; neither a queue nor the log believes it."""
    catalog, handler, reader = sign_in("catalog"), recorder(), recorder()
    consume(catalog, catalog_queue(), handler)
    event, honest = sealed(), sealed(HERE)
    launder(EVENTS, event.routing_key, encode(event), headers=hidden)
    sign_in("former").publish(honest).result(60)
    handler.wait_for(1)
    assert "the broker itself has moved it" in reason(catalog, catalog_queue(), event.id)
    assert catalog.replay_parked(catalog_queue(), [event.id]) == 0
    sign_in("nexus").replay(Start(first=True), reader)
    while honest.id not in reader.ids:
        reader.wait_for(len(reader.deliveries) + 1)
    assert event.id not in handler.ids + reader.ids


def test_a_station_cannot_sign_as_another_though_the_broker_moves_its_words(launder):
    """The name is compared where it enters the broker; without a name nobody is believed."""
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="user_id"):
        launder(EVENTS, sealed().routing_key, encode(sealed()), user_id="ws02")


def test_the_way_of_retries_believes_what_our_own_rungs_let_go_and_nothing_else(
    launder, sign_in, consume, recorder, reason
):
    """There the header `x-said-by` names the speaker: whoever could write on that way could speak as the gateway."""
    catalog, handler, event = sign_in("catalog"), recorder(), sealed()
    consume(catalog, catalog_queue(), handler)
    launder(RUNG, catalog_queue().name, encode(event), headers={"x-said-by": "gateway"})
    assert "no retry of ours" in reason(catalog, catalog_queue(), event.id)
    assert event.id not in handler.ids


def test_a_header_written_by_hand_does_not_make_a_retry(thief, sign_in, consume, recorder, reason):
    """Not even one that names a retry queue, on the way of events."""
    catalog, handler, event = sign_in("catalog"), recorder(), sealed(HERE)
    consume(catalog, catalog_queue(), handler)
    headers = {"x-death": [{"queue": RUNG, "reason": "expired", "exchange": RUNG}], "x-said-by": "gateway"}
    properties = pika.BasicProperties(content_type=CONTENT_TYPE, user_id="former", headers=headers)
    thief.basic_publish(EVENTS, event.routing_key, encode(event), properties, mandatory=True)
    assert "the broker itself has moved it" in reason(catalog, catalog_queue(), event.id)
    assert event.id not in handler.ids


def test_an_exchange_of_the_thiefs_own_leads_nowhere(thief, sign_in, consume, recorder, reason):
    """Its alternate exchange, and a binding to another exchange, take any key past the topic rights as well."""
    gateway, handler = sign_in("gateway"), recorder()
    consume(gateway, gateway_queue(), handler)
    event, bound = sealed(), sealed()
    thief.exchange_declare(LOOT, "fanout", arguments={"alternate-exchange": EVENTS})
    headers = {"x-said-by": "gateway"}
    properties = pika.BasicProperties(content_type=CONTENT_TYPE, user_id="former", headers=headers)
    thief.basic_publish(LOOT, gateway_queue().name, encode(event), properties)
    thief.exchange_bind(EVENTS, LOOT)
    thief.basic_publish(LOOT, gateway_queue().name, encode(bound), properties)
    for one in (event, bound):
        assert "does not lead to gateway.view" in reason(gateway, gateway_queue(), one.id)
    thief.exchange_delete(LOOT)
    assert not {event.id, bound.id} & set(handler.ids)


def test_what_the_broker_has_parked_for_a_thief_cannot_be_replayed(launder, sign_in, reason):
    """A replay would go a way on which the body is believed."""
    catalog, event = sign_in("catalog"), sealed()
    launder(PARKED, catalog_queue().name, encode(event), headers={"x-said-by": "gateway", "x-reason": "sound"})
    assert "somebody put it here by way of answers.former" in reason(catalog, catalog_queue(), event.id)
    assert catalog.replay_parked(catalog_queue(), [event.id]) == 0
    assert catalog.drop_parked(catalog_queue(), [event.id]) == 1


def test_what_the_broker_parks_because_a_consumer_dies_keeps_the_topic_that_it_came_under(
    connect, facility_server, sign_in, eventually
):
    """Nobody has compared it with the body then; the replay does."""
    catalog, forged, honest = sign_in("catalog"), sealed(), sealed(HERE)
    thief, crashing = connect("former"), connect("catalog")
    properties = pika.BasicProperties(content_type=CONTENT_TYPE, user_id="former")
    for event in (forged, honest):
        thief.basic_publish(EVENTS, honest.routing_key, encode(event), properties, mandatory=True)

    def died():
        method, _, _ = crashing.basic_get(catalog_queue().name)
        if method:
            crashing.basic_reject(method.delivery_tag, requeue=True)
        return len(catalog.parked(catalog_queue())) == 2

    eventually(died, "the broker parks both")
    reasons = {message.id: message.reason for message in catalog.parked(catalog_queue())}
    assert "its sender was only allowed to say" in reasons[forged.id]
    assert catalog.replay_parked(catalog_queue(), [forged.id]) == 0
    assert catalog.replay_parked(catalog_queue(), [honest.id]) == 1


def test_a_question_that_the_broker_has_moved_is_not_answered(launder, sign_in, eventually):
    """It would be asked as the gateway; the answerer writes a line into its log, and tells nobody anything."""
    asked = []

    def answer(question):
        asked.append(question.user_id)
        return UploadRight(allowed=True)

    catalog, gateway = sign_in("catalog"), sign_in("gateway")
    catalog.answer("catalog", answer)
    eventually(lambda: catalog.health().ok, "the catalog answers")
    stolen = MayUpload(user_id="stolen", investigation="1").model_dump_json().encode()
    with structlog.testing.capture_logs() as logs:
        for reply_to in (LOOT, "answers.gateway.0123abcd"):
            launder(QUESTIONS, question_key("catalog", None), stolen, type="catalog.may-upload", reply_to=reply_to)
        assert gateway.ask(MayUpload(user_id="mine", investigation="1"), UploadRight, timeout_s=10).result(60).allowed
    assert asked == ["mine"]
    assert [entry["event"] for entry in logs].count("question_ignored") == 2


def test_an_answer_goes_to_whoever_asks_and_to_nobody_else(connect, sign_in, eventually):
    """A question that a station may ask, with the address of another one."""
    station = sign_in("ws01")
    station.answer("watcher", lambda question: Folder(path=question.path), station=HERE)
    eventually(lambda: station.health().ok, "the station answers")
    body = ListFolder(path="/secret").model_dump_json().encode()
    properties = pika.BasicProperties(type="watcher.list-folder", user_id="ws01", reply_to=answer_queues(THERE)[0])
    with structlog.testing.capture_logs() as logs:
        connect("ws01").basic_publish(QUESTIONS, question_key("watcher", HERE), body, properties, mandatory=True)
        eventually(lambda: [e for e in logs if e["event"] == "question_ignored"], "the question is ignored")


def test_an_answer_of_somebody_else_is_none(connect, sign_in, eventually, url):
    """Even where the thief knows the number of the question, which no one but the asker and the answerer does."""
    gateway, questions = sign_in("gateway"), []
    catalog = connect("catalog")

    def hear(_channel, method, properties, _body):
        questions.append(properties)
        catalog.basic_ack(method.delivery_tag)

    catalog.basic_consume("catalog.asked", hear)
    answer = gateway.ask(MayUpload(user_id="u", investigation="1"), UploadRight, timeout_s=3)

    def asked():
        catalog.connection.process_data_events(0.05)
        return questions

    eventually(asked, "the question comes")
    stolen = pika.BasicProperties(correlation_id=questions[0].correlation_id, user_id="ws02")
    with structlog.testing.capture_logs() as logs:
        channel = connect("ws02")
        channel.basic_publish(ANSWERS, questions[0].reply_to, b'{"ok": {"allowed": true}}', stolen, mandatory=True)
        eventually(lambda: [e for e in logs if e["event"] == "answer_ignored"], "the answer is ignored")
    with pytest.raises(NoAnswer):
        answer.result(60)


TRICKS = {
    "makes a queue": lambda c: c.queue_declare("answers.ws01.0123abcd", durable=True),
    "makes a queue with the broker's name": lambda c: c.queue_declare(""),
    "makes its own anew": lambda c: c.queue_declare(watcher_queue(HERE).name, durable=True),
    "makes an exchange": lambda c: c.exchange_declare("answers.ws01.0123abcd", "fanout"),
    "deletes its own queue": lambda c: c.queue_delete(watcher_queue(HERE).name),
    "binds its own queue": lambda c: c.queue_bind(watcher_queue(HERE).name, EVENTS, f"{HERE.key}.#"),
    "unbinds its own queue": lambda c: c.queue_unbind(watcher_queue(HERE).name, EVENTS, f"{HERE.key}.#"),
    "binds events to events": lambda c: c.exchange_bind(EVENTS, EVENTS, "#"),
    "binds events to answers": lambda c: c.exchange_bind(ANSWERS, EVENTS, "#"),
    "binds events to a retry queue": lambda c: c.exchange_bind(retry_name(600), EVENTS, f"{HERE.key}.#"),
    "binds answers to events": lambda c: c.exchange_bind(EVENTS, ANSWERS, "#"),
    "publishes to the way back": lambda c: c.basic_publish(BACK, watcher_queue(HERE).name, b""),
    "answers a station": lambda c: c.basic_publish(ANSWERS, answer_queues(THERE)[0], b""),
    "claims for another": lambda c: c.basic_publish("datauploader.claims", watcher_queue(THERE).claim, b""),
    "retries to a queue of questions": lambda c: c.basic_publish(RUNG, f"transfer.asked.{HERE.key}", b""),
    "retries to a queue that is none": lambda c: c.basic_publish(RUNG, f"transfer.questions.{HERE.key}", b""),
    "retries to its parked queue": lambda c: c.basic_publish(RUNG, watcher_queue(HERE).parked, b""),
    "reads another's answers": lambda c: c.basic_get(answer_queues(THERE)[0]),
    "reads another's questions": lambda c: c.basic_get(f"watcher.asked.{THERE.key}"),
    "reads what went astray": lambda c: c.basic_get(astray_queue().parked),
}


@pytest.mark.parametrize("user", ["ws01", "nexus", "operations"])
def test_who_runs_elsewhere_is_refused_every_trick(connect, url, user):
    """The broker asks for a right each time: they make nothing, bind nothing, and read nothing of others."""
    codes = {}
    for name, trick in TRICKS.items():
        connection = pika.BlockingConnection(pika.URLParameters(url(user)))
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            trick(channel)
            codes[name] = 0
        except pika.exceptions.ChannelClosedByBroker as refusal:
            codes[name] = refusal.reply_code
        finally:
            connection.close()
    allowed = {"reads what went astray"} if user == "operations" else set()
    assert codes == {name: 0 if name in allowed else 403 for name in TRICKS}


def test_a_station_opens_no_connections_without_end(url):
    """Its user has a bound of its own, so that there are some left for others."""
    open_ones = []
    try:
        with pytest.raises(pika.exceptions.ProbableAccessDeniedError, match="limit"):  # noqa: PT012 - one of many is refused
            while len(open_ones) < 60:
                open_ones.append(pika.BlockingConnection(pika.URLParameters(url("ws02"))))
    finally:
        for connection in open_ones:
            connection.close()
    assert 30 < len(open_ones) <= 40


def test_a_header_takes_a_message_astray_into_nobodys_hands(connect, sign_in, consume, recorder, reason, eventually):
    """CC and BCC at retry queues: each copy comes back under the key that was allowed; RabbitMQ 4 takes none at all."""
    catalog, handler = sign_in("catalog"), recorder()
    consume(catalog, catalog_queue(), handler)
    events, taken = [sealed(), sealed()], []
    for header, event in zip(("CC", "BCC"), events, strict=True):
        properties = pika.BasicProperties(
            content_type=CONTENT_TYPE, user_id="ws01", headers={header: [catalog_queue().name], "x-said-by": "gateway"}
        )
        try:
            connect("ws01").basic_publish(RUNG, watcher_queue(HERE).name, encode(event), properties, mandatory=True)
            taken.append(event)
        except pika.exceptions.ChannelClosedByBroker as refusal:
            if refusal.reply_code != FORBIDDEN:
                raise
    for event in taken:
        assert "does not lead to catalog.work" in reason(catalog, catalog_queue(), event.id)
    assert not {event.id for event in events} & set(handler.ids)
