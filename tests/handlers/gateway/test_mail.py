"""Mail to people: one for each happening, through a real SMTP server, whatever that server does meanwhile."""

import asyncio
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any

import anyio
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from datauploader.contracts import (
    DatasetDelayed,
    DatasetPartlyRefused,
    DatasetRefused,
    FailedFile,
    FileFailed,
    FileReady,
    RefusedFile,
    UploadOpened,
    UploadOutgrown,
    UploadScanned,
)
from datauploader.contracts.paths import FilePath
from datauploader.contracts.uploads import RestlessFile
from datauploader.errors import ConfigurationError
from datauploader.runtime.service import Context
from datauploader_gateway import redis_client
from datauploader_gateway.auth.accounts import Accounts
from datauploader_gateway.features.mail.addresses import Addresses
from datauploader_gateway.features.mail.mail_templates import MailTemplates
from datauploader_gateway.service import GatewayService
from datauploader_gateway.settings.mail import MailSettings, is_address
from datauploader_testing.servers.ports import free_port
from datauploader_testing.waiting import eventually


class Door(SMTP):
    """One connection of the server, which remembers over what it came."""

    def connection_made(self, transport: Any) -> None:
        """Begin to listen to a client."""
        self.event_handler.connections.append(transport)
        super().connection_made(transport)


class Postmaster(Controller):
    """Runs the server; ends every connection with it, also one whose handshake has failed, which aiosmtpd leaves."""

    def factory(self) -> SMTP:
        """Open a door."""
        return Door(self.handler, **self.SMTP_kwargs)

    async def end_connections(self) -> None:
        """Close what is open, and wait for the round of the loop in which sockets are closed."""
        for transport in self.handler.connections:
            transport.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


