"""Request-reply over the broker, the server's side: answering questions."""

import json
import threading
from collections.abc import Callable
from typing import Any

import structlog
from pika import DeliveryMode
from pika.spec import BasicProperties
from pydantic import ValidationError

from datauploader.contracts.address import matches
from datauploader.contracts.model import WireModel
from datauploader.contracts.questions import QUESTIONS as KINDS
from datauploader.contracts.questions import Question
from datauploader.errors import QuestionRefused
from datauploader.messaging.blueprint import asked, shared_topology
from datauploader.messaging.rabbit.channel import Channel
from datauploader.messaging.rabbit.connection import BrokerConnection
from datauploader.messaging.rabbit.declaration import establish
from datauploader.messaging.rabbit.message import Outgoing
from datauploader.messaging.rabbit.publisher import Publisher
from datauploader.messaging.rabbit.subscription import Received, Settle
from datauploader.messaging.rabbit.tuning import Tuning
from datauploader.messaging.rights import Speakers
from datauploader.messaging.topology import ANSWERS, QUESTIONS

log = structlog.get_logger()

_KINDS = {kind.name: kind for kind in KINDS}


class RpcServerSource:
    """An RPC server's source, the questions to one service; askers see whether anybody consumes the queue."""

    def __init__(
        self, queue: str, bound: str, answerer: Callable[[Question, str], WireModel], *, connection: BrokerConnection,
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

    def work(self, received: Received, stopping: threading.Event) -> Settle:  # noqa: ARG002 - one handler call is not interrupted
        """Find the answer, and send it to whoever asked; what nobody had the right to ask stays without one."""
        if reason := self._forged(received):
            log.warning("question_ignored", queue=self._queue, key=received.came.key[:200], reason=reason)
            return lambda: received.channel.ack(received.tag)
        answer = json.dumps(self._answer(received)).encode()
        return lambda: self._reply(received, answer)

    def _forged(self, received: Received) -> str:
        came, reply_to = received.came, received.properties.reply_to or ""
        if came.exchange != QUESTIONS or came.moved or not matches(self._bound, came.key):
            return "it came by a way that its sender has no right to"
        if not self._speakers.may_ask(came.user, came.key):
            return f"{came.user or 'somebody who gives no name, as former releases do,'} may not ask that"
        if not reply_to.startswith(self._speakers.who(came.user).answers):
            return f"{came.user} wants the answer sent to somebody else"
        return ""

    def _answer(self, received: Received) -> dict[str, object]:
        try:
            return {"ok": self._answerer(_read(received), received.came.key).model_dump(mode="json")}
        except QuestionRefused as refusal:
            return {"error": {"code": refusal.code, "message": str(refusal)}}
        except Exception:  # the dispatch boundary: whatever an answerer raises is an answer
            log.exception("question_failed", question=received.properties.type)
            service = self._queue.split(".")[0]
            return {"error": {"code": "internal", "message": f"{service} could not answer; its log says why"}}

    def _reply(self, received: Received, answer: bytes) -> None:
        properties = BasicProperties(
            content_type="application/json",
            correlation_id=received.properties.correlation_id,
            user_id=self._user,
            delivery_mode=DeliveryMode.Transient,
        )
        self._publisher.send(Outgoing(ANSWERS, received.properties.reply_to, answer, properties, lossy=True))
        received.channel.ack(received.tag)


def _read(received: Received) -> Question:
    kind = _KINDS.get(received.properties.type or "")
    if kind is None:
        raise QuestionRefused("unknown-question", f"nobody here answers {str(received.properties.type)[:100]!r}")
    try:
        return kind.model_validate_json(received.body)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "the question"
        raise QuestionRefused("invalid-question", f"{where}: {problem['msg']}") from error
