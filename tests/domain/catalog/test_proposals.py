"""The table of proposals: the newest news wins, whatever comes twice, late or unreadable."""

from collections.abc import Iterator

import pytest

from datauploader.reliability import Store
from datauploader_catalog import proposals
from datauploader_catalog.proposals import OrderUnknownError, ProposalNews, ProposalTable, UnreadNewsTable

ALL = ("members", "proposer", "dataAccessUsers")


@pytest.fixture
def store() -> Iterator[Store]:
    """A state in memory."""
    store = Store(None, [proposals.SCHEMA])
    yield store
    store.close()


def news(*people: str, sent: int = 1000, pk: int = 7, code: str = "2026-7", deleted: bool = False) -> ProposalNews:
    """One message about one proposal, all of whose people are members."""
    said = tuple((person, "members") for person in people)
    return ProposalNews(pk, code, said, 0, deleted, sent, digest=repr((people, sent, pk, code, deleted)))


def note(store: Store, *said: ProposalNews, redelivered: bool = False) -> list[bool]:
    """Note these, each in a transaction of its own."""
    noted = []
    for one in said:
        with store.transaction() as db:
            noted.append(ProposalTable(db).replace_proposal(one, redelivered=redelivered))
    return noted


def is_member(store: Store, person: str, code: str = "2026-7") -> bool:
    """Whether somebody may upload."""
    with store.reading() as db:
        return ProposalTable(db).standing(code, person, ALL).member


def test_what_is_said_last_stands_in_place_of_all_before(store: Store) -> None:
    """A message names all people, so a person who is not in it any more does not belong to it any more."""
    note(store, news("anna", "ben"), news("ben", sent=2000))
    assert not is_member(store, "anna")
    assert is_member(store, "ben")


def test_the_order_of_the_queue_is_believed_before_a_clock(store: Store) -> None:
    """A clock that was put back at the user office must not keep a removed person in."""
    note(store, news("anna", "ben", sent=5000), news("ben", sent=1000))
    assert not is_member(store, "anna")


def test_a_message_that_comes_again_does_not_bring_old_news_back(store: Store) -> None:
    """It was heard, its acknowledgement got lost, and a newer one was heard before it came again."""
    note(store, news("anna", "ben", sent=1000), news("ben", sent=2000))
    assert note(store, news("anna", "ben", sent=1000), redelivered=True) == [False]
    assert not is_member(store, "anna")


def test_a_message_that_comes_again_and_was_never_noted_is_noted(store: Store) -> None:
    """The service died before it wrote the message down."""
    note(store, news("anna", sent=1000))
    assert note(store, news("ben", sent=2000), redelivered=True) == [True]
    assert is_member(store, "ben")


def test_a_message_that_comes_again_at_once_changes_nothing(store: Store) -> None:
    """The same message, with a time or without one."""
    for sent in (1000, 0):
        note(store, news("anna", sent=sent))
        assert note(store, news("anna", sent=sent), redelivered=True) == [True]
        assert is_member(store, "anna")


def test_without_a_time_a_message_that_comes_again_is_not_guessed_about(store: Store) -> None:
    """Nobody knows whether it is older than what was heard since."""
    note(store, news("ben", sent=2000))
    with pytest.raises(OrderUnknownError):
        note(store, news("anna", sent=0), redelivered=True)
    assert not is_member(store, "anna")


def test_a_deleted_proposal_stays_deleted(store: Store) -> None:
    """An older message that comes again does not bring it back."""
    note(store, news("anna", sent=1000), news(sent=2000, deleted=True))
    note(store, news("anna", sent=1000), redelivered=True)
    with store.reading() as db:
        standing = ProposalTable(db).standing("2026-7", "anna", ALL)
    assert (standing.heard, standing.deleted, standing.member) == (True, True, False)


def test_a_code_that_was_used_before_is_its_new_proposals(store: Store) -> None:
    """The user office counts proposals by numbers of its own, which never come again."""
    note(store, news("anna", pk=7), news(pk=7, sent=2000, deleted=True), news("ben", pk=8, sent=3000))
    assert not is_member(store, "anna")
    assert is_member(store, "ben")


def test_a_proposal_that_gets_another_code_is_gone_from_the_old_one(store: Store) -> None:
    """A code is drawn anew when a proposal is submitted to some calls."""
    note(store, news("anna", code="000123"), news("anna", code="2026-7", sent=2000))
    assert not is_member(store, "anna", "000123")
    assert is_member(store, "anna", "2026-7")
    with store.reading() as db:
        assert ProposalTable(db).codes_of("anna", ALL) == ["2026-7"]


def test_only_the_chosen_roles_count(store: Store) -> None:
    """What decides is configuration, and takes effect without hearing anything anew."""
    said = ProposalNews(7, "2026-7", (("eva", "visitors"), ("eva", "visitors")), 0, False, 1000, "1")
    note(store, said)
    assert not is_member(store, "eva")
    with store.reading() as db:
        assert ProposalTable(db).codes_of("eva", ALL) == []
        assert ProposalTable(db).standing("2026-7", "eva", ("visitors",)).member


def test_unreadable_news_is_kept_once_and_gone_when_newer_is_read(store: Store) -> None:
    """A message that comes again and again is one trouble."""
    with store.transaction() as db:
        table = UnreadNewsTable(db)
        for _ in range(3):
            table.add_news("cannot be read", digest="1", code="2026-7", body=b"{")
        table.add_news("has no type", digest="2")
        assert list(table.recent_problems()) == ["has no type", "cannot be read"]
        table.settle_news("")
        table.settle_news("2026-7")
        assert list(table.recent_problems()) == ["has no type"]


def test_a_flood_of_unreadable_news_does_not_fill_the_disk(store: Store) -> None:
    """The oldest make room."""
    with store.transaction() as db:
        for number in range(1100):
            UnreadNewsTable(db).add_news("cannot be read", digest=str(number))
        rows = db.execute("SELECT count(*) AS count, min(digest + 0) AS first FROM unread_news").fetchone()
    assert (rows["count"], rows["first"]) == (1000, 100)
