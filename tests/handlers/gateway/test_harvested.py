"""What harvesters have read, and the pictures that they have drawn: on pages and over REST, of the newest version."""

import struct
import zlib
from typing import Any

import pytest

from datauploader.contracts import ExtractedFile, FileReady, FileVersion, MetadataExtracted, Parameter, Picture
from datauploader_gateway.projection import harvest, keys
from datauploader_testing.waiting import eventually


def png(shade: int = 0) -> bytes:
    """Make a picture of two pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress(bytes((0, shade % 256, shade // 256)))
    head = struct.pack(">IIBBBBB", 2, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def read(upload: str, file: FileVersion, *, harvester: str = "thumbnails", **found: Any) -> MetadataExtracted:
    """Say what a harvester has read."""
    return MetadataExtracted(upload_id=upload, harvester=harvester, files=(ExtractedFile(file=file, **found),))


@pytest.fixture
def upload(facility: Any, scene: Any) -> str:
    """Return an upload of three files that are stored."""
    found: str = facility.client("anna").post("/api/v1/uploads", json=scene.wish()).json()["id"]
    for data in scene.life_of(found, 3)[:4]:
        facility.say(data)
    return found


def items(facility: Any, upload: str, number: int) -> list[dict[str, Any]]:
    """Return the files that something was read in, once there are so many."""
    client = facility.client("anna")

    def found() -> Any:
        there = client.get(f"/api/v1/uploads/{upload}/metadata").json()["items"]
        return there if sum(len(file["values"]) + len(file["pictures"]) for file in there) == number else None

    there: list[dict[str, Any]] = eventually(found, what="everything is there")
    return there


def test_values_are_shown_with_who_has_read_them_and_what_is_partial(facility: Any, scene: Any, upload: str) -> None:
    """On the page as over REST: each file with its values, and the sentence of what could not be read."""
    one, two, _ = scene.versions(3)
    title = Parameter(name="title", value="LaB6 <b>", units="")
    facility.say(read(upload, one, harvester="nexus", parameters=(title, Parameter(name="e", value=12.4, units="keV"))))
    facility.say(read(upload, two, harvester="nexus", parameters=(title,), problem="sample: it is damaged"))
    facility.say(read(upload, one, harvester="spec", parameters=(title,)))
    first, second = items(facility, upload, 4)
    assert (first["path"], second["path"]) == (one.path, two.path)
    assert [(value["name"], value["value"], value["units"], value["harvester"]) for value in first["values"]] == [
        ("e", 12.4, "keV", "nexus"), ("title", "LaB6 <b>", "", "nexus"), ("title", "LaB6 <b>", "", "spec"),
    ]  # fmt: skip
    assert (first["problem"], second["problem"]) == ("", "sample: it is damaged")
    client = facility.client("anna")
    part = client.get(f"/uploads/{upload}/metadata", headers={"hx-request": "true"}).text
    assert "LaB6 &lt;b&gt;" in part
    assert "3 values, read by nexus, spec" in part
    assert part.count("partial</span>") == 1
    assert "Sample: it is damaged." in client.get(f"/uploads/{upload}/metadata").text
    facility.say(FileReady(upload_id=upload, root="/data", destination=scene.life_of(upload, 3)[3].destination,
        files=(one.model_copy(update={"revision": 9, "sha256": "e" * 64}),)))  # fmt: skip
    assert items(facility, upload, 1)[0]["path"] == two.path, "what was read in an older version says nothing of this"


def test_pictures_are_shown_on_the_upload_and_on_the_receipt_and_served_as_nothing_but_pictures(
    facility: Any, scene: Any, upload: str
) -> None:
    """With the file's name as their text; to nobody who may not see the upload."""
    one, _, _ = scene.versions(3)
    facility.say(read(upload, one, pictures=(Picture.of(png(), 'frame 1 of 2 "><script>'),)))
    (file,) = items(facility, upload, 1)
    (picture,) = file["pictures"]
    assert (picture["media_type"], picture["width"], picture["height"]) == ("image/png", 2, 1)
    address = f"/api/v1/uploads/{upload}/pictures/{picture['sha256']}"
    client = facility.client("anna")
    for page in (f"/uploads/{upload}/pictures", f"/uploads/{upload}/receipt", f"/uploads/{upload}/metadata"):
        text = client.get(page).text
        assert f'src="{address}"' in text
        assert f'alt="{one.path}: frame 1 of 2 &#34;&gt;&lt;script&gt;"' in text
    answer = client.get(address)
    assert answer.content == png()
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["cache-control"] == "no-store"
    assert facility.client("bruno").get(address).status_code == 404
    other = client.get(f"/api/v1/uploads/{upload}/pictures/{'0' * 64}")
    assert other.status_code == 404
    assert "harvest replay" in other.text


def test_a_receipt_is_the_same_with_pictures(facility: Any, scene: Any, upload: str) -> None:
    """They come after the seal and change nothing of what is proven."""
    client, one = facility.client("anna"), scene.versions(3)[0]
    for data in scene.life_of(upload, 3)[4:]:
        facility.say(data)
    eventually(lambda: client.get(f"/api/v1/uploads/{upload}").json()["over"], what="it is complete")
    before = client.get(f"/api/v1/uploads/{upload}/receipt").json()
    facility.say(read(upload, one, pictures=(Picture.of(png()),)))
    items(facility, upload, 1)
    after = client.get(f"/api/v1/uploads/{upload}/receipt").json()
    assert (after["manifest"], after["file_list"]) == (before["manifest"], before["file_list"])


def test_of_all_uploads_the_latest_pictures_are_kept(
    facility: Any, scene: Any, upload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis has room for some: one that has gone is not shown, and its file is."""
    monkeypatch.setattr("datauploader_gateway.projection.harvest_store.MOST_IN_VIEW", 2)
    for shade, file in enumerate(scene.versions(3)):
        said = read(upload, file, pictures=(Picture.of(png(shade)),), parameters=(Parameter(name="n", value=shade),))
        facility.say(said)
    digests = [harvest.digest(png(shade)) for shade in range(3)]
    redis = facility.redis()
    eventually(lambda: redis.exists(keys.picture(digests[2])), what="the last picture is there")
    assert [bool(redis.exists(keys.picture(one))) for one in digests] == [False, True, True]
    assert [len(file["pictures"]) for file in items(facility, upload, 5)] == [0, 1, 1]
    assert 0 < redis.ttl(keys.picture(digests[2])) <= 86_400 * 400
