"""The whole way of a membership: the user office publishes, its broker dies, people ask whether they may upload."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datauploader.contracts.questions import Investigations, ListInvestigations, MayUpload, UploadRight
from datauploader.errors import NoAnswer, QuestionRefused
from datauploader.messaging import connect
from datauploader.plugins.catalogue.port import CatalogueInvestigation
from datauploader.runtime.config import Settings
from datauploader.runtime.service import Context
from datauploader_catalog.adapters.memory import MemoryCatalogue
from datauploader_catalog.doctor import examine
from datauploader_catalog.service import CatalogService
from datauploader_catalog.settings import CatalogSettings
from datauploader_sandbox.useroffice import EXCHANGE, UserOffice, member
from datauploader_testing.servers import RabbitServer
from datauploader_testing.waiting import eventually

pytestmark = [pytest.mark.rabbitmq, pytest.mark.campaign]

ANNA, BEN, EVA = member(1, "anna"), member(2, "ben"), member(3, "eva")
VHOST = "useroffice"


class Facility:
    """A catalog service whose catalogue knows nobody, and a user office with a broker of its own."""

    def __init__(self, server: RabbitServer, folder: Path) -> None:
        self.server, self.folder, self.url = server, folder, f"memory://{uuid.uuid4()}"
        self.office = UserOffice(server.management, VHOST)
        own, password = r"^datauploader\.membership$", "correct-horse-7319"
        read = r"^(datauploader\.membership|user_office_backend\.fanout)$"
        server.management.create_user(VHOST, "datauploader", password, configure=own, write=own, read=read)
        self.broker = replace(server.address, user="datauploader", password=password, vhost=VHOST)
        self.catalogue = MemoryCatalogue()
        self.catalogue.known["31"] = CatalogueInvestigation("31", "2026-7", "1", "Grains", "/data/2026-7")
        self.catalogue.members["31"] = set()
        self.outside = connect(self.url, name="test")
        self.start()

    def start(self) -> None:
        """Start the service on its state."""
        self.bus = connect(self.url, name="catalog")
        settings = CatalogSettings.model_validate({"adapter": "memory", "useroffice": {"url": self.broker.url}})
        self.service = CatalogService(Context(Settings(state_dir=self.folder), self.bus), self.catalogue, settings)
        self.service.start()

    def stop(self) -> None:
        """Stop it."""
        self.service.stop(5)
        self.bus.close(5)

    @property
    def trouble(self) -> str:
        """What the service says about the user office."""
        return next(check.detail for check in self.service.checks() if check.name == "user office")

    def ask(self, person: str) -> str:
        """Ask as the gateway does, and say what the answer is."""
        question = MayUpload(user_id=person, investigation="31")
        try:
            right = self.outside.ask(question, UploadRight, timeout_s=5).result(60)
        except (QuestionRefused, NoAnswer) as error:
            return f"{getattr(error, 'code', 'silent')}: {error}"
        return "yes" if right.allowed else f"no: {right.detail}"

    def becomes(self, person: str, answer: str) -> None:
        """Wait until somebody gets this answer."""
        got: list[Any] = []

        def asked() -> bool:
            got[:] = [self.ask(person)]
            return answer in got[0]

        try:
            eventually(asked, within_s=60, every_s=0.1)
        except AssertionError:
            pytest.fail(f"{person} gets {got} and not {answer!r}; {self.trouble}")


@pytest.fixture
def facility(tmp_path: Path) -> Iterator[Facility]:
    """A facility of this test alone, whose broker it may kill."""
    with RabbitServer() as server:
        server.management.create_vhost(VHOST)
        facility = Facility(server, tmp_path)
        bound = "exchanges", VHOST, EXCHANGE, "bindings", "source"
        eventually(lambda: server.management.get(*bound), what="its queue is bound", within_s=30)
        yield facility
        facility.stop()


def test_who_may_upload_follows_the_user_office_through_the_death_of_its_broker(facility: Facility) -> None:
    """Member, removed, unheard, unreadable, after a restart of the service: each answer is the office's latest word."""
    office = facility.office
    facility.becomes("sub-anna", "unavailable: Nothing has been heard of proposal 2026-7 from the user office yet")
    proposal = office.create("2026-7", ANNA, BEN)
    facility.becomes("sub-ben", "yes")
    assert facility.ask("sub-eva").startswith("no: The user office does not name 'sub-eva'")
    listed = facility.outside.ask(ListInvestigations(user_id="sub-ben"), Investigations).result(60)
    assert [one.id for one in listed.items] == ["31"]

    proposal.members = []
    office.save(proposal)
    facility.becomes("sub-ben", "no: ")

    facility.server.settle()
    facility.server.kill()
    eventually(lambda: "nothing is heard from the user office" in facility.trouble, what="it is told")
    assert facility.ask("sub-anna") == "yes"
    facility.server.start()
    proposal.data_access = [EVA]
    office.save(proposal)
    facility.becomes("sub-eva", "yes")

    office.say("PROPOSAL_UPDATED", b"{")
    office.update_user(BEN)
    proposal.members = [BEN]
    office.say("PROPOSAL_ACCEPTED", proposal.message())
    facility.becomes("sub-ben", "yes")
    assert "cannot be read" in facility.trouble

    facility.stop()
    proposal.members = []
    office.save(proposal)
    facility.start()
    facility.becomes("sub-ben", "no: ")
    assert facility.ask("sub-anna") == "yes"

    office.delete(proposal)
    facility.becomes("sub-anna", "no: The user office has deleted proposal 2026-7")


def test_a_message_put_into_the_queue_itself_gives_nobody_rights(facility: Facility) -> None:
    """Whoever may write to the queue is not the user office."""
    proposal = facility.office.create("2026-7", ANNA)
    assert facility.ask("sub-anna") == "yes"
    proposal.members = [BEN]
    facility.server.management.publish(
        VHOST, "amq.default", proposal.message(), {"type": "PROPOSAL_UPDATED"}, "datauploader.membership"
    )
    eventually(lambda: "not by the user office's" in facility.trouble, what="it is told")
    assert facility.ask("sub-ben").startswith("no: ")
    assert EXCHANGE not in facility.ask("sub-ben")


def test_the_doctor_says_whether_the_user_office_can_be_heard(
    facility: Facility, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reaches the broker with the account, and looks for the exchange."""
    monkeypatch.setenv("DATAUPLOADER_CATALOG_ADAPTER", "memory")
    monkeypatch.setenv("DATAUPLOADER_CATALOG_USEROFFICE__URL", facility.broker.url)
    assert [(check.name, check.ok) for check in examine(Settings())] == [("user office", True), ("catalogue", True)]
    monkeypatch.setenv("DATAUPLOADER_CATALOG_USEROFFICE__EXCHANGE", "none.fanout")
    assert "none.fanout" in next(check.detail for check in examine(Settings()) if not check.ok)
