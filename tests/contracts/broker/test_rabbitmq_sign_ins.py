"""Sign-ins at the broker are heard, those that it refuses as well, where its plugin tells of them."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pika
import pytest
from pika.exceptions import AMQPError

from datauploader.contracts.address import Station
from datauploader.errors import BrokerRefused
from datauploader.messaging.definitions import BrokerUser, definitions
from datauploader.messaging.port import SignIn
from datauploader.messaging.rabbit import SignInListener, Tuning, check_sign_ins
from datauploader.messaging.rabbit.administration import server_version
from datauploader.messaging.topology import BROKER_EVENTS, SIGN_INS
from datauploader_testing.servers import RabbitServer
from datauploader_testing.servers.rabbitmq_definitions import password_hash
from datauploader_testing.waiting import eventually

pytestmark = pytest.mark.rabbitmq
PASSWORD, WRONG = "correct-horse-7319", "battery-staple-4711"
HERE = Station.parse("elettra.xrd1.ws01")
USERS = (
    BrokerUser(HERE.key, "station", station=HERE, password_hash=password_hash(PASSWORD)),
    BrokerUser("gateway", "gateway", password_hash=password_hash(PASSWORD)),
    BrokerUser("operations", "operations", password_hash=password_hash(PASSWORD)),
)
QUICK = Tuning(refused_s=0.5)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the place of a broker with the plugin, booted from our definitions."""
    path = tmp_path_factory.mktemp("definitions") / "definitions.json"
    path.write_text(json.dumps(definitions([HERE], USERS)))
    with RabbitServer(definitions=path, plugins=("rabbitmq_event_exchange",)) as server:
        yield f"{server.address.host}:{server.address.port}"


@pytest.fixture
def heard(place: str) -> Iterator[list[SignIn]]:
    """Give what the account for operations hears from now on."""
    found: list[SignIn] = []
    listener = SignInListener(f"amqp://operations:{PASSWORD}@{place}/", found.append, name="test", tuning=QUICK)
    eventually(lambda: listener.problem is None, what="it listens", within_s=15)
    yield found
    listener.stop()


def sign_in(place: str, user: str, password: str) -> None:
    """Sign in, and leave again."""
    with suppress(BrokerRefused):
        server_version(f"amqp://{quote(user)}:{password}@{place}/")


def test_who_is_refused_is_named_with_the_address_and_without_the_password(place: str, heard: list[SignIn]) -> None:
    """Also somebody whom nobody knows, whatever the name is made of."""
    sign_in(place, HERE.key, WRONG)
    sign_in(place, HERE.key, PASSWORD)
    sign_in(place, "<b>\u202enobody\n" + "x" * 200, WRONG)
    eventually(lambda: sum(one.user.startswith(("elettra", "<b>")) for one in heard) == 3, what="all three are heard")
    first, second, third = (one for one in heard if one.user.startswith(("elettra", "<b>")))
    assert first == SignIn(HERE.key, refused=True, host="127.0.0.1")
    assert second == SignIn(HERE.key, refused=False, host="127.0.0.1")
    assert third.refused
    assert third.user == "<b>?nobody?" + "x" * 89
    assert WRONG not in repr(heard)


def test_doctor_hears_of_its_own_sign_in(place: str) -> None:
    """So the plugin, the definitions and the right are all there."""
    assert check_sign_ins(f"amqp://operations:{PASSWORD}@{place}/", tuning=QUICK) == ""


def test_doctor_says_that_the_plugin_is_missing(url: Callable[[str], str]) -> None:
    """A broker without it loads the same definitions, and everything else works there."""
    assert "enable its plugin rabbitmq_event_exchange" in check_sign_ins(url("operations"), tuning=QUICK)


def test_doctor_says_what_the_account_may_not(place: str) -> None:
    """As where the broker has the definitions of a former release."""
    assert SIGN_INS in check_sign_ins(f"amqp://gateway:{PASSWORD}@{place}/", tuning=QUICK)


@pytest.mark.attack("S31")
@pytest.mark.parametrize("user", [HERE.key, "gateway", "operations"])
@pytest.mark.parametrize(
    "step",
    [
        lambda c: c.basic_publish(BROKER_EVENTS, "user.authentication.failure", b""),
        lambda c: c.basic_publish("", SIGN_INS, b""),
        lambda c: c.queue_bind(SIGN_INS, BROKER_EVENTS, "#"),
        lambda c: c.queue_delete(SIGN_INS),
    ],
    ids=["tells", "puts", "binds", "deletes"],
)
def test_nobody_can_tell_of_sign_ins_or_hear_more(place: str, user: str, step: Callable[[Any], object]) -> None:
    """The exchange is the broker's own."""
    host, port = place.split(":")
    credentials = pika.PlainCredentials(user, PASSWORD)
    connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port), credentials=credentials))
    channel = connection.channel()
    channel.confirm_delivery()
    with pytest.raises(AMQPError) as refusal:
        step(channel)
    connection.close()
    assert refusal.value.args[0] in (403, 540)
