"""One vocabulary of REST: strict where the gateway builds it, tolerant where a client of another release reads it."""

import json
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import BaseModel, ValidationError

from datauploader.contracts.rest.audits import Asked, Audit, Audits
from datauploader.contracts.rest.descriptions import Description
from datauploader.contracts.rest.files import File, Files
from datauploader.contracts.rest.health import CheckBody, Ready
from datauploader.contracts.rest.investigations import Choices, InvestigationChoice
from datauploader.contracts.rest.model import NEEDED, RestModel
from datauploader.contracts.rest.previews import Conflicts, Destination, Together, UploadPreview
from datauploader.contracts.rest.session import CatalogueBody, MeBody, NewToken, ProviderBody, SignInBody, User
from datauploader.contracts.rest.stations import ServiceReport, Stations, StationStatus
from datauploader.contracts.rest.timing import StepTiming, Timing
from datauploader.contracts.rest.uploads import Amount, Counts, Later, Upload, Uploads
from datauploader_client.gateway_client import GatewayClient
from datauploader_client.reading import read_answer

NEEDS: dict[type[RestModel], dict[str, Any]] = {
    Upload: {
        "id": "u-0001", "state": "open", "mode": "sync", "investigation": "1", "dataset": "scan1", "station": "a.b.c",
        "created": "2026-05-01T10:00:00Z",
    },
    File: {"path": "a.h5", "size": 3, "state": "ready"},
    UploadPreview: {"path": "/data", "remote": "archive", "location": "1/scan1", "files": 1, "bytes": 3},
    InvestigationChoice: {"id": "1"},
    StationStatus: {"station": "a.b.c", "silent": False},
    ServiceReport: {"service": "watcher", "state": "running"},
    User: {"id": "1"},
    Uploads: {"items": []}, Files: {"items": []}, Choices: {"items": []}, Stations: {"items": []},
    Asked: {"audit": "a-0001"},
    Audits: {},
    Description: {},
    Timing: {}, StepTiming: {"step": "stored"},
    MeBody: {"user": {"id": "1"}},
    NewToken: {"id": "t1", "token": "du_good", "user": {"id": "1"}},
    Ready: {"ok": True},
    CheckBody: {"name": "redis", "ok": True},
    Audit: {"audit": "a-0001", "well": True},
    Destination: {"exists": True}, Together: {"files": 1},
    Amount: {}, Conflicts: {}, Counts: {}, Later: {}, ProviderBody: {}, CatalogueBody: {},
    SignInBody: {"local": True},
}  # fmt: skip
"""The least that each model is read from."""


def whole() -> Upload:
    """Build an upload as the gateway does."""
    return Upload(
        **NEEDS[Upload], over=False, needs_person=False, paused=False, closing=False, path="/data", sources=(".",),
        remote="archive", location="1/scan1", requested_by={"id": "1"}, updated="2026-05-01T10:00:00Z",
        counts=Counts(found=Amount(files=3, bytes=5)),
    )  # fmt: skip


def sent(model: RestModel, **changes: Any) -> bytes:
    """Return what a gateway sends, changed."""
    return json.dumps({**model.model_dump(mode="json"), **changes}).encode()


def test_what_the_gateway_sends_is_read_as_what_it_built() -> None:
    """By the same class, with the same values."""
    found = read_answer(Upload, sent(whole()))
    assert isinstance(found, Upload)
    assert found.model_dump() == whole().model_dump()


@pytest.mark.parametrize("model", NEEDS, ids=lambda model: model.__name__)
def test_what_an_older_gateway_leaves_out_is_empty(model: type[RestModel]) -> None:
    """Nothing but what is needed must be there, and what was read can be passed on."""
    least = NEEDS[model]
    assert set(least) == {name for name, field in model.model_fields.items() if NEEDED in field.metadata}
    found = read_answer(model, json.dumps(least).encode())
    document = json.loads(found.model_dump_json())
    assert document.keys() == model.model_fields.keys()
    left_out = {name for name, field in model.model_fields.items() if field.is_required()} - set(least)
    assert [name for name in left_out if document[name] and not isinstance(document[name], dict)] == []


