"""Who may upload, when the user office's messages say so: the listener, and the catalogue behind its membership."""

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from datauploader.contracts import DatasetAnnotated, DatasetDescribed, DatasetEnsured, DatasetRefused, Person
from datauploader.contracts.questions import CatalogCondition, HowIsTheCatalog
from datauploader.errors import ConfigurationError
from datauploader.messaging.rabbit import ForeignMessage
from datauploader.plugins.catalogue.errors import (
    CatalogueForbids,
    CatalogueUnavailable,
    NoSuchInvestigation,
    UnknownSession,
)
from datauploader.plugins.catalogue.port import (
    Catalogue,
    CatalogueInvestigation,
    CatalogueUser,
    NewDataset,
    NewInvestigation,
)
from datauploader.reliability import Store
from datauploader_catalog import proposals, schema
from datauploader_catalog.adapters.memory import Fault, MemoryCatalogue
from datauploader_catalog.adapters.vuo.catalogue import VuoCatalogue
from datauploader_catalog.membership import UserOfficeMembership
from datauploader_catalog.proposals import TOLD_S
from datauploader_catalog.settings import UserOfficeSettings, VuoSettings
from datauploader_catalog.useroffice import UserOfficeListener
from datauploader_sandbox.useroffice import EXCHANGE, ISSUER, Proposal, member
from datauploader_testing.waiting import eventually

from .test_catalog_service import HERE, UPLOAD, requested
from .test_catalog_service import World as CatalogWorld

ANNA, BEN, EVA = member(1, "anna"), member(2, "ben"), member(3, "eva")
URL = "amqp://127.0.0.1/useroffice"


class World:
    """A catalogue with two investigations that knows nobody, and what the user office has said."""

    def __init__(self, **more: Any) -> None:
        self.store = Store(None, [schema.SCHEMA, proposals.SCHEMA])
        self.settings = UserOfficeSettings.model_validate({"url": URL, **more})
        self.listener = UserOfficeListener(self.store, self.settings)
        self.catalogue = MemoryCatalogue()
        for number, name in (("31", "2026-7"), ("32", "2026-8")):
            self.catalogue.known[number] = CatalogueInvestigation(number, name, "1", "Grains", f"/data/{name}")
            self.catalogue.members[number] = set()
        self.proposal = Proposal(7, "2026-7", ANNA, [BEN])
        self.sent = 1_790_000_000_000

    @property
    def membership(self) -> Catalogue:
        """The catalogue as the service sees it."""
        return UserOfficeMembership(self.catalogue, self.store, self.settings)

    def hear(self, kind: str = "PROPOSAL_UPDATED", body: bytes | None = None, **more: Any) -> ForeignMessage:
        """Let the listener hear a message, by default the proposal as it is."""
        self.sent += 1000
        said = self.proposal.message() if body is None else body
        message = ForeignMessage(kind, said, self.sent, redelivered=False, exchange=EXCHANGE)
        message = dataclasses.replace(message, **more)
        self.listener.hear(message)
        return message

    def may_upload(self, person: str, investigation: str = "31") -> bool:
        """Whether somebody may."""
        try:
            self.membership.authorise(person, investigation)
        except CatalogueForbids:
            return False
        return True

    def rows(self, table: str) -> list[dict[str, Any]]:
        """What a table holds."""
        with self.store.reading() as db:
            return [dict(row) for row in db.execute(f"SELECT * FROM {table}")]


@pytest.fixture
def world() -> Iterator[World]:
    """A world with the default settings."""
    world = World()
    yield world
    world.store.close()


@pytest.mark.parametrize(
    "kind",
    [
        "PROPOSAL_CREATED", "PROPOSAL_UPDATED", "PROPOSAL_SUBMITTED", "PROPOSAL_ACCEPTED",
        "PROPOSAL_STATUS_ACTION_EXECUTED",
    ],
)  # fmt: skip
def test_each_message_with_a_proposal_says_who_may_upload(world: World, kind: str) -> None:
    """Members, the proposer and data access users; the grant leads to the catalogue's folder."""
    world.proposal.data_access = [EVA]
    world.hear(kind)
    assert [world.may_upload(who) for who in ("sub-anna", "sub-ben", "sub-eva", "sub-mallory")] == [
        True, True, True, False,
    ]  # fmt: skip
    assert world.membership.authorise("sub-ben", "31").base_dir == "/data/2026-7"
    assert not world.listener.problems


def test_a_removed_member_may_not_upload_any_more(world: World) -> None:
    """The next message does not name them."""
    world.hear()
    world.proposal.members = []
    world.hear()
    with pytest.raises(CatalogueForbids, match=r"does not name 'sub-ben' for proposal 2026-7.*principal inv"):
        world.membership.authorise("sub-ben", "31")


