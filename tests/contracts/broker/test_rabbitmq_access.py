"""RabbitMQ only: who may do what on a broker that booted from our definitions, and what a refusal says."""

import os
import socket
import threading

import pika
import pika.exceptions
import pytest

from datauploader.contracts.address import Station
from datauploader.contracts.datasets import DatasetCompleted
from datauploader.contracts.envelope import Event
from datauploader.contracts.questions import (
    Datafiles,
    Folder,
    Heard,
    LastHeard,
    ListDatafiles,
    ListFolder,
    MayUpload,
    UploadRight,
)
from datauploader.contracts.uploads import UploadOpened
from datauploader.errors import BrokerRefused, ConfigurationError, NoAnswer, Park
from datauploader.messaging.port import Ownership, Start
from datauploader.messaging.rabbit import RabbitBus, apply_topology, check_topology
from datauploader.messaging.topology import (
    EVENTS,
    LOG,
    PARKED,
    QUESTIONS,
    catalog_queue,
    harvester_queue,
    question_key,
    transfer_queue,
    watcher_queue,
)
from datauploader.reliability import Outbox, Store
from datauploader.reliability.outbox import SCHEMA as OUTBOX

pytestmark = pytest.mark.rabbitmq

HERE, THERE = Station.parse("elettra.xrd1.ws01"), Station.parse("elettra.xrd1.ws02")
COMPLETED = DatasetCompleted(upload_id="upload-0001", dataset_id="1", files=0, bytes=0, manifest_sha256="0" * 64)
OPENED = UploadOpened(upload_id="upload-0001")


@pytest.fixture
def server(facility_server):
    """Give the broker that booted from the definitions."""
    return facility_server


@pytest.fixture
def refused_channel(url):
    """Give a try of one step on a bare channel, which returns the broker's reply code."""

    def attempt(user, step):
        connection = pika.BlockingConnection(pika.URLParameters(url(user)))
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            step(channel)
        except pika.exceptions.ChannelClosedByBroker as refusal:
            return refusal.reply_code
        finally:
            connection.close()
        return 0

    return attempt


def test_what_the_broker_loaded_is_what_the_services_declare(server):
    """Nothing is missing, and declaring all of it again contradicts nothing."""
    assert check_topology(server.address.url, [HERE, THERE]) == []
    apply_topology(server.address.url, [HERE, THERE])


def test_a_station_does_all_that_is_its_own(server, sign_in, consume, recorder, eventually):
    """It publishes, consumes, retries, parks, looks at what is parked, and drops it, with its own few rights."""
    bus, handler = sign_in("ws01"), recorder(ValueError("once"), Park("no"))
    consume(bus, watcher_queue(HERE), handler)
    bus.publish(Event(OPENED, HERE, "watcher")).result(60)
    completed = Event(COMPLETED, HERE, "catalog")
    sign_in("catalog").publish(completed).result(60)
    handler.wait_for(2)
    eventually(lambda: bus.parked(watcher_queue(HERE)), "the event is parked")
    assert bus.drop_parked(watcher_queue(HERE), [completed.id]) == 1
    assert bus.health().ok, bus.health().detail


@pytest.mark.attack("S13")
def test_a_station_speaks_for_no_other(sign_in):
    """The one event is refused with a sentence; its neighbours are published at the next try."""
    bus = sign_in("ws01")
    bus.publish(Event(OPENED, HERE, "watcher")).result(60)
    with pytest.raises(BrokerRefused, match=r"ws02\.upload\.opened.*permissions do not let this user say that"):
        bus.publish(Event(OPENED, THERE, "watcher")).result(60)
    with pytest.raises(BrokerRefused, match=r"dataset\.completed"):
        bus.publish(Event(COMPLETED, HERE, "catalog")).result(60)


def test_an_event_that_may_not_be_said_holds_up_no_other_of_the_outbox(sign_in, tmp_path, eventually):
    """The broker closes the channel over it, and with it fails what was sent behind it: time and again."""
    store, bus = Store(tmp_path / "x.sqlite", [OUTBOX]), sign_in("ws01")
    with store.transaction() as db:
        Outbox.put(db, Event(OPENED, THERE, "watcher"))
        for _ in range(300):
            Outbox.put(db, Event(OPENED, HERE, "watcher"))
    outbox = Outbox(store, bus.publish)
    outbox.start()
    eventually(lambda: outbox.waiting() == 1, lambda: f"only one waits, not {outbox.waiting()}", 8)
    outbox.stop()
    store.close()


