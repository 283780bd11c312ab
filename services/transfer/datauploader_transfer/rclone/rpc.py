"""RPC to rclone, its remote control as Python calls: one alone or many in one, watched while they last.

Every call here is synchronous, so the answer belongs to the question: job numbers, which begin again
after a crash, and their expiry play no part. A lost connection means that rclone died.
"""

import codecs
import contextlib
import itertools
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import IO, Any, TypeVar
from urllib.parse import quote_from_bytes

import httpx

from datauploader_transfer.domain.names import needs_bytes
from datauploader_transfer.errors import RcloneGone, RcloneRefused
from datauploader_transfer.rclone.daemon import RcloneDaemon
from datauploader_transfer.rclone.stall_detector import StallDetector

__all__ = ["Answer", "Call", "RcloneRpc", "read_entries"]

Answer = dict[str, Any]
"""What rclone answers to one call; with a key `error` when it failed."""

Call = tuple[str, dict[str, Any]]
"""The path of a call and its parameters."""

T = TypeVar("T")

_TICK_S = 0.25
_END_S = 10.0
_NEWS_S = 5.0
"""How long rclone may take to say how a call gets on, or to note that it is to end; one that hangs does neither."""
_CANCELED = "context canceled"
_BETWEEN = re.compile(r"[\s,]*")
_CHUNK = 256 * 1024


