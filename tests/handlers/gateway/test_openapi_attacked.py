"""Whatever the OpenAPI document allows is asked of a running gateway: no answer is an error of its own or undescribed.

Values inside and outside the schemas come from schemathesis; both with and without somebody who is signed in.
"""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, not_a_server_error

EXAMPLES = 6
"""Requests of each operation, kind of value and caller."""
SLOW = {"/api/v1/events", "/api/v1/uploads/{upload_id}/events"}
"""Streams, whose answers do not end; tests of their own read them."""
STATED = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")
ASKS_OTHERS = 503, 504
"""Said where the catalogue or a station does not answer, as nobody does who is asked for an unknown station."""


def operations(facility: Any) -> list[Any]:
    """List what can be asked and ends."""
    document = facility.client().get("/api/v1/openapi.json").json()
    found = [result.ok() for result in schemathesis.openapi.from_dict(document).get_all_operations()]
    return [operation for operation in found if operation.path not in SLOW]


@pytest.mark.attack("S1", "S25")
@pytest.mark.parametrize(
    "signed_in", [pytest.param(False, id="nobody", marks=pytest.mark.campaign), pytest.param(True, id="a user")]
)
@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(GenerationMode.POSITIVE, id="sound"),
        pytest.param(GenerationMode.NEGATIVE, id="unsound", marks=pytest.mark.campaign),
    ],
)
def test_no_request_meets_an_error_or_an_undescribed_answer(
    open_facility: Any, mode: GenerationMode, signed_in: bool
) -> None:
    """Neither a 500 nor a status, kind of content or body that the document does not describe."""
    facility = open_facility(ask_timeout_s=0.3, attempts_per_account=100_000, attempts_per_address=100_000,
                             attempts_from_strangers=100_000)  # fmt: skip
    client = facility.client("anna")
    attacked = 0
    for operation in operations(facility):
        headers = {}
        if signed_in:  # anew each time, because one of the operations ends it
            headers["Authorization"] = f"Bearer {client.post('/api/v1/tokens', json={}).json()['token']}"
        attacked += attack(operation, mode, facility.gateway.url, headers)
        if signed_in:  # a person may have fifty
            client.delete("/api/v1/tokens/current", headers=headers)
    assert attacked >= 8
    assert client.get("/health/live").json() == {"ok": True}


def attack(operation: Any, mode: GenerationMode, url: str, headers: dict[str, str]) -> bool:
    """Send requests of one operation, and check every answer; False where no value could be wrong."""

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def send(case: Any) -> None:
        answer = case.call(base_url=url, headers=headers, timeout=10)
        if answer.status_code in ASKS_OTHERS:
            assert answer.headers["content-type"] == ["application/problem+json"] or operation.path == "/health/ready"
            return
        checks = [not_a_server_error, *(CHECKS.get_one(name) for name in STATED)]
        case.validate_response(answer, checks=checks)

    try:
        send()
    except Unsatisfiable:
        return False
    return True