@pytest.mark.attack("S13")
@pytest.mark.parametrize(
    ("user", "says"),
    [
        (
            "ws01",
            ["file.ready", "file.stored", "upload.sealed", "transfer.progressed", "station.reported", "audit.reported"],
        ),
        (
            "catalog",
            [
                "dataset.ensured",
                "file.catalogued",
                "dataset.annotated",
                "investigation.annotated",
                "audit.requested",
                "station.reported",
            ],
        ),
        (
            "gateway",
            [
                "upload.requested",
                "upload.controlled",
                "station.reported",
                "dataset.described",
                "investigation.described",
                "audit.requested",
            ],
        ),
        ("nexus", ["metadata.extracted"]),
    ],
)
def test_each_user_says_what_is_its_to_say_and_nothing_else(refused_channel, user, says):
    """The broker answers 403 to everything else."""
    everything = [
        "file.ready", "file.stored", "file.catalogued", "upload.requested", "upload.controlled", "upload.sealed",
        "transfer.progressed", "station.reported", "dataset.ensured", "metadata.extracted",
        "dataset.described", "dataset.annotated", "investigation.described", "investigation.annotated",
        "audit.requested", "audit.reported",
    ]  # fmt: skip
    also = {"ws01": ["upload.requested", "upload.controlled"]}.get(user, [])

    def code(words):
        return refused_channel(user, lambda channel: channel.basic_publish(EVENTS, f"{HERE.key}.{words}.v1", b""))

    assert {words: code(words) for words in everything} == {w: 0 if w in says + also else 403 for w in everything}


@pytest.mark.attack("S13")
@pytest.mark.parametrize(
    "step",
    [
        lambda c: c.basic_get(watcher_queue(THERE).name),
        lambda c: c.basic_get(catalog_queue().name),
        lambda c: c.basic_get("datauploader.log"),
        lambda c: c.queue_purge(transfer_queue(THERE).parked),
        lambda c: c.queue_delete(catalog_queue().name),
        lambda c: c.queue_bind(watcher_queue(HERE).name, EVENTS, f"{THERE.key}.#"),
        lambda c: c.queue_bind(watcher_queue(HERE).name, EVENTS, "#"),
        lambda c: c.queue_bind(watcher_queue(HERE).name, QUESTIONS, question_key("catalog", None)),
        lambda c: c.queue_bind(watcher_queue(HERE).name, PARKED, catalog_queue().name),
        lambda c: c.basic_publish("", catalog_queue().name, b"forged"),
        lambda c: c.basic_publish(PARKED, catalog_queue().name, b"forged"),
        lambda c: c.basic_publish("datauploader.again.1s", catalog_queue().name, b"forged"),
        lambda c: c.exchange_delete(EVENTS),
        lambda c: c.queue_declare("mine", durable=True),
    ],
    ids=[
        "reads another's queue", "reads the catalog's queue", "reads the log", "purges another's parked", "deletes",
        "binds to another's topics", "binds to all topics", "overhears questions", "overhears parked messages",
        "writes past the exchange", "parks for another", "retries for another", "deletes the exchange", "declares",
    ],
)  # fmt: skip
def test_a_station_reaches_into_nothing_of_others(refused_channel, step):
    """Every way around is a 403."""
    assert refused_channel("ws01", step) == 403


@pytest.mark.attack("S31")
@pytest.mark.parametrize("user", ["ws01", "nexus", "gateway"])
@pytest.mark.parametrize(
    "use",
    [
        lambda bus: bus.parked(catalog_queue()),
        lambda bus: bus.replay_parked(catalog_queue(), ["x"]),
        lambda bus: bus.drop_parked(catalog_queue(), ["x"]),
        lambda bus: bus.parked(watcher_queue(THERE)),
    ],
    ids=["look", "replay", "drop", "look at another station's"],
)
def test_parked_messages_are_their_consumers_and_the_operators(sign_in, user, use):
    """Anybody else is refused by the broker, which names the user in its log."""
    with pytest.raises(BrokerRefused, match="refused"):
        use(sign_in(user))


@pytest.mark.attack("S13")
def test_nobody_signs_for_another(refused_channel):
    """A forged user_id is a 406."""
    properties = pika.BasicProperties(user_id="catalog")
    key = f"{HERE.key}.file.ready.v1"
    assert refused_channel("ws01", lambda channel: channel.basic_publish(EVENTS, key, b"", properties)) == 406