class Letterbox:
    """An SMTP server on a port of its own; what it says to a mail can be changed."""

    def __init__(self, port: int, **options: Any) -> None:
        self.port, self._options = port, options
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.answer = "250 OK"
        self.offered = 0
        self.connections: list[Any] = []
        self._controller: Postmaster | None = None

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Take a mail, or not."""
        self.offered += 1
        if self.answer.startswith("250"):
            message = message_from_bytes(envelope.content, policy=default)
            assert isinstance(message, EmailMessage)
            self.mails.append(message)
            self.recipients.append(envelope.rcpt_tos)
        return self.answer

    def open(self) -> None:
        """Begin to listen."""
        self._controller = Postmaster(self, hostname="127.0.0.1", port=self.port, **self._options)
        self._controller.start()

    def close(self) -> None:
        """Be away."""
        if self._controller is not None:
            ending = self._controller.end_connections()
            asyncio.run_coroutine_threadsafe(ending, self._controller.loop).result(60)
            self.connections.clear()
            self._controller.stop()
            self._controller = None

    def subjects(self) -> list[str]:
        """Return what came."""
        return [str(mail["Subject"]) for mail in self.mails]

    def wait(self, number: int) -> list[EmailMessage]:
        """Wait for so many mails."""
        eventually(lambda: len(self.mails) >= number, what=f"{number} mails, not {self.subjects()}")
        return self.mails


@pytest.fixture
def letterbox() -> Iterator[Letterbox]:
    """Give a server that takes everything, without TLS."""
    box = Letterbox(free_port())
    box.open()
    with closing(box):
        yield box


@pytest.fixture
def with_mail(open_facility: Callable[..., Any], letterbox: Letterbox) -> Callable[..., Any]:
    """Open facilities that send mail there."""

    def make(**changes: Any) -> Any:
        asked = {
            "host": "127.0.0.1", "port": letterbox.port, "security": "none", "sender": "uploader@facility.eu",
            "address": "u{user}@facility.eu", "retry_s": 0.1, "failed_after_s": 0.0,
        }  # fmt: skip
        return open_facility(mail=asked | changes)

    return make


def text_of(mail: EmailMessage) -> str:
    """Return the body with the line ends of this machine."""
    return str(mail.get_content()).replace("\r\n", "\n")


def begin(facility: Any, scene: Any, **changes: Any) -> tuple[Any, str]:
    """Sign in as Anna and ask for an upload."""
    client = facility.client("anna")
    return client, client.post("/api/v1/uploads", json=scene.wish(**changes)).json()["id"]


def nothing_more(facility: Any, scene: Any, box: Letterbox) -> None:
    """Let another upload complete, and see that its mail is the only new one: mails are sent in order."""
    before = len(box.mails)
    _, other = begin(facility, scene, dataset={"name": "last"})
    for data in scene.life_of(other, 1):
        facility.say(data)
    box.wait(before + 1)
    assert len(box.mails) == before + 1, box.subjects()
    assert "last" in box.subjects()[-1]


def test_a_complete_dataset_is_told_once(with_mail: Any, scene: Any, letterbox: Letterbox) -> None:
    """However often the event comes, and across a new start of the gateway."""
    facility = with_mail()
    _, upload = begin(facility, scene)
    said = [facility.say(data) for data in scene.life_of(upload, 3)]
    (mail,) = letterbox.wait(1)
    assert mail["Subject"] == "Dataset scan1 is complete"
    assert (mail["To"], mail["From"], letterbox.recipients) == (
        "u7@facility.eu",
        "uploader@facility.eu",
        [["u7@facility.eu"]],
    )
    body = text_of(mail)
    assert "In the catalogue: 3 files with 30 B.\nAll of them were verified on the storage." in body
    assert f"{facility.gateway.url}/uploads/{upload}/receipt" in body
    for event in said:
        facility.bus.publish(event).result(60)
    facility.say(said[-1].data)
    facility.again()
    facility.whole()
    facility.bus.publish(said[-1]).result(60)
    nothing_more(facility, scene, letterbox)


def test_a_gateway_that_takes_over_sends_no_letter_again(
    with_mail: Any, scene: Any, letterbox: Letterbox, tmp_path: Path
) -> None:
    """It reads in the event log what the other one has told of, and writes the same letters."""
    facility = with_mail()
    folder = tmp_path / "second"
    folder.mkdir()
    common = facility.common.model_copy(update={"state_dir": folder})
    second = GatewayService(Context(common, facility.broker.bus("gateway")), facility.settings)
    second.start()
    _, upload = begin(facility, scene)
    for data in scene.life_of(upload, 1):
        facility.say(data)
    letterbox.wait(1)
    facility.gateway.stop(5)
    facility.gateway = second
    facility.whole()
    with second._store.reading() as db:
        assert db.execute("SELECT about FROM occasions").fetchone()["about"] == upload
    nothing_more(facility, scene, letterbox)


def test_a_mail_does_not_say_verified_of_what_is_not(with_mail: Any, scene: Any, letterbox: Letterbox) -> None:
    """Unverified files are counted in words."""
    facility = with_mail()
    _, upload = begin(facility, scene)
    for data in scene.life_of(upload, 2):
        text = data.model_dump_json().replace('"verified"', '"unverified"')
        facility.say(type(data).model_validate_json(text))
    (mail,) = letterbox.wait(1)
    assert "Not verified: 2 files." in text_of(mail)
    assert "Every one" not in text_of(mail)


def test_mails_are_kept_while_the_server_is_away(with_mail: Any, scene: Any, letterbox: Letterbox) -> None:
    """Also across a new start; health tells of them, and stays well."""
    letterbox.close()
    facility = with_mail()
    _, upload = begin(facility, scene)
    for data in scene.life_of(upload, 1):
        facility.say(data)
    check = eventually(lambda: [c for c in facility.gateway.checks() if c.name == "mail" and c.detail])[0]
    assert check.ok
    assert "does not accept mail" in check.detail
    facility.again()
    letterbox.open()
    letterbox.wait(1)
    eventually(lambda: not [c for c in facility.gateway.checks() if c.name == "mail" and c.detail])
    nothing_more(facility, scene, letterbox)


@pytest.mark.parametrize(("answer", "given_up"), [("451 come back later", False), ("554 no such person", True)])
def test_what_the_server_refuses_is_tried_again_or_given_up(
    with_mail: Any, scene: Any, letterbox: Letterbox, answer: str, given_up: bool
) -> None:
    """A 4xx is tried again, a 5xx is not: the server has said that it is of no use."""
    letterbox.answer = answer
    facility = with_mail()
    _, upload = begin(facility, scene)
    for data in scene.life_of(upload, 1):
        facility.say(data)
    eventually(lambda: letterbox.offered >= (1 if given_up else 2))
    letterbox.answer = "250 OK"
    if not given_up:
        letterbox.wait(1)
    nothing_more(facility, scene, letterbox)
    assert len(letterbox.mails) == (1 if given_up else 2)


def fail(facility: Any, scene: Any, upload: str, final: bool = True) -> None:
    """Let a file of the upload fail."""
    (file,) = scene.versions(1)
    there = scene.Destination(remote="archive", location="100/scan1")
    word = FailedFile(file=file, reason="conflict", detail="another file is there", hint="Rename it.", final=final)
    facility.say(UploadOpened(upload_id=upload))
    facility.say(FileReady(upload_id=upload, root="/data/scan1", destination=there, files=(file,)))
    facility.say(FileFailed(upload_id=upload, files=(word,)))


def test_failed_files_that_stand_still_are_told_once(with_mail: Any, scene: Any, letterbox: Letterbox) -> None:
    """The sentence of the failure is in it; more failures of the same upload add no second mail."""
    facility = with_mail()
    _, upload = begin(facility, scene)
    fail(facility, scene, upload)
    (mail,) = letterbox.wait(1)
    assert mail["Subject"] == "Dataset scan1: 1 file could not be uploaded"
    assert "another file is there. Rename it." in text_of(mail)
    fail(facility, scene, upload)
    nothing_more(facility, scene, letterbox)


def test_files_that_are_tried_again_or_were_stored_meanwhile_are_no_reason(
    with_mail: Any, scene: Any, letterbox: Letterbox
) -> None:
    """Only what stands still for a while is told."""
    facility = with_mail(failed_after_s=2.0)
    _, one = begin(facility, scene)
    fail(facility, scene, one, final=False)
    _, two = begin(facility, scene)
    fail(facility, scene, two)
    for data in scene.life_of(two, 1)[3:4]:
        facility.say(data)
    _, three = begin(facility, scene, dataset={"name": "three"})
    fail(facility, scene, three)
    (mail,) = letterbox.wait(1)
    assert "three" in mail["Subject"]
    nothing_more(facility, scene, letterbox)


def test_a_refusal_is_told_with_its_reason(with_mail: Any, scene: Any, letterbox: Letterbox) -> None:
    """And said again by the catalog, it is the same happening."""
    facility = with_mail()
    _, upload = begin(facility, scene)
    refused = DatasetRefused(upload_id=upload, reason="closed", detail="The investigation is closed", hint="Open it.")
    for _ in range(2):
        facility.say(refused)
    (mail,) = letterbox.wait(1)
    assert "The investigation is closed. Open it." in text_of(mail)
    nothing_more(facility, scene, letterbox)


def test_a_silent_station_with_open_uploads_is_told_once_to_each_person(
    with_mail: Any, scene: Any, letterbox: Letterbox
) -> None:
    """With all of their uploads in one mail."""
    facility = with_mail(silent_after_s=1.0)
    client, _ = begin(facility, scene)
    client.post("/api/v1/uploads", json=scene.wish(dataset={"name": "scan2"}))
    facility.say(scene.report(interval_s=0.1))
    (mail,) = letterbox.wait(1)
    assert mail["Subject"] == "Station elettra.xrd1.ws01 is not responding; your upload is waiting"
    assert all(f"- {name} of investigation 100" in text_of(mail) for name in ("scan1", "scan2"))
    nothing_more(facility, scene, letterbox)


@pytest.mark.fault("F57")
def test_a_watcher_that_is_silent_alone_is_told_as_well(with_mail: Any, scene: Any, letterbox: Letterbox) -> None:
    """Its station's transfer goes on reporting: that says nothing about what is written there."""
    facility = with_mail(silent_after_s=1.0)
    begin(facility, scene)
    facility.say(scene.report(interval_s=0.1))

    def heard() -> bool:
        facility.say(scene.report("transfer", interval_s=10))
        return bool(letterbox.mails)

    eventually(heard, what="the letter", within_s=20)
    (mail,) = letterbox.wait(1)
    assert mail["Subject"] == "Station elettra.xrd1.ws01 is not responding; your upload is waiting"