def test_nobody_may_upload_to_a_deleted_proposal(world: World) -> None:
    """Its message still names the proposer, as the backend makes it."""
    world.hear()
    world.hear("PROPOSAL_DELETED")
    with pytest.raises(CatalogueForbids, match="has deleted proposal 2026-7"):
        world.membership.authorise("sub-anna", "31")
    assert world.membership.investigations("sub-anna") == ()
    assert world.rows("proposal_people") == []


def test_what_was_never_heard_of_is_said_and_not_refused(world: World) -> None:
    """Whoever asks hears what is missing, and what helps; an upload waits for it."""
    with pytest.raises(CatalogueUnavailable, match="Nothing has been heard from the user office yet"):
        world.membership.investigations("sub-anna")
    world.hear()
    assert world.membership.investigations("sub-mallory") == ()
    with pytest.raises(CatalogueUnavailable, match=r"heard of proposal 2026-8 from the user office.*it sent again"):
        world.membership.authorise("sub-anna", "32")


def test_a_person_who_never_signed_in_there_is_told_so(world: World) -> None:
    """Without an `oidcSub` nobody can be recognised, and a first sign-in alone publishes nothing."""
    world.proposal.members = [member(2, "ben", signed_in=False)]
    world.hear()
    with pytest.raises(CatalogueForbids, match="1 of its people could not be recognised"):
        world.membership.authorise("sub-ben", "31")
    assert not world.may_upload("")
    assert not world.may_upload("None")


def test_people_of_another_identity_provider_do_not_count() -> None:
    """The same `oidcSub` at two providers is two people."""
    world = World(issuer=f"{ISSUER}/")
    world.proposal.members = [BEN | {"oauthIssuer": "https://elsewhere.eu"}]
    world.hear()
    assert [world.may_upload(who) for who in ("sub-anna", "sub-ben")] == [True, False]


@pytest.mark.parametrize(("people_by", "person"), [("id", "2"), ("email", "ben@example.org"), ("oidcSub", "sub-ben")])
def test_the_field_that_names_people_is_chosen(people_by: str, person: str) -> None:
    """It must have the values of the gateway's `user_claim`; no other field of the message counts."""
    world = World(people_by=people_by)
    world.hear()
    assert [who for who in ("2", "ben@example.org", "sub-ben") if world.may_upload(who)] == [person]


def test_whose_word_decides_is_chosen() -> None:
    """Visitors may be let in, members left out."""
    world = World(decides=["visitors", "proposer"])
    world.proposal.visitors = [EVA]
    world.hear()
    assert [world.may_upload(who) for who in ("sub-anna", "sub-ben", "sub-eva")] == [True, False, True]


def test_the_investigations_of_a_person_are_the_catalogues_of_their_proposals(world: World) -> None:
    """All visits of the name; a proposal that the catalogue does not have yet is left out."""
    world.catalogue.known["33"] = dataclasses.replace(world.catalogue.known["31"], id="33", visit="2")
    world.hear()
    world.proposal = Proposal(9, "2026-9", ANNA)
    world.hear()
    assert [one.id for one in world.membership.investigations("sub-anna")] == ["31", "33"]
    assert [one.id for one in world.membership.investigations("sub-ben")] == ["31", "33"]


def test_a_proposal_can_be_the_investigations_id() -> None:
    """As where a catalogue cannot be searched by name."""
    world = World(proposal_is="id")
    world.hear()
    world.proposal = Proposal(8, "32", ANNA)
    world.hear()
    assert [one.id for one in world.membership.investigations("sub-anna")] == ["32"]
    assert world.may_upload("sub-anna", "32")


def test_a_catalogue_that_cannot_be_searched_by_name_is_refused_at_the_start(world: World) -> None:
    """The sentence names the setting."""
    vuo = VuoCatalogue(VuoSettings.model_validate({"base_url": "https://vuo.example.org", "secret": "x"}))
    with pytest.raises(ConfigurationError, match='proposal_is = "id"'):
        UserOfficeMembership(vuo, world.store, world.settings)
    vuo.close()


def test_a_closed_investigation_and_an_unknown_one_stay_what_they_are(world: World) -> None:
    """The catalogue says what there is, the user office only who belongs to it."""
    world.catalogue.known["31"] = dataclasses.replace(world.catalogue.known["31"], active=False, reason="It is over.")
    world.hear()
    with pytest.raises(CatalogueForbids, match=r"closed\. It is over"):
        world.membership.authorise("sub-anna", "31")
    with pytest.raises(NoSuchInvestigation):
        world.membership.authorise("sub-anna", "99")


def test_the_catalogue_makes_a_dataset_for_whom_only_the_user_office_knows(world: World) -> None:
    """It would refuse a person whom it does not know, so it is asked without one, after the person was looked up."""
    world.hear()
    made = world.membership.ensure_dataset(NewDataset("31", "run1", owner="sub-ben"))
    assert world.catalogue.datasets[made.id].name == "run1"
    with pytest.raises(CatalogueForbids, match="does not name"):
        world.membership.ensure_dataset(NewDataset("31", "run2", owner="sub-mallory"))
    assert len(world.catalogue.datasets) == 1


