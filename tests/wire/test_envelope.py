"""What comes from outside is decoded or refused with a reason, whatever it is."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datauploader.contracts import decode, encode
from datauploader.contracts.envelope import LARGEST, LARGEST_ACCEPTED, natural_id
from datauploader.contracts.files import MOST_FILES, FileReady
from datauploader.contracts.uploads import UploadOpened, UploadRequested
from datauploader.errors import ContractError, Undecodable, UnknownEvent
from datauploader_testing import builders

SOUND = (Path(__file__).parent / "golden" / "upload.requested.v1.json").read_bytes()

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


def decodes(body: bytes) -> bool:
    """Decode, and tell whether it went well; only ContractError is an answer."""
    try:
        decode(body)
    except ContractError:
        return False
    return True


@pytest.mark.attack("S25")
@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_with_a_reason(body) -> None:
    """No bytes raise anything but ContractError."""
    assert not decodes(body)


@given(anything)
def test_arbitrary_json_is_refused_with_a_reason(document) -> None:
    """No JSON document raises anything but ContractError."""
    assert not decodes(json.dumps(document).encode())


@given(st.sampled_from(sorted(json.loads(SOUND))), anything)
def test_any_value_in_any_attribute_is_decoded_or_refused(attribute, value) -> None:
    """No value in an envelope raises anything but ContractError, and what decodes can be encoded and logged."""
    body = json.dumps(json.loads(SOUND) | {attribute: value}).encode()
    if decodes(body):
        encode(decode(body))


@given(st.sampled_from(sorted(json.loads(SOUND)["data"])), anything)
def test_any_value_in_any_field_is_decoded_or_refused(field, value) -> None:
    """No value in the data raises anything but ContractError, and what decodes can be sent on."""
    document = json.loads(SOUND)
    document["data"][field] = value
    body = json.dumps(document).encode()
    if decodes(body):
        encode(decode(body))


@given(st.integers(0, len(SOUND) - 1), st.integers(0, 255))
def test_a_changed_byte_is_decoded_or_refused(position, byte) -> None:
    """No single changed byte raises anything but ContractError."""
    decodes(SOUND[:position] + bytes([byte]) + SOUND[position + 1 :])


def with_data(text: str) -> bytes:
    """Put raw JSON into the description of a sound event."""
    return SOUND.replace(b'"A first scan."', text.encode())


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff\xfe" + SOUND, id="bytes before"),
        pytest.param(SOUND + b"{}", id="two documents"),
        pytest.param(SOUND.replace(b"Marie", b"Mar\xffe"), id="bad UTF-8"),
        pytest.param(with_data(r'"\ud800"'), id="lone surrogate"),
        pytest.param(SOUND.replace(b"2.5", b"NaN"), id="NaN in a number"),
        pytest.param(SOUND.replace(b"2.5", b"Infinity"), id="Infinity in a number"),
        pytest.param(with_data('"A", "unknown": NaN'), id="NaN in an unknown field"),
        pytest.param(SOUND.replace(b"2.5", b"1e999"), id="a number that overflows"),
        pytest.param(SOUND.replace(b"2.5", b"9" * 5000), id="a number of 5,000 digits"),
        pytest.param(SOUND.replace(b'"mode":', b'"mode":"batch","mode":'), id="duplicate key in the data"),
        pytest.param(SOUND.replace(b'"id":', b'"id":"other","id":', 1), id="duplicate key in the envelope"),
        pytest.param(SOUND.replace(b', "data":', b', "data": {}, "data":'), id="data twice"),
        pytest.param(SOUND.replace(b"{", b'{"data": {}, ', 1), id="other data before the attributes"),
        pytest.param(SOUND.replace(b'"1.0"', b'"0.3"'), id="another CloudEvents version"),
        pytest.param(SOUND.replace(b"urn:datauploader:elettra", b"urn:other:elettra"), id="another source"),
        pytest.param(SOUND.replace(b"elettra:xrd1", b"elettra:XRD.1"), id="a source that is no routing key"),
        pytest.param(SOUND.replace(b'"5f0c3f4e-5d0c-4c57-9f0b-0d9f5d6f7a01"', b'""'), id="an empty id"),
        pytest.param(SOUND.replace(b"0d9f5d6f7a01", b"x" * 300), id="an id that fits no AMQP property"),
        pytest.param(SOUND.replace(b"0d9f5d6f7a02", b"\\n"), id="a line break in the correlation id"),
        pytest.param(SOUND.replace(b"45.123456Z", b"45"), id="a time without its zone"),
        pytest.param(SOUND.replace(b"ws01:test", b"ws01:te st"), id="a service that is no word"),
        pytest.param(SOUND.decode().encode("utf-16"), id="UTF-16"),
        pytest.param(json.dumps([json.loads(SOUND)]).encode(), id="a batch"),
        pytest.param(b"[" * 10_000 + b"]" * 10_000, id="depth 10,000"),
        pytest.param(with_data("[" * 10_000 + "]" * 10_000), id="depth 10,000 in a field"),
        pytest.param(with_data('"A", "unknown": ' + '{"a":' * 10_000 + "1" + "}" * 10_000), id="depth in the unknown"),
    ],
)
def test_a_malformed_event_is_refused(body) -> None:
    """Each of these is undecodable, says so, and harms nobody."""
    with pytest.raises(Undecodable) as caught:
        decode(body)
    assert 0 < len(str(caught.value)) < 700


BOMB = """
import json, time, tracemalloc
from datauploader.contracts.envelope import decode
from datauploader.errors import Undecodable
body = b'{"data": "' + b"x" * (20 * 1024 * 1024) + b'"}'
tracemalloc.start()
begin = time.monotonic()
try:
    decode(body)
