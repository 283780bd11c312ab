"""Request and reply over the broker: the client that asks questions, and the server that answers them."""

import asyncio
import json
import random
import secrets
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Generic, TypeVar, cast

import structlog
from pika import DeliveryMode
from pika.spec import BasicProperties
from pydantic import ValidationError
from typing_extensions import override

from datauploader.contracts.address import Station, matches
from datauploader.contracts.model import Question, WireModel
from datauploader.contracts.questions import QUESTIONS as KINDS
from datauploader.errors import BrokerRefused, MessagingError, NoAnswer, QuestionRefused, Unroutable
from datauploader.messaging.blueprint import asked, shared_topology
from datauploader.messaging.port import Answer, WrittenAnswer
from datauploader.messaging.rabbit.channel import FORBIDDEN, NOT_FOUND, Channel, ChannelRefused
from datauploader.messaging.rabbit.connection import BrokerConnection, keep
from datauploader.messaging.rabbit.event_loop import EventLoopThread
from datauploader.messaging.rabbit.message import Outgoing, came
from datauploader.messaging.rabbit.options import Tuning
from datauploader.messaging.rabbit.publisher import Publisher
from datauploader.messaging.rabbit.subscription import Received, Settle
from datauploader.messaging.rabbit.topology import QueueCounter, establish
from datauploader.messaging.rights import Speakers
from datauploader.messaging.topology import ANSWERS, QUESTIONS, answer_queues, asked_queue, question_key

log = structlog.get_logger()

A = TypeVar("A", bound=WireModel)

UNREADABLE = (ValueError, TypeError, KeyError, RecursionError)
"""What reading an answer may raise that is none."""
_KINDS = {kind.name: kind for kind in KINDS}


class _AnswerFuture(Future[A]):
    """A future whose answer is read by whoever awaits it: reading a long one would hold up the event loop."""

    def __init__(self, service: str, answer: type[A]) -> None:
        super().__init__()
        self._service, self._answer = service, answer
        self._body = b""
        self._outcome: A | QuestionRefused | None = None

    def arrived(self, body: bytes) -> None:
        """End with an answer as it came."""
        self._body = body
        self.set_result(None)  # type: ignore[arg-type] # `result` reads the body instead

    @override
    def exception(self, timeout: float | None = None) -> BaseException | None:
        if (error := super().exception(timeout)) is not None:
            return error
        if self._outcome is None:
            self._outcome = self._read()
        return self._outcome if isinstance(self._outcome, QuestionRefused) else None

    @override
    def result(self, timeout: float | None = None) -> A:
        if (error := self.exception(timeout)) is not None:
            raise error
        return cast("A", self._outcome)

    def _read(self) -> A | QuestionRefused:
        try:
            return _read_answer(self._body, self._answer)
        except QuestionRefused as refusal:
            return refusal
        except UNREADABLE:
            return QuestionRefused("unreadable", f"{self._service} answered in a way that this release cannot read")


@dataclass(frozen=True, slots=True)
class _Pending:
    """A question on its way."""

    question: Question
    key: str
    queue: str
    future: _AnswerFuture[Any]
    timeout_s: float
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the owner's thread when the future has its outcome."""

    @property
    def service(self) -> str:
        """Name the service that is asked."""
        return self.question.name.split(".")[0]

    def fail(self, error: MessagingError) -> None:
        """End without an answer."""
        if not self.future.done():
            self.future.set_exception(error)
        self.over.set()

    def succeed(self, body: bytes) -> None:
        """End with an answer as it came."""
        if not self.future.done():
            self.future.arrived(body)
        self.over.set()