def test_a_standing_rule_without_an_owner_works_as_before(world: World) -> None:
    """Nobody is named who could be looked up; the operator has written the rule."""
    assert world.membership.investigation("31").name == "2026-7"
    assert world.membership.ensure_dataset(NewDataset("31", "run1")).name == "run1"


def test_only_people_of_the_proposal_describe_its_investigation(world: World) -> None:
    """The catalogue is told without a person."""
    world.hear()
    world.membership.describe_investigation("31", "Grains of ice", "sub-ben")
    assert world.catalogue.known["31"].description == "Grains of ice"
    for person in ("sub-mallory", ""):
        with pytest.raises(CatalogueForbids):
            world.membership.describe_investigation("31", "Nonsense", person)


def test_a_dataset_that_nobody_asked_for_here_is_not_described(world: World) -> None:
    """Its investigation is not known, so nobody can be looked up."""
    world.hear()
    made = world.catalogue.ensure_dataset(NewDataset("31", "run1"))
    assert made.investigation_id == "31"
    with pytest.raises(CatalogueForbids, match="Nobody knows here"):
        world.membership.describe_dataset(made.id, "Nonsense", "sub-anna")


def test_nobody_makes_an_investigation_with_the_code_of_anothers_proposal(world: World) -> None:
    """Proposals are the user office's to make."""
    assert not world.membership.may_create
    with pytest.raises(CatalogueForbids, match="user office alone"):
        world.membership.ensure_investigation(NewInvestigation("2026-9", "1", "Mine", "sub-mallory"))


def test_a_session_of_the_catalogue_lets_nobody_in(world: World) -> None:
    """Its ids are other ones: the catalogue's user 2 is not the user office's."""
    world.catalogue.seed("session-2", CatalogueUser("sub-anna", "mallory", 1, 1), [])
    with pytest.raises(UnknownSession, match="identity provider"):
        world.membership.identify(SecretStr("session-2"))
    world.catalogue.fail("identify", Fault.UNAVAILABLE)
    with pytest.raises(CatalogueUnavailable):
        world.membership.identify(SecretStr("-"))


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("PROPOSAL_UPDATED", b"\xff{", "its body"),
        ("PROPOSAL_UPDATED", b"[]", "its body"),
        ("PROPOSAL_UPDATED", b"[" * 100_000, "its body"),
        ("PROPOSAL_UPDATED", b'{"proposalPk": 7, "shortCode": "2026-7"}', "about proposal 2026-7.*members"),
        ("PROPOSAL_UPDATED", b'{"proposalPk": 7, "shortCode": "2026-7", "members": null}', "members"),
        ("PROPOSAL_UPDATED", b'{"proposalPk": "x", "shortCode": "2026-7", "members": []}', "proposalPk"),
        ("PROPOSAL_UPDATED", b" " * 4_000_001, "4000001 bytes"),
        ("", b"{}", "no type"),
    ],
)
def test_a_message_that_cannot_be_read_is_kept_and_told(world: World, kind: str, body: bytes, said: str) -> None:
    """What was known stays as it was: a message without people is no proposal without people."""
    world.hear()
    world.hear(kind, body)
    assert world.may_upload("sub-ben")
    (problem,) = world.listener.problems
    assert "is sent again" in problem
    assert re.search(said, problem), problem
    (kept,) = world.rows("unread_news")
    assert bytes(kept["body"]) == (body[:64_000] if kind else b"")


def test_an_unreadable_message_is_no_trouble_any_more_when_its_proposal_was_sent_again(world: World) -> None:
    """The sentence asked for exactly that."""
    world.hear(body=b'{"shortCode": "2026-7"}')
    assert world.listener.problems
    world.hear()
    assert not world.listener.problems


def test_secrets_of_people_are_not_kept(world: World) -> None:
    """The software publishes refresh tokens with its users; a message of that kind is not even read."""
    said = json.dumps(ANNA | {"oauthRefreshToken": "secret-of-1"}).encode()
    world.hear("USER_UPDATED", said)
    assert not world.listener.problems
    world.hear("", said)
    world.hear("USER_UPDATED", said, exchange="")
    kept = repr([world.rows(table) for table in ("proposals", "proposal_people", "unread_news")])
    assert len(world.rows("unread_news")) == 2
    assert "secret" not in kept


def test_a_message_that_came_by_another_way_is_not_believed(world: World) -> None:
    """Whoever can put something into the queue is not the user office."""
    world.hear(exchange="")
    assert world.rows("proposals") == []
    (problem,) = world.listener.problems
    assert "came by 'no exchange'" in problem


