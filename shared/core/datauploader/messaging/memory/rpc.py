"""Request and reply within one process: a question reaches the server that answers at its address."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress

import structlog

from datauploader.contracts.address import Station, matches
from datauploader.contracts.model import Question
from datauploader.contracts.questions import QUESTIONS
from datauploader.errors import NoAnswer, QuestionRefused
from datauploader.messaging.port import A, Answer, WrittenAnswer
from datauploader.messaging.topology import question_key

log = structlog.get_logger()

Servers = dict[str, Callable[[Question, str], "Future[dict[str, object]]"]]
"""By address: takes a question and the key that it was asked under."""


def ask(
    servers: Servers, question: Question, answer: type[A], station: Station | None, timeout_s: float
) -> "Future[A]":
    """Ask whoever answers at the question's address; see `Bus.ask`."""
    result: Future[A] = Future()
    service = question.name.split(".")[0]
    key = question_key(service, station)
    server = next((one for bound, one in list(servers.items()) if matches(bound, key)), None)
    if server is None:
        result.set_exception(NoAnswer(f"{service} is not connected to the broker, so nobody answers {question.name}"))
        return result
    timer = threading.Timer(
        timeout_s, _fail, (result, NoAnswer(f"{service} did not answer {question.name} within {timeout_s:g} s"))
    )
    timer.daemon = True
    timer.start()

    def settled(inner: "Future[dict[str, object]]") -> None:
        timer.cancel()
        if (error := inner.exception()) is not None:
            _fail(result, error)
        elif not result.done():
            result.set_result(answer.model_validate(inner.result()))

    server(question, key).add_done_callback(settled)
    return result


class AnswerServer:
    """Answers at one address, with threads of its own."""

    problem = None

    def __init__(
        self, servers: Servers, address: str, answerer: Callable[[Question, str], Answer], workers: int
    ) -> None:
        """Begin to answer."""
        self._servers, self._address, self._answerer = servers, address, answerer
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=address)
        servers[address] = lambda question, key: self._pool.submit(self._reply, question, key)

    def stop(self, deadline_s: float = 10.0) -> None:  # noqa: ARG002 - answers are short
        """Answer nothing new."""
        self._servers.pop(self._address, None)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _reply(self, question: Question, key: str) -> dict[str, object]:
        try:
            found = self._answerer(type(question).model_validate_json(question.model_dump_json()), key)
        except QuestionRefused:
            raise
        except Exception as error:
            log.exception("question_failed", question=question.name)
            service = self._address.split(".", maxsplit=1)[0]
            raise QuestionRefused("internal", f"{service} could not answer; its log says why") from error
        if isinstance(found, WrittenAnswer):
            found = found.read()
        assert isinstance(found, QUESTIONS[type(question)])
        return found.model_dump(mode="json")


def _fail(future: "Future[A]", error: BaseException) -> None:
    with suppress(InvalidStateError):  # the answer and the deadline met; the first one counts
        future.set_exception(error)