except Undecodable as error:
    took, (_, most) = time.monotonic() - begin, tracemalloc.get_traced_memory()
    print(json.dumps({"problem": str(error), "seconds": took, "bytes": most}))
"""


@pytest.mark.fault("F24")
def test_a_body_of_20_mib_is_refused_without_being_read() -> None:
    """A message bomb costs no memory and no time; measured where no other thread takes memory meanwhile."""
    ran = subprocess.run([sys.executable, "-c", BOMB], capture_output=True, text=True, check=True, timeout=60)
    found = json.loads(ran.stdout)
    assert str(LARGEST_ACCEPTED) in found["problem"]
    assert found["seconds"] < 1
    assert found["bytes"] < 1024 * 1024


def test_an_unknown_type_or_version_says_what_to_do() -> None:
    """An event of a newer release is told apart from rubbish."""
    for stranger in (b"upload.requested.v2", b"coffee.made.v1"):
        with pytest.raises(UnknownEvent, match="update this one"):
            decode(SOUND.replace(b"upload.requested.v1", stranger))


def test_a_full_event_of_usual_names_stays_small() -> None:
    """Many file versions with names of usual length stay under the limit that the contract states."""
    ready = builders.file_ready(*(builders.file_version(f"scan_0001/frame_{n:06}.h5") for n in range(150)))
    assert len(encode(builders.event(ready))) < LARGEST


def test_the_largest_event_is_decoded_quickly() -> None:
    """An event of 500 files is read in well under the time that moving one file takes."""
    files = (builders.file_version(f"scan_0001/frame_{n:06}.h5") for n in range(MOST_FILES))
    body = encode(builders.event(builders.file_ready(*files)))
    spent: list[float] = []

    for _ in range(10):
        began = time.process_time()
        assert isinstance(decode(body).data, FileReady)
        spent.append(time.process_time() - began)

    assert min(spent) < 0.1


def test_what_follows_keeps_the_trace_and_names_its_cause() -> None:
    """One trace joins the request and everything that it causes."""
    cause = decode(SOUND)
    assert isinstance(cause.data, UploadRequested)

    effect = cause.follow(UploadOpened(upload_id=cause.data.upload_id), service="watcher")

    assert effect.trace_id == cause.trace_id
    assert effect.traceparent != cause.traceparent
    assert effect.causation_id == cause.id
    assert effect.correlation_id == cause.correlation_id
    assert effect.station == cause.station


def test_a_strange_trace_is_replaced_not_passed_on() -> None:
    """A traceparent that does not keep W3C Trace Context must not reach logs and pages."""
    strange = decode(SOUND.replace(b"00-0af7651916cd43dd8448eb211c80319c", b"00-<script>"))
    assert re.fullmatch("[0-9a-f]{32}", strange.trace_id)


def test_the_same_fact_has_the_same_id_and_another_fact_another() -> None:
    """Ids that are derived from the world agree between runs and differ between kinds and parts."""
    assert natural_id(UploadOpened, "a", "b") == natural_id(UploadOpened, "a", "b")
    assert natural_id(UploadOpened, "a", "b") != natural_id(UploadOpened, "ab")
    assert natural_id(UploadOpened, "a") != natural_id(UploadRequested, "a")
