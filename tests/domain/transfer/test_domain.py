"""The pure part of the transfer service: names, targets, remotes, failures, portions."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datauploader_transfer.domain.failures import TABLE, classify
from datauploader_transfer.domain.names import checked_target, needs_bytes, place, standard_path
from datauploader_transfer.domain.plan import BatchLimits, fair_share, large_or_small, split_batches
from datauploader_transfer.domain.remotes import parse_remotes
from datauploader_transfer.domain.tuning import tuning_for
from datauploader_transfer.errors import BadRemote, BadTarget
from datauploader_transfer.ports import Item, State, Whose

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
    assert standard_path(plain) == encoded


@given(
    st.text(alphabet="a\u201b␊\n\uff0e\uff0f␀\x01\x7f␡./\udcff"),
    st.text(alphabet="a\u201b␊\n\uff0e\uff0f␀\x01\x7f␡./\udcff"),
)
def test_two_names_never_become_one(first, second):
    """The encoding is injective, so no file can take the place of another."""
    assert (standard_path(first) == standard_path(second)) == (first == second)


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
    ("text", "state", "whose"),
    [
        ("write /x: no space left on device", State.STORAGE_FULL, Whose.EITHER),
        ("preallocate: file too big for remaining disk space", State.STORAGE_FULL, Whose.EITHER),
        ("507 Insufficient Storage", State.STORAGE_FULL, Whose.EITHER),
        ("write a: response error: An operation failed because the disk was full.", State.STORAGE_FULL, Whose.EITHER),
        ("couldn't connect SMB: response error: The attempted logon is invalid.", State.REFUSED, Whose.REMOTE),
        ("The specified share name cannot be found on the remote server.", State.REFUSED, Whose.REMOTE),
        ("The disk cannot be written to because it is write-protected.", State.REFUSED, Whose.EITHER),
        ("failed to open: 401 Unauthorized: 401 Unauthorized", State.REFUSED, Whose.REMOTE),
        ("api error AccessDenied: Access Denied", State.REFUSED, Whose.EITHER),
        ("ssh: handshake failed: ssh: unable to authenticate", State.REFUSED, Whose.REMOTE),
        ("ssh: handshake failed: knownhosts: key mismatch", State.REFUSED, Whose.REMOTE),
        ("api error NoSuchBucket: gone", State.REFUSED, Whose.REMOTE),
        ("mkdir /x/a: read-only file system", State.REFUSED, Whose.EITHER),
        ("/x is a file not a directory", State.REFUSED, Whose.EITHER),
        ("open x: file name too long", State.REFUSED, Whose.FILE),
        ("unchunked simple update failed: 413 Request Entity Too Large", State.REFUSED, Whose.FILE),
        ("unchunked simple update failed: 423 Locked", State.FAILED, Whose.EITHER),
        ("unchunked simple update failed: 400 Bad Request", State.FAILED, Whose.EITHER),
        ("503 Service Unavailable", State.UNREACHABLE, Whose.EITHER),
        ("429 Too Many Requests", State.UNREACHABLE, Whose.REMOTE),
        ("dial tcp 127.0.0.1:1: connect: connection refused", State.UNREACHABLE, Whose.REMOTE),
        ("read tcp: connection reset by peer", State.UNREACHABLE, Whose.EITHER),
        ("timeout: nothing moved for 45 s", State.UNREACHABLE, Whose.EITHER),
        ('Propfind "https://s/x": tls: failed to verify certificate: x509: certificate signed by unknown authority',
         State.UNREACHABLE, Whose.REMOTE),
        ("x509: certificate has expired or is not yet valid: current time 2026-11-29T06:46:48Z is after 2020-01-02",
         State.UNREACHABLE, Whose.REMOTE),
        ("x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs",
         State.UNREACHABLE, Whose.REMOTE),
        ("StatusCode: 403, api error RequestTimeTooSkewed: The difference between the request time and the",
         State.UNREACHABLE, Whose.REMOTE),
        ("can't copy - source file is being updated (size changed)", State.SOURCE_CHANGED, Whose.FILE),
        ("context canceled", State.STOPPED, Whose.NEITHER),
        ("something new", State.FAILED, Whose.EITHER),
    ],
)  # fmt: skip
def test_error_texts_have_a_meaning(text, state, whose):
    """Each kind of failure leads to its own next step."""
    failure = classify(text)
    assert (failure.state, failure.whose) == (state, whose)
    assert failure.hint


@pytest.mark.fault("F61")
@pytest.mark.parametrize("failure", TABLE, ids=lambda failure: failure.says)
def test_what_the_storage_causes_as_a_whole_is_never_final_for_its_files(failure):
    """Only what this very file causes may end the trying; the administrator's work is waited for."""
    assert failure.retryable or failure.whose is Whose.FILE
    assert not failure.by_hand or failure.whose in (Whose.REMOTE, Whose.EITHER)


@pytest.mark.fault("F61")
@pytest.mark.parametrize("name", ["scan 401/x.h5", "certificate.h5", "password/403.h5"])
def test_a_name_does_not_decide_what_a_failure_means(name):
    """A number or a word in it is no answer of the storage."""
    assert classify(f'Propfind "https://s/{name}": EOF').state is State.UNREACHABLE
    assert classify(f"open /base/{name}: input/output error", name).state is State.UNREACHABLE


def test_a_storage_that_names_its_pause_is_obeyed():
    """At least that long."""
    assert classify("429 too many requests, retry after 37 seconds").retry_after_s == 37


def test_small_files_travel_by_count_and_bytes_and_large_ones_apart():
    """A large file keeps no small one waiting."""
    limits = BatchLimits(files=3, size=10, large=100, large_files=2)
    items = [item(str(n), size) for n, size in enumerate([1, 1, 200, 1, 1, 9, 9, 200, 200])]
    assert sizes(split_batches(items, limits)) == [["0", "1", "3"], ["4", "5"], ["6"], ["2", "7"], ["8"]]


@pytest.mark.parametrize(
    ("movers", "sending", "after_large", "takes"),
    [
        (4, 0, True, (True, False)),
        (4, 1, True, (False, True)),
        (4, 2, False, (False, True)),
        (4, 3, False, (False,)),
        (1, 0, False, (True, False)),
        (1, 0, True, (False, True)),
        (2, 1, True, (False,)),
    ],
)
def test_a_mover_is_left_for_small_files_and_one_for_large_ones(movers, sending, after_large, takes):
    """Neither waits for the other: a file of 500 GB may take hours, and a stream of small ones has no end."""
    assert large_or_small(movers, sending, after_large=after_large) == takes


@pytest.mark.parametrize(
    ("uploads", "first", "later"), [(1, 500, 500), (4, 500, 500), (8, 250, 256), (20, 100, 256), (1000, 64, 256)]
)
def test_the_more_uploads_wait_the_sooner_each_has_its_first_turn(uploads, first, later):
    """Twenty uploads of 500 files each had been one turn each: the last one saw nothing until the end."""
    assert fair_share(500, 4, uploads, begun=False) == first
    assert fair_share(500, 4, uploads, begun=True) == later
    assert fair_share(10, 4, uploads, begun=True) == 10


def test_versions_of_one_target_never_travel_together():
    """The later version follows the earlier one."""
    items = [item("a"), item("b"), item("a", 100 * MIB), item("A")]
    assert sizes(split_batches(items, BatchLimits())) == [["a", "b"], ["a"], ["A"]]