def test_a_message_that_comes_again_without_a_time_is_told(world: World) -> None:
    """It is not noted, and not dropped in silence."""
    world.hear()
    world.proposal.members = [EVA]
    world.hear(sent_ms=0, redelivered=True)
    assert [world.may_upload(who) for who in ("sub-ben", "sub-eva")] == [True, False]
    assert "may be older" in world.listener.problems[0]


def test_a_gap_is_told_only_where_something_was_known(world: World) -> None:
    """A first start misses nothing; later somebody has to say who has changed."""
    world.listener.note_gap("the queue was not there")
    assert not world.listener.problems
    world.hear()
    world.listener.note_gap("the queue was not there")
    assert "news of the user office is missing" in world.listener.problems[0]


def test_a_trouble_ends_after_a_week(world: World) -> None:
    """What nobody can mend any more is not told for ever; the row stays."""
    world.hear("PROPOSAL_UPDATED", b"{")
    with world.store.transaction() as db:
        db.execute("UPDATE unread_news SET heard = heard - ?", (TOLD_S + 1,))
    assert not world.listener.problems
    assert world.rows("unread_news")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[CatalogWorld]:
    """A catalog service whose user office has a broker that nobody can reach; what it hears, a test tells it."""
    made = CatalogWorld(tmp_path)
    made.stop()
    made.catalogue.members["20260101"] = {"nobody"}
    made.start(
        useroffice={"url": "amqp://127.0.0.1:1/useroffice", "proposal_is": "id"}, rule_owners={HERE.key: "sub-ben"}
    )
    yield made
    made.stop()
    made.outside.close()


def tell(service: CatalogWorld, *members: Any) -> None:
    """Let the service hear a proposal with these members."""
    body = Proposal(7, "20260101", ANNA, list(members)).message()
    listener = service.service._office
    assert listener is not None
    listener.hear(ForeignMessage("PROPOSAL_UPDATED", body, 1_790_000_000_000, redelivered=False, exchange=EXCHANGE))


@pytest.mark.parametrize("user", ["sub-ben", "rule:scans"])
def test_an_upload_waits_until_its_proposal_was_heard_of(service: CatalogWorld, user: str) -> None:
    """A person's, and a standing rule's whose owner is one; the catalogue itself knows neither."""
    service.say(requested(user=user))
    eventually(
        lambda: any("heard of proposal 20260101" in check.detail for check in service.service.checks()),
        what="the reason is shown",
    )
    tell(service, BEN)
    service.await_(DatasetEnsured)


@pytest.mark.parametrize("user", ["sub-ben", "rule:scans"])
def test_an_upload_of_somebody_who_was_removed_is_refused(service: CatalogWorld, user: str) -> None:
    """Where the effect happens, whatever was allowed when it was asked for."""
    tell(service, BEN)
    tell(service)
    service.say(requested(user=user))
    assert "does not name 'sub-ben'" in service.await_(DatasetRefused)[0].detail
    assert not service.catalogue.datasets


@pytest.mark.parametrize(("user", "said"), [("sub-ben", ""), ("sub-mallory", "does not name")])
def test_people_of_the_proposal_describe_its_datasets(service: CatalogWorld, user: str, said: str) -> None:
    """The investigation of a dataset is that of its upload."""
    tell(service, BEN)
    service.say(requested(user="sub-ben"))
    service.await_(DatasetEnsured)
    service.say(DatasetDescribed(upload_id=UPLOAD, description="Grains of ice", requested_by=Person(id=user)))
    answer = service.await_(DatasetAnnotated)[0]
    assert said in answer.refusal
    assert bool(said) == bool(answer.refusal)
    assert (list(service.catalogue.descriptions.values()) == ["Grains of ice"]) == (not said)


def test_a_user_office_that_is_not_heard_is_a_trouble_of_the_service(service: CatalogWorld) -> None:
    """In its checks, and in what it says of itself."""
    eventually(lambda: "nothing is heard from the user office" in str(service.service.checks()), what="it is told")
    condition = service.outside.ask(HowIsTheCatalog(), CatalogCondition).result(60)
    assert any("nothing is heard from the user office" in trouble for trouble in condition.troubles)


def test_a_catalog_whose_queue_is_anothers_does_not_take_that_ones_news(service: CatalogWorld) -> None:
    """Each would hear half of it; afterwards a person has to say what was missed."""
    listener = service.service._office
    assert listener is not None
    tell(service, BEN)
    service.service._in_turn(service.service._miss)
    eventually(lambda: listener._queue is None, what="it hears nothing more")
    said = "another catalog with a state of its own was at work"
    eventually(lambda: any(said in problem for problem in listener.problems), what="it says why")
    service.service._in_turn(service.service._take_over)
    eventually(lambda: listener._queue is not None, what="it hears again")