class RcloneRpc:
    """A client of rclone's remote-control RPC."""

    def __init__(self, daemon: RcloneDaemon) -> None:
        self._daemon = daemon
        self._pool = ThreadPoolExecutor(32, "rc")
        self._groups = itertools.count(1)

    def new_group(self) -> str:
        """Return a new name under which rclone counts what belongs together."""
        return f"move-{next(self._groups)}"

    def call(self, path: str, *, within_s: float | None = None, **parameters: object) -> Answer:
        """Make one call and return its answer, however long it takes or within some seconds.

        Raises:
            RcloneRefused: rclone answered with an error.
            RcloneGone: rclone died, or did not answer in time.
        """
        answer = self._one((path, parameters), within_s)
        if "error" in answer:
            raise RcloneRefused(str(answer["error"]))
        return answer

    def call_many(
        self, calls: Sequence[Call], *, in_parallel: int, detector: StallDetector, group: str | None = None
    ) -> list[Answer]:
        """Make many calls in one and return an answer for each, in their order.

        When the watch ends the work, what was not finished answers with the watch's reason as its error.

        Raises:
            RcloneGone: rclone died, or hung and was killed; the destination holds the truth.
        """
        group = group or self.new_group()
        answers: list[Answer] = [{"error": _CANCELED} for _ in calls]
        plain = [index for index, call in enumerate(calls) if not _needs_query(call[1])]
        if plain:
            batch = {
                "inputs": [{"_path": calls[i][0], **calls[i][1]} for i in plain],
                "concurrency": in_parallel,
            }
            answer = self.watched("job/batch", detector, group, **batch)
            missing = {"error": answer.get("error", "rclone gave no answer for this file")}
            results: list[Answer | None] = [] if "error" in answer else answer.get("results", [])
            results += [None] * (len(plain) - len(results))
            for index, result in zip(plain, results, strict=True):
                answers[index] = missing if result is None else result
        for index in sorted(set(range(len(calls))).difference(plain)):
            if detector.reason:
                break
            path, parameters = calls[index]
            answers[index] = self.watched(path, detector, group, **parameters)
        if detector.reason:
            ended = {"error": detector.reason}
            return [ended if _CANCELED in str(answer.get("error", "")) else answer for answer in answers]
        return answers

    def watched(self, path: str, detector: StallDetector, group: str, **parameters: object) -> Answer:
        """Make one call that is ended when the watch says so, and return its answer, or an `error`.

        Raises:
            RcloneGone: rclone died, or hung and was killed; the destination holds the truth.
        """
        return self._watched(lambda: self._one((path, {**parameters, "_group": group})), group, detector)

    def spool(self, path: str, detector: StallDetector, **parameters: object) -> IO[bytes]:
        """Make one call whose answer may be too large to be held, and return it as a file that vanishes when closed.

        Raises:
            RcloneRefused: rclone answered with an error, or the watch ended the call.
            RcloneGone: rclone died, or hung and was killed.
        """
        group = self.new_group()
        file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever reads it closes it

        def fill() -> str:
            """Write the answer into the file; return the error that came in its place, "" where none came."""
            question = {**parameters, "_group": group}
            try:
                with self._daemon.client().stream("POST", f"/{path}", json=question) as response:
                    if response.status_code != httpx.codes.OK:
                        return str(json.loads(response.read()).get("error", response.status_code))
                    for chunk in response.iter_bytes():
                        file.write(chunk)
            except (httpx.TransportError, json.JSONDecodeError) as error:
                raise RcloneGone(f"rclone ended during {path}; it is restarted automatically.") from error
            return ""

        try:
            if refusal := self._watched(fill, group, detector):
                raise RcloneRefused(detector.reason or refusal)  # noqa: TRY301 - the file is closed in any case
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    def stats(self, group: str) -> Answer:
        """Return what rclone has counted for a group."""
        return self.call("core/stats", within_s=_NEWS_S, group=group)

    def close(self) -> None:
        """Let the threads of unfinished calls go."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _watched(self, send: Callable[[], T], group: str, detector: StallDetector) -> T:
        generation = self._daemon.generation
        future = self._pool.submit(send)
        while not wait([future], _TICK_S).done:
            if generation != self._daemon.generation:
                raise RcloneGone("rclone did not respond and was stopped; it is restarted automatically.")
            with contextlib.suppress(RcloneGone, RcloneRefused):
                counted = self.stats(group)
                finished = sum(counted.get(what, 0) for what in ("transfers", "listed", "checks"))
                detector.note_progress(finished, counted.get("bytes", 0))
                detector.note_error(counted.get("lastError", ""))
            if detector.must_end():
                with contextlib.suppress(RcloneGone, RcloneRefused):
                    self.call("job/stopgroup", within_s=_NEWS_S, group=group)
                if not wait([future], _END_S).done:
                    self._daemon.restart(generation)
        return future.result()

    def _one(self, call: Call, within_s: float | None = None) -> Answer:
        path, parameters = call
        client = self._daemon.client()
        timeout = httpx.USE_CLIENT_DEFAULT if within_s is None else within_s
        try:
            if _needs_query(parameters):
                texts = {
                    key: value if isinstance(value, str) else json.dumps(value) for key, value in parameters.items()
                }
                raw = {key: text.encode("utf-8", "surrogateescape") for key, text in texts.items()}
                query = "&".join(f"{key}={quote_from_bytes(text, safe='')}" for key, text in raw.items())
                response = client.post(f"/{path}?{query}", timeout=timeout)
            else:
                response = client.post(f"/{path}", json=parameters, timeout=timeout)
            answer: Answer = response.json()
        except (httpx.TransportError, json.JSONDecodeError) as error:
            raise RcloneGone(f"rclone ended during {path}; it is restarted automatically.") from error
        return answer


def read_entries(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the entries of an answer to operations/list, which is one JSON object with one member, `list`.

    One by one: a listing of a million objects is larger than what it is worth to hold.

    Raises:
        RcloneGone: the answer ends too early.
    """
    text, decoder = codecs.getreader("utf-8")(file, "replace"), json.JSONDecoder()
    buffer = text.read(_CHUNK)
    at = buffer.find("[") + 1
    if not at:  # null: there is nothing
        return
    while True:
        at = _BETWEEN.match(buffer, at).end()  # type: ignore[union-attr] # it matches nothing as well
        if buffer[at : at + 1] == "]":
            return
        try:
            entry, at = decoder.raw_decode(buffer, at)
        except json.JSONDecodeError:
            more = text.read(_CHUNK)
            if not more:
                raise RcloneGone("rclone ended during a listing; it is restarted automatically.") from None
            buffer, at = buffer[at:] + more, 0
        else:
            yield entry


def _needs_query(parameters: dict[str, Any]) -> bool:
    return any(isinstance(value, str) and needs_bytes(value) for value in parameters.values())
