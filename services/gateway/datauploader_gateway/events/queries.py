"""Queries of stations to the gateway: how far it has heard them, and whether it still knows their open uploads."""

import redis
import structlog

from datauploader.contracts import Event, Station, UploadControlled, UploadRequested, decode
from datauploader.contracts.model import Question, WireModel
from datauploader.contracts.questions import Heard, LastHeard, Remembered, RememberUpload
from datauploader.errors import ContractError, QuestionRefused
from datauploader.reliability import Outbox, Store
from datauploader_gateway.events.heard_sequences import CATALOG, HeardSequences
from datauploader_gateway.events.pending_requests import PendingRequests
from datauploader_gateway.events.signing import Signer
from datauploader_gateway.projection import keys
from datauploader_gateway.settings import SERVICE

log = structlog.get_logger()

RULE = "rule:"


class GatewayQueries:
    """Answers queries (request-reply) of each station about itself alone; the broker vouches for who asks."""

    def __init__(
        self, store: Store, outbox: Outbox, client: redis.Redis, numbers: HeardSequences,
        pending_requests: PendingRequests, signer: Signer,
    ) -> None:  # fmt: skip
        """Answer from these."""
        self._store, self._outbox, self._redis = store, outbox, client
        self._sequences, self._pending_requests, self._signer = numbers, pending_requests, signer

    def __call__(self, question: Question, station: Station) -> WireModel:
        """Answer one question of a station.

        Raises:
            QuestionRefused: with a code (`unavailable`, `not-allowed`, `invalid-question`, `unknown-question`).
        """
        if isinstance(question, LastHeard) and question.service != CATALOG:
            return self._heard(question, station)
        if isinstance(question, RememberUpload):
            return self._remember(_request(question, station), question)
        raise QuestionRefused("unknown-question", f"the gateway does not answer {question.name} to stations")

    def of_facility(self, question: Question) -> WireModel:
        """Answer a question of a service of the facility.

        Raises:
            QuestionRefused: the question is none of those.
        """
        if isinstance(question, LastHeard) and question.service == CATALOG:
            return self._heard(question, None)
        raise QuestionRefused("unknown-question", f"the gateway does not answer {question.name}")

    def _heard(self, question: LastHeard, station: Station | None) -> Heard:
        number = self._sequences.before(station, question.service, question.state, question.run)
        return Heard(number=number, facility=f"{self._store.identity}.{self._store.run}")

    def _remember(self, event: Event[UploadRequested], question: RememberUpload) -> Remembered:
        """Say a request again that is not known here any more, where it is proved that it was ours."""
        upload_id = event.data.upload_id
        try:
            forgetful = self._store.needs_recovery or not self._redis.exists(keys.MARKER)
        except redis.RedisError as error:
            raise QuestionRefused("unavailable", f"Redis does not answer: {error}") from error
        if forgetful:
            raise QuestionRefused("unavailable", "the gateway is still loading its history; ask again later")
        knew = self._pending_requests.knows(upload_id, event.station.key)
        shown = bool(self._redis.hexists(keys.upload(upload_id), keys.REQUEST))  # not what a station has said since
        if question.over:
            return Remembered(knew=knew)
        if knew == "over" or (knew == "open" and shown and not question.catalog_lacks):
            return Remembered(knew=knew)
        if not event.data.requested_by.id.startswith(RULE) and not self._signer.holds(event):
            log.error("upload_request_unproven", upload_id=upload_id, station=event.station.key)
            raise QuestionRefused(
                "not-allowed",
                f"this facility does not know the upload {upload_id} and has no proof that "
                f"{event.data.requested_by.id} asked for it; that person has to ask for the same dataset again",
            )
        with self._store.transaction() as db:
            Outbox.put(db, event)
            self._pending_requests.keep_request(db, event)
            if question.paused and not shown:
                pause = UploadControlled(upload_id=upload_id, action="pause", requested_by=event.data.requested_by)
                said = event.follow(pause, service=SERVICE)
                Outbox.put(db, said)
                self._pending_requests.keep_request(db, said)
        self._outbox.wake()
        log.warning("upload_request_recovered", upload_id=upload_id, station=event.station.key)
        return Remembered(knew="open" if shown else "nothing")


def _request(question: RememberUpload, station: Station) -> Event[UploadRequested]:
    try:
        event = decode(question.event.encode())
    except ContractError as error:
        raise QuestionRefused("invalid-question", f"event: {error}") from error
    if not isinstance(event.data, UploadRequested):
        raise QuestionRefused("invalid-question", "event: it is not an upload.requested")
    if event.station != station:
        raise QuestionRefused("not-allowed", f"{station.key} speaks of an upload of {event.station.key}")
    return event  # type: ignore[return-value]
