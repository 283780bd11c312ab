"""Answering questions that come over the broker."""

import json
import threading
from collections.abc import Callable
from typing import Any

import structlog
from pika import DeliveryMode
from pika.spec import BasicProperties
from pydantic import ValidationError

from datauploader.contracts.address import matches
from datauploader.contracts.model import Travelling
from datauploader.contracts.questions import QUESTIONS as KINDS
from datauploader.contracts.questions import Question
from datauploader.errors import QuestionRefused
from datauploader.messaging.blueprint import QUESTION_TTL_MS, ground
from datauploader.messaging.rabbit.channel import Channel
from datauploader.messaging.rabbit.declaration import establish
from datauploader.messaging.rabbit.link import Link
from datauploader.messaging.rabbit.message import Outgoing
from datauploader.messaging.rabbit.publisher import Publisher
from datauploader.messaging.rabbit.subscription import Received, Settle
from datauploader.messaging.rabbit.tuning import Tuning
from datauploader.messaging.topology import ANSWERS, QUESTIONS

log = structlog.get_logger()

_KINDS = {kind.name: kind for kind in KINDS}


class QuestionSource:
    """The questions to one service; the queue goes with its last answerer, so that askers learn of it at once."""

    def __init__(
        self, queue: str, bound: str, answerer: Callable[[Question, str], Travelling], *, link: Link,
        publisher: Publisher, tuning: Tuning, declare: bool, workers: int,
    ) -> None:  # fmt: skip
        """Answer what comes under the keys of `bound`; the answerer is told the key."""
        self._queue, self._bound, self._answerer = queue, bound, answerer
        self._link, self._publisher = link, publisher
        self._tuning, self._declare, self._workers = tuning, declare, workers

    async def attach(
        self, channel: Channel, on_message: Callable[[Any, BasicProperties, bytes], None], tag: str
    ) -> None:
        """Make the queue and begin to answer."""
        await establish(self._link, ground(self._tuning.ladder), declare=self._declare)
        await self._make(channel)
        await channel.prefetch(self._workers)
        await channel.consume(self._queue, on_message, tag)

    async def heal(self) -> None:
        """Bind the queue again."""
        channel = await self._link.channel()
        try:
            await self._make(channel)
        finally:
            channel.close()

    def work(self, received: Received, stopping: threading.Event) -> Settle:  # noqa: ARG002 - one handler call is not interrupted
        """Find the answer, and send it to whoever asked."""
        answer = json.dumps(self._answer(received)).encode()
        return lambda: self._reply(received, answer)

    async def _make(self, channel: Channel) -> None:
        await channel.declare_queue(self._queue, {"x-message-ttl": QUESTION_TTL_MS}, durable=True, auto_delete=True)
        await channel.bind(self._queue, QUESTIONS, self._bound)

    def _answer(self, received: Received) -> dict[str, object]:
        try:
            return {"ok": self._answerer(_read(received, self._bound), received.key).model_dump(mode="json")}
        except QuestionRefused as refusal:
            return {"error": {"code": refusal.code, "message": str(refusal)}}
        except Exception:  # the dispatch boundary: whatever an answerer raises is an answer
            log.exception("question_failed", question=received.properties.type)
            service = self._queue.split(".")[0]
            return {"error": {"code": "internal", "message": f"{service} could not answer; its log says why"}}

    def _reply(self, received: Received, answer: bytes) -> None:
        if received.properties.reply_to:
            properties = BasicProperties(
                content_type="application/json",
                correlation_id=received.properties.correlation_id,
                delivery_mode=DeliveryMode.Transient,
            )
            self._publisher.send(Outgoing(ANSWERS, received.properties.reply_to, answer, properties, lossy=True))
        received.channel.ack(received.tag)


def _read(received: Received, bound: str) -> Question:
    if not matches(bound, received.key):
        raise QuestionRefused("not-allowed", "the question came by a way that its sender has no right to")
    kind = _KINDS.get(received.properties.type or "")
    if kind is None:
        raise QuestionRefused("unknown-question", f"nobody here answers {str(received.properties.type)[:100]!r}")
    try:
        return kind.model_validate_json(received.body)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "the question"
        raise QuestionRefused("invalid-question", f"{where}: {problem['msg']}") from error