def test_questions_pass_between_users_with_few_rights(sign_in, eventually):
    """The gateway asks a station and the catalog; a station asks itself, and the catalog under its own name alone."""
    station, catalog, gateway = sign_in("ws01"), sign_in("catalog"), sign_in("gateway")
    station.answer("watcher", lambda question: Folder(path=question.path), station=HERE)
    catalog.answer("catalog", lambda _: UploadRight(allowed=True))
    eventually(lambda: station.health().ok and catalog.health().ok, "both answer")
    assert gateway.ask(ListFolder(path="/data"), Folder, station=HERE, timeout_s=10).result(60).path == "/data"
    assert gateway.ask(MayUpload(user_id="u", investigation="1"), UploadRight, timeout_s=10).result(60).allowed
    with pytest.raises(NoAnswer):
        station.ask(MayUpload(user_id="u", investigation="1"), UploadRight, timeout_s=5).result(60)
    catalog.answer_stations("catalog", lambda _question, asking: Datafiles(next=asking.key))
    eventually(lambda: catalog.health().ok, "the catalog answers stations")
    datafiles = ListDatafiles(upload_id="upload-0001")
    assert station.ask(datafiles, Datafiles, station=HERE, timeout_s=10).result(60).next == HERE.key
    with pytest.raises(NoAnswer):
        station.ask(datafiles, Datafiles, station=THERE, timeout_s=5).result(60)
    gateway.answer_stations("gateway", lambda _question, asking: Heard(facility=asking.key))
    gateway.answer("gateway", lambda _question: Heard(facility="alone"))
    eventually(lambda: gateway.health().ok, "the gateway answers")
    heard = LastHeard(service="watcher", state="1", run="1")
    assert station.ask(heard, Heard, station=HERE, timeout_s=10).result(60).facility == HERE.key
    assert catalog.ask(heard, Heard, timeout_s=10).result(60).facility == "alone"
    for elsewhere in (THERE, None):
        with pytest.raises(NoAnswer):
            station.ask(heard, Heard, station=elsewhere, timeout_s=5).result(60)


def test_answers_find_the_one_of_several_processes_of_a_station_that_has_asked(sign_in, eventually):
    """Watcher and transfer share a user; each process has a queue for answers to itself, and leaves it to the next."""
    catalog = sign_in("catalog")
    catalog.answer_stations("catalog", lambda question, _asking: Datafiles(next=question.upload_id))
    eventually(lambda: catalog.health().ok, "the catalog answers stations")
    for _ in range(2):
        processes = [sign_in("ws01") for _ in range(4)]
        asked = [
            (name, bus.ask(ListDatafiles(upload_id=name), Datafiles, station=HERE, timeout_s=10))
            for name, bus in (
                (f"upload-{number}-{turn}", bus) for turn in range(5) for number, bus in enumerate(processes)
            )
        ]
        assert [answer.result(60).next for _, answer in asked] == [name for name, _ in asked]
        for bus in processes:
            bus.close(5)


def test_a_process_that_looks_for_a_free_queue_takes_no_answer_of_another(sign_in, eventually):
    """It may try the queue of one that is being answered: what it is given meanwhile goes back to that one."""
    catalog, one = sign_in("catalog"), sign_in("ws01")
    catalog.answer_stations("catalog", lambda question, _asking: Datafiles(next=question.upload_id))
    eventually(lambda: catalog.health().ok, "the catalog answers stations")
    for turn in range(12):
        others = [sign_in("ws01") for _ in range(3)]
        names = [f"upload-{turn}-{number}" for number in range(60)]
        asked = [bus.ask(ListDatafiles(upload_id="upload-0"), Datafiles, station=HERE, timeout_s=30) for bus in others]
        asked += [one.ask(ListDatafiles(upload_id=name), Datafiles, station=HERE, timeout_s=30) for name in names]
        assert [answer.result(40).next for answer in asked] == ["upload-0"] * 3 + names
        for bus in others:
            bus.close(5)


@pytest.mark.parametrize(("user", "queue"), [("ws01", transfer_queue(HERE)), ("catalog", catalog_queue())])
def test_a_service_claims_its_queue_with_its_own_few_rights(sign_in, recorder, user, queue):
    """A second one with another state learns on which computer the first is."""
    held, rivals, lost = threading.Event(), [], threading.Event()

    def learn(rival):
        rivals.append(rival)
        lost.set()

    first, second = Ownership("1", held.set, rivals.append, "pc-a"), Ownership("2", held.clear, learn, "pc-b")
    sign_in(user).consume(queue, recorder(), ownership=first)
    assert held.wait(20)
    sign_in(user).consume(queue, recorder(), ownership=second)
    assert lost.wait(20)
    assert rivals == ["pc-a"]
    assert held.is_set()