def test_nobody_gets_mail_who_does_not_want_it(with_mail: Any, scene: Any, letterbox: Letterbox) -> None:
    """For one upload or altogether, over REST, on the record; nobody chooses for another."""
    facility = with_mail()
    client, one = begin(facility, scene)
    assert client.get("/api/v1/me/mail").json() == {
        "sent_here": True, "on": True, "address": "u7@facility.eu", "source": "template",
    }  # fmt: skip
    assert client.put(f"/api/v1/uploads/{one}/mail", json={"on": False}).json() == {"on": False}
    assert facility.client("otto").put(f"/api/v1/uploads/{one}/mail", json={"on": True}).status_code == 403
    for data in scene.life_of(one, 1):
        facility.say(data)
    nothing_more(facility, scene, letterbox)
    assert client.put("/api/v1/me/mail", json={"on": False}).json()["on"] is False
    _, two = begin(facility, scene)
    for data in scene.life_of(two, 1):
        facility.say(data)
    eventually(lambda: client.get(f"/api/v1/uploads/{two}").json()["state"] == "completed")
    assert client.put("/api/v1/me/mail", json={"on": True}).json()["on"] is True


def test_without_configuration_nothing_is_kept(facility: Any, scene: Any) -> None:
    """Mail is off until an administrator names a server."""
    client, upload = begin(facility, scene)
    for data in scene.life_of(upload, 1):
        facility.say(data)
    eventually(lambda: client.get(f"/api/v1/uploads/{upload}").json()["state"] == "completed")
    assert client.get("/api/v1/me/mail").json()["sent_here"] is False
    with facility.gateway._store.reading() as db:
        assert db.execute("SELECT count(*) FROM occasions").fetchone()[0] == 0


