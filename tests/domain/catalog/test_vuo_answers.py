"""VUO's answers are read as far as they can be believed, and not a word further."""

import contextlib
from datetime import date

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from datauploader.plugins.catalogue.errors import (
    BadAnswer,
    CatalogError,
    CatalogueForbids,
    CatalogueRefused,
    CatalogueUnavailable,
    NotTrusted,
    UnknownSession,
)
from datauploader.plugins.catalogue.port import CatalogueInvestigation, CatalogueUser, Dataset, Grant
from datauploader_catalog.adapters.vuo import answers

LOGIN = "https://vuo.example.org:8443/pls/vuo/guest.startup?back=a:b"
GARBAGE = st.one_of(
    st.text(max_size=300),
    st.text(alphabet="OK:AB/%0179-\n\r", max_size=60),
    st.text(max_size=60).map(lambda text: f"OK:{text}\n"),
    st.text(max_size=60).map(lambda text: f"{text}\n"),
)


def test_a_known_user_is_read() -> None:
    """The known answer gives user id, account, uid and gid."""
    assert answers.read_user("OK:1101:anna.moretti:51101:5100\n") == CatalogueUser("1101", "anna.moretti", 51101, 5100)


def test_an_unknown_session_gives_the_whole_login_address() -> None:
    """The login address holds colons itself; none of it is lost."""
    with pytest.raises(UnknownSession) as refusal:
        answers.read_user(f"KO:{LOGIN}\n")
    assert refusal.value.login_url == LOGIN


@pytest.mark.parametrize("address", ["javascript:alert(1)", "nowhere", "", "//evil.example.org", "http://["])
def test_a_refusal_without_a_web_address_is_unreadable(address: str) -> None:
    """A browser is never sent to what is no web address."""
    with pytest.raises(BadAnswer):
        answers.read_user(f"KO:{address}\n")


def test_a_grant_is_a_uid_and_a_directory() -> None:
    """Everything behind the first slash is the directory, colons and all."""
    assert answers.read_grant("OK:51101/store/a:b/2026\n", "1", "2") == Grant("/store/a:b/2026", 51101)


@pytest.mark.parametrize("directory", ["store/../etc", "", "store\x00", "store\nOK"])
def test_a_directory_that_leads_astray_is_unreadable(directory: str) -> None:
    """A base directory is a plain absolute path or it is not used."""
    with pytest.raises(BadAnswer):
        answers.read_grant(f"OK:51101/{directory}\n", "1", "2")


def test_a_refused_right_keeps_the_words_of_vuo() -> None:
    """What VUO says is shown to the person who asked."""
    with pytest.raises(CatalogueForbids, match="no member: sorry") as refusal:
        answers.read_grant("KO:no member: sorry\n", "1101", "20260101")
    assert refusal.value.words == "no member: sorry"
    assert not refusal.value.retryable


def test_a_database_in_trouble_is_no_refusal() -> None:
    """Oracle's own errors look like a status and a message; they mean "later"."""
    for text in ("ORA-01034: ORACLE not available\n", "PLS-00201: identifier must be declared\n"):
        with pytest.raises(CatalogueUnavailable):
            answers.read_grant(text, "1", "2")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("HASH:wrong\n", NotTrusted),
        ("BUSY:closed for a moment\n", CatalogueUnavailable),
        ("DENIED:not yours\n", CatalogueForbids),
        ("REFUSED:too long\n", CatalogueRefused),
        ("ABSENT:no dataset\n", CatalogueRefused),
        ("WHAT:is this\n", BadAnswer),
    ],
)
def test_each_agreed_word_means_one_thing(text: str, error: type[CatalogError]) -> None:
    """The status words of the assumed procedures are those of docs/catalogues/vuo.md."""
    with pytest.raises(error) as raised:
        answers.read_count(text)
    assert type(raised.value) is error


def test_a_truncated_answer_is_unreadable() -> None:
    """`OK:12` may be the beginning of `OK:123`."""
    with pytest.raises(BadAnswer, match="cut off"):
        answers.read_count("OK:12")


def test_a_truncated_list_is_unreadable() -> None:
    """A list says how long it is."""
    with pytest.raises(BadAnswer):
        answers.read_investigations("OK:2\n1:a:1:t:%2Fs:1\n")


def test_rows_are_percent_encoded() -> None:
    """Names with colons and newlines come back as they are."""
    answer = answers.read_answer("OK:7001:20260101:a%3Ab%0A%CF%8E:%2Fstore:1:10.5%2Fx\n")
    assert answers.read_dataset(answer) == Dataset("7001", "20260101", "a:b\nώ", "/store", True, "10.5/x")
    listed = answers.read_investigations("OK:1\r\n1:a:1:t%3At:%2Fs:0\r\n")
    assert listed == (CatalogueInvestigation("1", "a", "1", "t:t", "/s", active=False),)


def test_an_investigation_of_twelve_fields_says_more_than_one_of_six() -> None:
    """A facility that implements the older row is understood; half a row is not."""
    row = "1:a:1:t:%2Fs:0:over:XRD1:2026-01-31::Anna:what"
    listed = answers.read_investigation(row)
    assert listed == CatalogueInvestigation(
        "1", "a", "1", "t", "/s", False, "over", "XRD1", date(2026, 1, 31), None, "Anna", "what"
    )
    for broken in ("1:a:1:t:%2Fs:0:over", row.replace("01-31", "02-31"), f"{row}:more"):
        with pytest.raises(BadAnswer):
            answers.read_investigation(broken)


@given(GARBAGE)
@example("OK:\n")
@example("OK:9:\ud800:x:1:1\n")
@example("<!DOCTYPE html><title>Error: 200</title>\n")
def test_garbage_raises_our_own_errors_or_is_read(text: str) -> None:
    """Whatever arrives, nothing but a catalogue error leaves the parser."""
    readers = (
        answers.read_user,
        answers.read_count,
        answers.read_investigations,
        lambda answer: answers.read_grant(answer, "1", "2"),
        lambda answer: answers.read_dataset(answers.accepted(answers.read_answer(answer))),
    )
    for reader in readers:
        with contextlib.suppress(CatalogError):
            reader(text)


@given(GARBAGE.filter(lambda text: not text.startswith("ABSENT:")))
def test_garbage_is_never_absent(text: str) -> None:
    """Only the exact word says that something is not there."""
    try:
        answer = answers.read_answer(text)
    except CatalogError:
        return
    assert answer.status != "ABSENT"