class RpcClient:
    """An RPC client: the questions of one bus, and the queue where their answers arrive."""

    def __init__(
        self, connection: BrokerConnection, publisher: Publisher, owner: EventLoopThread, tuning: Tuning, *, user: str,
        speakers: Speakers, declare: bool,
    ) -> None:  # fmt: skip
        self._connection, self._publisher, self._event_loop = connection, publisher, owner
        self._tuning, self._declare = tuning, declare
        self._user, self._queue, self._speakers = user, "", speakers
        self._counter = QueueCounter(connection)
        self._pending: dict[str, _Pending] = {}
        self._listening = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._problem: MessagingError | None = None

    def ask(self, question: Question, answer: type[A], *, station: Station | None, timeout_s: float) -> "Future[A]":
        """Send a question; its future ends with the answer, with NoAnswer in time, or with QuestionRefused."""
        service = question.name.split(".")[0]
        future = _AnswerFuture(service, answer)
        pending = _Pending(question, question_key(service, station), asked_queue(service, station), future, timeout_s)

        def begin() -> None:
            if self._task is None:
                self._task = self._event_loop.start(keep(self._listen, self._note, self._tuning))
            self._event_loop.start(self._ask(pending))

        if not self._event_loop.call(begin):
            pending.fail(NoAnswer("the bus is closed"))
        return future

    async def close(self) -> None:
        """Stop listening; questions that are open stay without an answer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for pending in list(self._pending.values()):
            pending.fail(NoAnswer("the bus was closed before the answer came"))

    async def _ask(self, pending: _Pending) -> None:
        ident = str(uuid.uuid4())
        self._pending[ident] = pending
        try:
            async with asyncio.timeout(pending.timeout_s):
                await self._listening.wait()
                if not (await self._counter.queue_state(pending.queue)).consumers:
                    raise Unroutable(pending.queue)  # noqa: TRY301 - as the broker says it of a missing binding
                properties = BasicProperties(
                    content_type="application/json",
                    type=pending.question.name,
                    message_id=ident,
                    correlation_id=ident,
                    reply_to=self._queue,
                    user_id=self._user,
                    expiration=str(round(pending.timeout_s * 1000)),
                    delivery_mode=DeliveryMode.Transient,
                )
                body = pending.question.model_dump_json().encode()
                message = Outgoing(QUESTIONS, pending.key, body, properties)
                await asyncio.wrap_future(self._publisher.send(message).future)
                await pending.over.wait()
        except Unroutable:
            pending.fail(
                NoAnswer(f"{pending.service} is not connected to the broker, so nobody answers {pending.question.name}")
            )
        except MessagingError as error:
            pending.fail(NoAnswer(f"{pending.question.name} could not be asked: {error}"))
        except TimeoutError:
            trouble = None if self._listening.is_set() else self._connection.problem or self._problem
            pending.fail(
                NoAnswer(
                    f"{pending.question.name} could not be asked: {trouble}"
                    if trouble
                    else f"{pending.service} did not answer {pending.question.name} within {pending.timeout_s:g} s"
                )
            )
        finally:
            del self._pending[ident]

    async def _listen(self) -> None:
        await establish(self._connection, shared_topology(self._tuning.retry_delays_s), declare=self._declare)
        me = self._speakers.who(self._user)
        if me.station is not None:
            channel = await self._free_queue(me.station)
        else:  # a new name: the broker may hold the last one for a connection that it believes alive
            channel = await self._connection.channel()
            self._queue = f"{me.answers}{secrets.token_hex(8)}"
            await channel.declare_queue(self._queue, exclusive=True, auto_delete=True)
            await channel.bind(self._queue, ANSWERS, self._queue)
            await channel.consume(self._queue, self._answered, self._queue, auto_ack=True)
        try:
            self._listening.set()
            self._problem = None
            await channel.until_ended()
        finally:
            self._listening.clear()
            channel.close()

    async def _free_queue(self, station: Station) -> Channel:
        """Take one of the station's queues that no other process reads, whichever it tries first.

        Raises:
            BrokerRefused: all are taken, or missing.
        """
        names = answer_queues(station)
        for name in random.sample(names, len(names)):
            channel = await self._connection.channel()
            try:
                await channel.consume(name, partial(self._heard, channel, name), name, exclusive=True)
                if (await channel.count(name))[1] == 1:  # more: somebody has it; none: it has no leader just now
                    self._queue = name
                    return channel
                last = f"{name} is taken"
            except ChannelRefused as refusal:  # queues of former releases are given to one channel at a time
                if refusal.code not in (FORBIDDEN, NOT_FOUND):
                    raise
                last = str(refusal)
            channel.close()
        raise BrokerRefused(f"no queue for answers is free, see docs/operations.md: {last}")

    def _heard(self, channel: Channel, name: str, method: Any, properties: BasicProperties, body: bytes) -> None:
        """Take an answer from a queue that is ours; what comes while we try it belongs to who has it, and goes back."""
        if self._queue == name:
            self._answered(method, properties, body)
            channel.ack(method.delivery_tag)

    def _answered(self, method: Any, properties: BasicProperties, body: bytes) -> None:
        pending = self._pending.get(properties.correlation_id or "")
        if pending is None or pending.future.done():
            return
        how = came(method, properties)
        if how.exchange != ANSWERS or how.moved or not self._speakers.may_answer(how.user, pending.key):
            log.warning("answer_ignored", question=pending.question.name, user=how.user, key=pending.key)
            return
        pending.succeed(body)

    def _note(self, error: MessagingError) -> None:
        self._problem = error


class _Error(WireModel):
    code: str
    message: str


class _Answer(WireModel, Generic[A]):
    """What travels back: one of the two."""

    ok: A | None = None
    error: _Error | None = None


@cache
def _written(answer: type[A]) -> type[_Answer[A]]:
    """Return what travels for this type; pydantic would build it again for each answer."""
    return _Answer[answer]  # type: ignore[valid-type] # known when it runs


def _read_answer(body: bytes, answer: type[A]) -> A:
    """Read an answer.

    Raises:
        QuestionRefused: it is none but says why.
        ValueError: it cannot be read.
    """
    found: _Answer[A] = _written(answer).model_validate_json(body)
    if found.error is not None:
        raise QuestionRefused(found.error.code, found.error.message)
    if found.ok is None:
        raise ValueError("neither an answer nor why there is none")
    return found.ok


class RpcServerSource:
    """An RPC server's source, the questions to one service; askers see whether anybody consumes the queue."""

    most = 1

    def __init__(
        self, queue: str, bound: str, answerer: Callable[[Question, str], Answer], *, connection: BrokerConnection,
        publisher: Publisher, tuning: Tuning, speakers: Speakers, user: str, declare: bool, workers: int,
    ) -> None:  # fmt: skip
        """Answer what comes under the keys of `bound`, as this user; the answerer is told the key."""
        self._queue, self._bound, self._answerer = queue, bound, answerer
        self._speakers, self._user = speakers, user
        self._connection, self._publisher = connection, publisher
        self._tuning, self._declare, self._workers = tuning, declare, workers

    async def attach(
        self, channel: Channel, on_message: Callable[[Any, BasicProperties, bytes], None], tag: str
    ) -> None:
        """Make the queue and begin to answer."""
        await establish(self._connection, shared_topology(self._tuning.retry_delays_s), declare=self._declare)
        await self.heal()
        await channel.prefetch(self._workers)
        await channel.consume(self._queue, on_message, tag)

    async def heal(self) -> None:
        """Make the queue again, and bind it."""
        await establish(self._connection, asked(self._queue, self._bound), declare=self._declare)

    def work(self, received: Sequence[Received], stopping: threading.Event) -> list[Settle]:  # noqa: ARG002 - one handler call is not interrupted
        """Find the answer, and send it to whoever asked; what nobody had the right to ask stays without one."""
        return [self._answer(one) for one in received]

    def _answer(self, received: Received) -> Settle:
        if reason := self._forged(received):
            log.warning("question_ignored", queue=self._queue, key=received.came.key[:200], reason=reason)
            return lambda: received.channel.ack(received.tag)
        try:
            found = self._answerer(_read_question(received), received.came.key)
            body = f'{{"ok": {found.text if isinstance(found, WrittenAnswer) else found.model_dump_json()}}}'
        except QuestionRefused as refusal:
            body = json.dumps({"error": {"code": refusal.code, "message": str(refusal)}})
        except Exception:  # the dispatch boundary: whatever an answerer raises is an answer
            log.exception("question_failed", question=received.properties.type)
            service = self._queue.split(".")[0]
            why = f"{service} could not answer; its log says why"
            body = json.dumps({"error": {"code": "internal", "message": why}})

        def reply() -> None:
            properties = BasicProperties(
                content_type="application/json",
                correlation_id=received.properties.correlation_id,
                user_id=self._user,
                delivery_mode=DeliveryMode.Transient,
            )
            answer = Outgoing(ANSWERS, received.properties.reply_to, body.encode(), properties, lossy=True)
            self._publisher.send(answer)
            received.channel.ack(received.tag)

        return reply

    def _forged(self, received: Received) -> str:
        came, reply_to = received.came, received.properties.reply_to or ""
        if came.exchange != QUESTIONS or came.moved or not matches(self._bound, came.key):
            return "it came by a way that its sender has no right to"
        if not self._speakers.may_ask(came.user, came.key):
            return f"{came.user or 'somebody who gives no name, as former releases do,'} may not ask that"
        if not reply_to.startswith(self._speakers.who(came.user).answers):
            return f"{came.user} wants the answer sent to somebody else"
        return ""


def _read_question(received: Received) -> Question:
    kind = _KINDS.get(received.properties.type or "")
    if kind is None:
        raise QuestionRefused("unknown-question", f"nobody here answers {str(received.properties.type)[:100]!r}")
    try:
        return kind.model_validate_json(received.body)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "the question"
        raise QuestionRefused("invalid-question", f"{where}: {problem['msg']}") from error