def test_what_happened_before_mail_was_switched_on_is_not_told(
    open_facility: Any, with_mail: Any, scene: Any, letterbox: Letterbox
) -> None:
    """Nor what the event log says once more when the view is built again."""
    before = open_facility()
    _, upload = begin(before, scene)
    old = [before.say(data) for data in scene.life_of(upload, 1)]
    before.gateway.stop(5)
    facility = with_mail()
    facility.client("anna").post("/api/v1/uploads", json=scene.wish())
    for event in old:
        facility.bus.publish(event).result(60)
    nothing_more(facility, scene, letterbox)


@pytest.mark.attack("S22")
def test_no_name_writes_a_header_of_its_own(with_mail: Any, scene: Any, letterbox: Letterbox) -> None:
    """Line breaks in what comes from outside become spaces, in the subject as in the body."""
    facility = with_mail()
    _, upload = begin(facility, scene)
    detail = "closed\r\nBcc: everybody@elsewhere.eu\r\n\r\n<b>\x1b[31m\u202egnp"
    facility.say(DatasetRefused(upload_id=upload, reason="closed", detail=detail))
    (mail,) = letterbox.wait(1)
    assert (mail["Bcc"], letterbox.recipients) == (None, [["u7@facility.eu"]])
    line = next(line for line in text_of(mail).splitlines() if "Bcc" in line)
    assert line.startswith("closed  Bcc: everybody@elsewhere.eu")
    assert not any(sign in text_of(mail) for sign in "\x1b\u202e")


@pytest.mark.attack("S22")
@pytest.mark.parametrize(
    "text",
    [
        "a@b.eu\r\nBcc: c@d.eu",
        "a@b.eu, c@d.eu",
        "Anna <a@b.eu>",
        "a b@c.eu",
        "a@b@c.eu",
        "ä@b.eu",
        "@b.eu",
        "a@",
        "a\0@b.eu",
    ],
)
def test_what_is_no_plain_address_is_none(text: str) -> None:
    """Nothing that could mean more in a header or in an SMTP command."""
    assert not is_address(text)
    assert is_address("anna.rossi+data@beamline.facility.eu")


@pytest.mark.attack("S22")
def test_a_subject_is_one_short_line_whatever_the_names() -> None:
    """Cleaned at the last step as well, so that a facility's own template cannot let anything through."""

    class Upload:
        dataset = "x\r\nBcc: a@b.eu\u2028y" + "long " * 100

    subject = MailTemplates(None).write("refused", {"upload": _Everything(dataset=Upload.dataset), "link": ""}).subject
    assert "\n" not in subject
    assert "\r" not in subject
    assert len(subject) <= 200


class _Everything:
    """Stands for an upload in a template."""

    def __init__(self, **known: object) -> None:
        self.__dict__ |= known

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return 0 if name in ("files", "bytes") else [] if name == "troubles" else _Everything()

    def __str__(self) -> str:
        return "?"


def test_a_facility_has_its_own_words(with_mail: Any, scene: Any, letterbox: Letterbox, tmp_path: Path) -> None:
    """A template in its folder replaces the built-in one; the others stay."""
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "complete.txt").write_text(
        "{% block subject %}Fertig: {{ upload.dataset }}{% endblock %}{% block body %}Glück auf{% endblock %}"
    )
    facility = with_mail(templates=folder)
    _, upload = begin(facility, scene, dataset={"name": "δείγμα"})
    for data in scene.life_of(upload, 1):
        facility.say(data)
    (mail,) = letterbox.wait(1)
    assert (mail["Subject"], text_of(mail)) == ("Fertig: δείγμα", "Glück auf\n")


