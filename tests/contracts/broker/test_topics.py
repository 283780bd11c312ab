"""Bindings: `#` and `*` match as the broker matches, on both engines."""

import pytest

from datauploader.contracts.transfers import TransferProgressed
from datauploader.contracts.uploads import UploadOpened
from datauploader.messaging.topology import harvester_queue

OPENED, PROGRESSED = "elettra.xrd1.ws01.upload.opened.v1", "elettra.xrd1.ws01.transfer.progressed.v1"


@pytest.mark.parametrize(
    ("pattern", "hears_opened", "hears_progressed"),
    [
        ("#", True, True),
        ("#.#", True, True),
        ("*.*.*.*.*.*", True, True),
        ("*.*.*.*.*", False, False),
        ("*.*.*.*.*.*.*", False, False),
        ("#.*", True, True),
        ("#.v1", True, True),
        ("elettra.xrd1.#", True, True),
        ("elettra.xrd1.ws01.upload.opened.v1.#", True, False),
        ("#.elettra.xrd1.ws01.upload.opened.v1", True, False),
        ("elettra.#.opened.#", True, False),
        ("*.*.*.upload.opened.v1", True, False),
        ("*.upload.opened.v1", False, False),
        ("#.transfer.*.v1", False, True),
        ("elettra.xrd2.#", False, False),
        ("elettra.xrd", False, False),
        ("*.#.*.upload.#", True, False),
    ],
)
def test_a_pattern_hears_what_it_names(
    bus, consume, recorder, new_event, eventually, pattern, hears_opened, hears_progressed
):
    """A second queue that hears everything says when all has been routed."""
    handler, witness = recorder(), recorder()
    consume(bus, harvester_queue("pattern", [pattern]), handler)
    consume(bus, harvester_queue("witness", ["#"]), witness)
    bus.publish(new_event(UploadOpened(upload_id="upload-0001"))).result(60)
    bus.publish(new_event(TransferProgressed(upload_id="upload-0001", waiting=0, bytes_per_s=0))).result(60)
    witness.wait_for(2)
    expected = [key for key, heard in ((OPENED, hears_opened), (PROGRESSED, hears_progressed)) if heard]
    handler.wait_for(len(expected))
    assert sorted(delivery.event.routing_key for delivery in handler.deliveries) == sorted(expected)
