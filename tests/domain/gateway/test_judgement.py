"""What operators are told of queues."""

from datetime import UTC, datetime

import pytest

from datauploader.messaging.topology import ASTRAY
from datauploader_gateway.features.operations.diagnosis import QueueBody, Seen, troubles


@pytest.mark.fault("F63")
@pytest.mark.parametrize(
    ("number", "words"), [(1, "1 message has no queue any more"), (40, "40 messages have no queue any more")]
)
def test_messages_that_went_astray_are_told_with_what_to_do(number: int, words: str) -> None:
    """There is no queue to be missing, and nobody who should consume it."""
    queue = QueueBody(name=ASTRAY, there=True, waiting=0, consumers=0, parked=number)
    (trouble,) = troubles(Seen(queues=[queue]), datetime.now(UTC))
    assert (trouble.what, trouble.about) == (words, "parked")
    assert "Create the queue again, then replay" in trouble.detail