def test_a_template_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    """With its name."""
    (tmp_path / "failed.txt").write_text("{% block subject %}")
    with pytest.raises(ConfigurationError, match=r"failed\.txt"):
        MailTemplates(tmp_path)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a certificate for this machine."""
    folder = tmp_path_factory.mktemp("certificate")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subject = (
        "-subj",
        "/CN=mail",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    )
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
    subprocess.run(command, check=True, capture_output=True)
    return key, certificate


def test_starttls_and_a_password(open_facility: Any, scene: Any, certificate: tuple[Path, Path]) -> None:
    """The server takes nothing without either."""
    key, cafile = certificate
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cafile, key)
    proofs: list[bytes] = []

    def check(server: SMTP, session: Any, envelope: Any, mechanism: str, proof: Any) -> AuthResult:
        proofs.append(proof.password)
        return AuthResult(success=proof.password == b"secret")

    box = Letterbox(
        free_port(), tls_context=context, require_starttls=True, authenticator=check, auth_required=True,
    )  # fmt: skip
    box.open()
    with closing(box):
        facility = open_facility(
            mail={
                "host": "127.0.0.1", "port": box.port, "sender": "uploader@facility.eu",
                "address": "u{user}@facility.eu",
                "cafile": cafile, "user": "uploader", "password": "secret", "retry_s": 0.1,
            }
        )  # fmt: skip
        _, upload = begin(facility, scene)
        for data in scene.life_of(upload, 1):
            facility.say(data)
        box.wait(1)
        assert proofs == [b"secret"]


@pytest.mark.attack("S15")
@pytest.mark.parametrize("certified", [True, False], ids=["a certificate of nobody's", "no STARTTLS"])
def test_nothing_is_said_to_a_server_that_cannot_prove_itself(
    open_facility: Any, scene: Any, certificate: tuple[Path, Path], certified: bool
) -> None:
    """Neither the password nor a mail; the health page says why."""
    options: dict[str, Any] = {}
    if certified:
        context = SSLContext(PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate[1], certificate[0])
        options = {"tls_context": context}
    box = Letterbox(free_port(), **options)
    box.open()
    with closing(box):
        facility = open_facility(
            mail={
                "host": "127.0.0.1", "port": box.port, "sender": "uploader@facility.eu",
                "address": "u{user}@facility.eu",
                "user": "uploader", "password": "secret", "retry_s": 0.1,
            }
        )  # fmt: skip
        _, upload = begin(facility, scene)
        for data in scene.life_of(upload, 1):
            facility.say(data)
        said = eventually(lambda: [c.detail for c in facility.gateway.checks() if c.name == "mail" and c.detail])[0]
        assert ("certificate verify failed" if certified else "STARTTLS") in said
        assert (box.offered, "secret" in said) == (0, False)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"host": "mail.facility.eu", "security": "none", "sender": "a@b.eu"}, "needs starttls or tls"),
        ({"host": "mail.facility.eu"}, "sender"),
        ({"address": "everybody@facility.eu"}, "{user}"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(changes: dict[str, Any], says: str) -> None:
    """With what to write instead."""
    with pytest.raises(ValueError, match=says.replace("{", r"\{").replace("}", r"\}")):
        MailSettings(**changes)


def test_an_address_comes_from_the_accounts_file_or_a_provider_that_has_verified_it(tmp_path: Path) -> None:
    """In this order, and else from the template; what the provider has not verified is nobody's address."""
    (tmp_path / "accounts.toml").write_text('[[account]]\nname = "a"\nuser_id = "7"\nemail = "anna@facility.eu"\n')
    accounts = Accounts(tmp_path / "accounts.toml")

    async def run() -> list[tuple[str, str]]:
        client = redis_client.connect_async(f"memory://{uuid.uuid4()}")
        book = Addresses(client, accounts, MailSettings(address="{user}@facility.eu"), kept_s=10)
        await book.learn("7", {"email": "x@elsewhere.eu"}, vouched=True)
        await book.learn("8", {"email": "b@uni.eu"}, vouched=True)
        await book.learn("9", {"email": "c@uni.eu"}, vouched=False)
        await book.learn("10", {"email": "d@uni.eu\r\nBcc: e@uni.eu"}, vouched=True)
        await book.learn("11", {"email": "f@uni.eu"}, vouched=True)
        await book.learn("11", {"email": "f@uni.eu"}, vouched=False)
        people = ("7", "8", "9", "10", "11", "rule:night", "a b")
        found = [await book.address_of(person) for person in people]
        await client.aclose()
        return [(one.address, one.source) for one in found]

    assert anyio.run(run) == [
        ("anna@facility.eu", "account"), ("b@uni.eu", "identity-provider"), ("9@facility.eu", "template"),
        ("10@facility.eu", "template"), ("11@facility.eu", "template"), ("", "none"), ("", "none"),
    ]  # fmt: skip