def test_a_harvester_finds_its_queue_made_and_reads_the_log(sign_in, consume, recorder, empty):
    """It may make nothing: its queue comes with its account."""
    bus, handler, reader = sign_in("nexus"), recorder(), recorder()
    empty(harvester_queue("nexus", ()).name)
    consume(bus, harvester_queue("nexus", ["#"]), handler)
    event = Event(OPENED, HERE, "watcher")
    sign_in("ws01").publish(event).result(60)
    handler.wait_for(1)
    bus.replay(Start(first=True), reader)
    reader.wait_for(1)


def test_a_consumer_without_the_right_says_so(sign_in, recorder, eventually):
    """Health names the queue and the remedy."""
    bus = sign_in("ws01")
    bus.consume(watcher_queue(THERE), recorder())
    eventually(lambda: "watcher.elettra.xrd1.ws02" in bus.health().detail, "the refusal is shown")
    assert not bus.health().ok


@pytest.mark.attack("S26")
@pytest.mark.parametrize(
    ("user", "vhost", "says"),
    [("ws01", "", "check the user and password"), ("ws01", "elsewhere", "the virtual host does not exist")],
    ids=["wrong password", "wrong virtual host"],
)
def test_a_refused_connection_is_a_sentence_without_the_password(server, quick, password, user, vhost, says):
    """It fails publishers at once and stands in the health page."""
    password = password if vhost else "wrong-battery-staple"
    url = f"amqp://{user}:{password}@{server.address.host}:{server.address.port}/{vhost}"
    bus = RabbitBus(url, name="watcher x", tuning=quick)
    try:
        refusal = bus.publish(Event(OPENED, HERE, "watcher")).exception(10)
        assert isinstance(refusal, BrokerRefused)
        assert says in str(refusal)
        assert says in bus.health().detail
        assert password not in str(refusal) + bus.health().detail
    finally:
        bus.close(5)


@pytest.mark.attack("S26")
@pytest.mark.parametrize(
    "url", ["amqp://u:hunter2/x@h/", "amqp://u@h/", "amqp://u:hunter2@h/?heartbeat=x", "amqp://u:hunter2@h/?odd=1"]
)
def test_an_address_that_cannot_be_read_is_a_sentence_without_the_password(url):
    """What is wrong with it is said, not shown."""
    with pytest.raises(ConfigurationError, match="percent-encoded") as caught:
        RabbitBus(url, name="watcher x")
    assert "hunter2" not in str(caught.value)


def test_a_service_that_may_not_declare_says_what_to_run(rabbit, queue, recorder, new_event, eventually):
    """On a broker without our topology, with declare off."""
    bus = rabbit.bus(declare=False)
    bus.consume(queue, recorder())
    eventually(lambda: "datauploader topology apply" in bus.health().detail, "the sentence is shown")
    with pytest.raises(BrokerRefused, match="datauploader topology apply"):
        bus.publish(new_event()).result(60)


def test_a_service_that_may_not_declare_works_on_what_is_there(rabbit, queue, consume, recorder, new_event, quick):
    """Once somebody has applied the topology, and its own queue, both ways work."""
    consume(rabbit.bus("harvester x"), queue, recorder()).stop(5)
    bus, handler = rabbit.bus(declare=False), recorder()
    consume(bus, queue, handler)
    bus.publish(new_event()).result(60)
    handler.wait_for(1)


def test_a_check_names_what_is_missing(rabbitmq_vhost, station):
    """Each missing part is a sentence; after an apply there is none."""
    sentences = check_topology(rabbitmq_vhost.url, [station])
    assert "the queue catalog.work does not exist" in sentences
    assert "the exchange datauploader.events does not exist" in sentences
    apply_topology(rabbitmq_vhost.url, [station])
    assert check_topology(rabbitmq_vhost.url, [station]) == []


def test_a_queue_with_other_settings_is_a_sentence(rabbit, queue, recorder, eventually):
    """Queue arguments cannot be changed, so somebody must delete it."""
    connection = pika.BlockingConnection(pika.URLParameters(rabbit.address.url))
    connection.channel().queue_declare(queue.name, durable=True)
    connection.close()
    bus = rabbit.bus()
    bus.consume(queue, recorder())
    eventually(lambda: "made with other settings" in bus.health().detail, "the sentence is shown")


