"""The pure part of the transfer service: names, targets, remotes, failures, portions."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datauploader_transfer.domain.failures import classify
from datauploader_transfer.domain.names import needs_bytes, standard
from datauploader_transfer.domain.plan import Portions, portions
from datauploader_transfer.domain.remotes import parse_remotes
from datauploader_transfer.domain.targets import checked_target, place
from datauploader_transfer.domain.tuning import tuning_for
from datauploader_transfer.errors import BadRemote, BadTarget
from datauploader_transfer.ports import Item, State

MIB = 1024**2


def item(target: str, size: int = 1) -> Item:
    """Announce a file that does not exist."""
    return Item(target, Path("/data") / target, target, size, 0, {"sha256": "", "md5": ""})


def sizes(groups) -> list[list[str]]:
    """Return the targets of each portion."""
    return [[one.target for one in group] for group in groups]


@pytest.mark.parametrize(
    ("plain", "encoded"),
    [
        ("scan/0001.nxs", "scan/0001.nxs"),
        ("new\nline", "new␊line"),
        ("␊", "\u201b␊"),
        ("\u201b", "\u201b\u201b"),
        ("a/\uff0e/b", "a/\u201b\uff0e/b"),
        ("\uff0e\uff0e", "\u201b\uff0e\u201b\uff0e"),
        ("a\uff0eb", "a\uff0eb"),
        ("\uff0f", "\u201b\uff0f"),
        ("\x7f", "␡"),
    ],
)
def test_names_take_rclones_standard_form(plain, encoded):
    """Control characters become symbols and symbols are quoted."""
    assert standard(plain) == encoded


@given(
    st.text(alphabet="a\u201b␊\n\uff0e\uff0f␀\x01\x7f␡./\udcff"),
    st.text(alphabet="a\u201b␊\n\uff0e\uff0f␀\x01\x7f␡./\udcff"),
)
def test_two_names_never_become_one(first, second):
    """The encoding is injective, so no file can take the place of another."""
    assert (standard(first) == standard(second)) == (first == second)


def test_only_names_that_are_no_text_need_bytes():
    """The other ones travel in JSON, many at once."""
    assert needs_bytes("a\udcffb")
    assert not needs_bytes("é ␊ 東京")


@pytest.mark.parametrize("target", ["a", "a/b", "..a", "a..", "-rf", " ", "a\\..\\b", "...", "é"])
def test_plain_relative_paths_are_targets(target):
    """A strange name is still a name."""
    assert checked_target(target) == target


@pytest.mark.parametrize("target", ["", "/a", "a/", "..", "../a", "a/../b", "a//b", ".", "./a", "a\0"])
def test_paths_that_could_leave_the_base_are_no_targets(target):
    """The sentence says what to give instead."""
    with pytest.raises(BadTarget):
        checked_target(target)


def test_twins_share_a_place():
    """Some storages take names for one that differ in case or Unicode form only."""
    assert place("UP/é") == place("up/e\u0301")
    assert place("a") != place("b")


@pytest.mark.parametrize(
    ("name", "definition", "says"),
    [
        ("Bad Name", {"type": "s3"}, "cannot be called"),
        ("-x", {"type": "s3"}, "cannot be called"),
        (":local:", {"type": "s3"}, "cannot be called"),
        ("source", {"type": "s3"}, "cannot be called"),
        ("a", {}, "needs a `type`"),
        ("a", {"type": "webdav,url=x"}, "needs a `type`"),
        ("a", {"type": "local", "base": "relative"}, "absolute path"),
        ("a", {"type": "local", "base": "/a/../b"}, "without '..'"),
        ("a", {"type": "s3", "option": {}}, "unknown fields"),
        ("a", {"type": "s3", "options": {"no-head": 1}}, "no option of rclone"),
        ("a", {"type": "s3", "read_back": "yes"}, "true or false"),
        ("a", {"type": "s3", "in_parallel": 0}, "whole number"),
    ],
)
def test_a_remote_that_cannot_be_used_is_refused_in_a_sentence(name, definition, says):
    """The configuration's reader learns which remote and what is wrong."""
    with pytest.raises(BadRemote, match=r"^[A-Z]") as caught:
        parse_remotes({name: definition})
    assert says in str(caught.value)


def test_a_remote_hides_its_secrets_and_overrules_the_tuning():
    """What the administrator writes wins over our own settings."""
    definition = {"type": "webdav", "options": {"pacer_min_sleep": "5ms"}, "secrets": {"pass": "canary"}}
    remote = parse_remotes({"dav": {**definition, "in_parallel": 3}})["dav"]
    assert "canary" not in repr(remote)
    assert tuning_for(remote).options["pacer_min_sleep"] == "5ms"
    assert tuning_for(remote).in_parallel == 3


def test_an_s3_prefix_is_addressed_as_a_folder():
    """Else rclone asks whether it is an object, and takes a refusal for a yes."""
    remotes = parse_remotes({"a": {"type": "s3", "base": "bucket/x"}, "b": {"type": "sftp", "base": "x"}})
    assert [remotes[name].fs for name in "ab"] == ["a:bucket/x/", "b:x"]


@pytest.mark.parametrize(
    ("text", "state", "retryable"),
    [
        ("write /x: no space left on device", State.STORAGE_FULL, True),
        ("preallocate: file too big for remaining disk space", State.STORAGE_FULL, True),
        ("507 Insufficient Storage", State.STORAGE_FULL, True),
        ("failed to open: 401 Unauthorized: 401 Unauthorized", State.REFUSED, False),
        ("api error AccessDenied: Access Denied", State.REFUSED, False),
        ("ssh: handshake failed: ssh: unable to authenticate", State.REFUSED, False),
        ("api error NoSuchBucket: gone", State.REFUSED, False),
        ("open x: file name too long", State.REFUSED, False),
        ("503 Service Unavailable", State.UNREACHABLE, True),
        ("429 Too Many Requests", State.UNREACHABLE, True),
        ("dial tcp 127.0.0.1:1: connect: connection refused", State.UNREACHABLE, True),
        ("read tcp: connection reset by peer", State.UNREACHABLE, True),
        ("can't copy - source file is being updated (size changed)", State.SOURCE_CHANGED, False),
        ("context canceled", State.STOPPED, True),
        ("something new", State.FAILED, True),
    ],
)
def test_error_texts_have_a_meaning(text, state, retryable):
    """Each kind of failure leads to its own next step."""
    failure = classify(text)
    assert (failure.state, failure.retryable) == (state, retryable)
    assert failure.hint


def test_a_storage_that_names_its_pause_is_obeyed():
    """At least that long."""
    assert classify("429 too many requests, retry after 37 seconds").retry_after_s == 37


def test_small_files_travel_by_count_and_bytes_and_large_ones_apart():
    """A large file keeps no small one waiting."""
    limits = Portions(files=3, size=10, large=100, large_files=2)
    items = [item(str(n), size) for n, size in enumerate([1, 1, 200, 1, 1, 9, 9, 200, 200])]
    assert sizes(portions(items, limits)) == [["0", "1", "3"], ["4", "5"], ["6"], ["2", "7"], ["8"]]


def test_versions_of_one_target_never_travel_together():
    """The later version follows the earlier one."""
    items = [item("a"), item("b"), item("a", 100 * MIB), item("A")]
    assert sizes(portions(items, Portions())) == [["a", "b"], ["a"], ["A"]]