def test_what_is_left_out_is_the_same_as_what_is_sent_empty() -> None:
    """A change of numbers is seen as one, and nothing else is."""
    nothing = {"files": 0, "bytes": 0}
    all_sent = read_answer(Upload, {**NEEDS[Upload], "counts": dict.fromkeys(Counts.model_fields, nothing)})
    assert read_answer(Upload, {**NEEDS[Upload], "counts": {}}).counts == all_sent.counts
    assert read_answer(Upload, NEEDS[Upload]).counts == all_sent.counts


@pytest.mark.parametrize(("model", "name"), [(model, name) for model, least in NEEDS.items() for name in least])
def test_an_answer_without_what_is_needed_is_refused(model: type[RestModel], name: str) -> None:
    """Something else than a gateway has answered."""
    with pytest.raises(ValidationError, match=name):
        read_answer(model, {key: value for key, value in NEEDS[model].items() if key != name})


def test_what_a_newer_gateway_says_is_kept_and_passed_on() -> None:
    """Fields that this release does not know, however deep, also in values that events hold as well."""
    person = {"id": "1", "name": "Anna", "orcid": "0000"}
    counts = {"found": {"files": 3, "bytes": 5, "blocks": 1}, "forgotten": {"files": 1}}
    restless = [{"path": "a", "since": "2026-05-01T10:00:00Z", "by": "vi"}]
    found = read_answer(Upload, sent(whole(), requested_by=person, counts=counts, restless=restless, mood="good"))
    assert found.counts.found == read_answer(Amount, counts["found"])
    document = json.loads(found.model_dump_json())
    assert document["mood"] == "good"
    assert document["requested_by"] == person
    assert document["counts"]["found"] == counts["found"]
    assert document["counts"]["forgotten"] == counts["forgotten"]
    assert document["restless"][0]["by"] == "vi"


def test_a_new_word_is_no_error() -> None:
    """A state of a newer gateway is shown as it is."""
    assert read_answer(Upload, sent(whole(), state="archived", mode="stream")).state == "archived"
    files = read_answer(Files, {"items": [{**NEEDS[File], "state": "thawing", "proof": "sworn"}]})
    assert (files.items[0].state, files.items[0].proof) == ("thawing", "sworn")


@pytest.mark.parametrize("changes", [{"state": "archived"}, {"counts": {"found": {"files": "many"}}}, {"path": None}])
def test_the_gateway_builds_nothing_that_openapi_does_not_say(changes: dict[str, Any]) -> None:
    """A new word, or a value of another type, is a fault of ours."""
    with pytest.raises(ValidationError):
        Upload.model_validate({**whole().model_dump(), **changes})


def test_the_gateway_leaves_nothing_out() -> None:
    """What a reader takes for empty must be given where an answer is built, and what is unknown is not sent."""
    with pytest.raises(ValidationError, match="11 validation errors"):
        Upload.model_validate(NEEDS[Upload])
    assert "mood" not in Upload.model_validate({**whole().model_dump(), "mood": "good"}).model_dump()


def test_every_model_that_the_client_reads_is_tried_here() -> None:
    """What its methods return, and what that is made of."""
    methods = [method for name, method in vars(GatewayClient).items() if callable(method) and name[0] != "_"]
    assert held(get_type_hints(method).get("return") for method in methods) == set(NEEDS)


def held(kinds: Any) -> set[type[RestModel]]:
    """Return the models of REST that these types are made of."""
    found: set[type[RestModel]] = set()
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= ({kind} if issubclass(kind, RestModel) else set()) | held(
                field.annotation for field in kind.model_fields.values()
            )
        else:
            found |= held(get_args(kind))
    return found