def test_events_flow_without_the_log(rabbit, queue, consume, recorder, new_event):
    """A log that is not what it should be is told in the health page, and stops nobody but its readers."""
    connection = pika.BlockingConnection(pika.URLParameters(rabbit.address.url))
    connection.channel().queue_declare(LOG, durable=True)
    connection.close()
    bus, handler = rabbit.bus(), recorder()
    consume(bus, queue, handler)
    bus.publish(new_event()).result(60)
    handler.wait_for(1)
    assert bus.health().ok
    assert "events cannot be replayed later" in bus.health().detail


def test_people_can_read_who_is_connected(
    rabbit, rabbitmq_server, rabbitmq_vhost, queue, consume, recorder, eventually
):
    """Name, host and process of each connection; service, host and number of each consumer."""
    consume(rabbit.bus("watcher elettra/xrd1/ws01"), queue, recorder())
    management, vhost = rabbitmq_server.management, rabbitmq_vhost.vhost

    def names():
        found = management.get("vhosts", vhost, "connections")
        return {one["client_properties"].get("connection_name") for one in found}

    own = f"watcher elettra/xrd1/ws01 ({socket.gethostname()}, {os.getpid()})"
    eventually(lambda: names() == {f"{own} publisher", f"{own} consumer"}, lambda: f"the names are shown: {names()}")
    eventually(
        lambda: (
            [one["consumer_tag"] for one in management.get("consumers", vhost)] == [f"watcher@{socket.gethostname()}.1"]
        ),
        "the consumer's tag is shown",
    )


@pytest.mark.parametrize("user", ["gateway", "ws01"])
def test_how_full_a_queue_is_needs_no_right(sign_in, user):
    """A passive declare asks for none: so the operators' page needs no account of its own for that."""
    names = [catalog_queue().name, catalog_queue().parked, watcher_queue(THERE).name, "harvester.nobody"]
    assert [state.there for state in sign_in(user).queues(names)] == [True, True, True, False]


@pytest.mark.attack("S31")
def test_an_account_for_parked_messages_looks_gives_back_and_drops(
    sign_in, consume, recorder, new_event, eventually, empty
):
    """What the gateway has as its second account, `gateway.operations_broker`."""
    queue = harvester_queue("nexus", ["#"])
    handler = recorder(Park("first"), Park("second"))
    empty(queue.name)
    consume(sign_in("nexus"), queue, handler)
    station, clerk = sign_in("ws01"), sign_in("operations", declare=False)
    events = [new_event(OPENED) for _ in range(2)]
    for event in events:
        station.publish(event).result(60)
    ids = {event.id for event in events}
    eventually(lambda: ids <= {message.id for message in clerk.parked(queue)}, "both are parked")
    assert clerk.replay_parked(queue, [events[0].id]) == 1
    eventually(lambda: handler.ids.count(events[0].id) == 2, "the first is handled again")
    assert clerk.drop_parked(queue, [events[1].id]) == 1
    assert not ids & {message.id for message in clerk.parked(queue)}


@pytest.mark.attack("S31")
@pytest.mark.parametrize(
    "step",
    [
        lambda c: c.basic_get(catalog_queue().name),
        lambda c: c.basic_get(LOG),
        lambda c: c.queue_delete(catalog_queue().parked),
        lambda c: c.queue_declare("mine", durable=True),
        lambda c: c.queue_bind(catalog_queue().parked, EVENTS, "#"),
        lambda c: c.basic_publish(EVENTS, f"{HERE.key}.dataset.completed.v1", b""),
        lambda c: c.basic_publish(PARKED, catalog_queue().name, b"forged"),
        lambda c: c.basic_publish("", catalog_queue().name, b"forged"),
        lambda c: c.basic_publish("datauploader.again.1s", catalog_queue().parked, b"forged"),
        lambda c: c.exchange_delete(EVENTS),
    ],
    ids=[
        "reads",
        "reads the log",
        "deletes",
        "declares",
        "binds",
        "speaks",
        "parks",
        "writes past",
        "re-parks",
        "ends",
    ],
)
def test_an_account_for_parked_messages_can_do_nothing_else(refused_channel, step):
    """Whoever takes the gateway over has this account as well."""
    assert refused_channel("operations", step) == 403