@pytest.mark.fault("F56")
def test_what_came_after_completion_is_told_once(with_mail: Any, scene: Any, letterbox: Letterbox) -> None:
    """The second look finds the same and is no second mail; one that finds none is no mail at all."""
    facility = with_mail()
    _, upload = begin(facility, scene)
    for data in scene.life_of(upload, 3):
        facility.say(data)
    letterbox.wait(1)
    first = (FilePath(path="scan_log.txt"),)
    for _ in range(2):
        facility.say(UploadOutgrown(upload_id=upload, files=1, bytes=5, first=first, looked_at=datetime.now(UTC)))
    mail = letterbox.wait(2)[1]
    assert mail["Subject"] == "1 file added or changed after dataset scan1 was complete"
    assert "scan_log.txt" in text_of(mail)
    assert f"{facility.gateway.url}/new?from={upload}" in text_of(mail)
    facility.say(UploadOutgrown(upload_id=upload, files=0, bytes=0, looked_at=datetime.now(UTC)))
    nothing_more(facility, scene, letterbox)


@pytest.mark.fault("F59")
def test_what_the_catalogue_does_not_take_is_told(with_mail: Any, scene: Any, letterbox: Letterbox) -> None:
    """A refused file as a failed one; an upload that nobody knows a way on for with the cause, once."""
    facility = with_mail()
    _, upload = begin(facility, scene)
    for data in scene.life_of(upload, 1)[:4]:
        facility.say(data)
    word = RefusedFile(file=scene.versions(1)[0], what="datafile", detail="ORA-12899: too long", hint="Rename it.")
    facility.say(DatasetPartlyRefused(upload_id=upload, files=(word,)))
    (mail,) = letterbox.wait(1)
    assert "ORA-12899: too long. Rename it." in text_of(mail)
    _, other = begin(facility, scene, dataset={"name": "other"})
    since = datetime.now(UTC)
    away = DatasetDelayed(upload_id=other, detail="VUO did not answer.", since=since, retry_s=60)
    facility.say(away)
    for words in ("VUO failed with HTTP 500.", "VUO failed with HTTP 501."):
        facility.say(away.model_copy(update={"detail": words, "needs_person": True}))
    mail = letterbox.wait(2)[1]
    assert mail["Subject"] == "Dataset other: the catalogue does not accept it"
    assert "VUO failed with HTTP 50" in text_of(mail)
    nothing_more(facility, scene, letterbox)


@pytest.mark.fault("F64")
def test_a_file_that_keeps_a_closed_dataset_open_is_told_once(
    with_mail: Any, scene: Any, letterbox: Letterbox
) -> None:  # fmt: skip
    """With its name and the two ways; one that has come to rest meanwhile is no reason for a mail."""
    facility = with_mail(failed_after_s=0.5)
    _, upload = begin(facility, scene)
    _, rested = begin(facility, scene, dataset={"name": "rested"})
    named = RestlessFile(path="run.log", since=datetime.now(UTC))
    for one in (rested, upload):
        facility.say(UploadOpened(upload_id=one))
        facility.say(UploadScanned(upload_id=one, files=1, bytes=5, settling=1, left_out=0, restless=(named,)))
    facility.say(UploadScanned(upload_id=rested, files=1, bytes=5, settling=0, left_out=0))
    facility.say(UploadScanned(upload_id=upload, files=1, bytes=9, settling=1, left_out=0, restless=(named,)))
    (mail,) = letterbox.wait(1)
    assert mail["Subject"] == "Dataset scan1 waits: run.log is still being written"
    assert "upload it as it is now, or leave it out" in text_of(mail)
    assert f"{facility.gateway.url}/uploads/{upload}" in text_of(mail)
    nothing_more(facility, scene, letterbox)
