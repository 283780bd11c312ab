"""The way to the storage is bad, or the storage itself is; nothing is lost and nothing is falsely verified."""

import itertools

import pytest

from datauploader_sandbox.detector import Detector, Plan
from datauploader_testing.faults import (
    Direction,
    FlipAfter,
    FlipByte,
    Latency,
    LimitData,
    RefusingServer,
    Reset,
    Stall,
)
from datauploader_testing.waiting import eventually

UP, DOWN = Direction.UP, Direction.DOWN
BURST = Plan(mode="burst", files=40, file_size=200_000)


def write(run, plan: Plan) -> None:
    """Write a plan's files into the watched folder, here and now."""
    Detector(run.facility.watched, run.ledger, plan).run()


@pytest.mark.campaign
@pytest.mark.fault("F29")
def test_flipped_bytes_on_the_way_to_a_storage_without_hashes_are_never_called_verified(case) -> None:
    """A WebDAV server gets one file damaged at every attempt, others at the first: all end as they were written."""
    run = case(storage="apache", proxied=("storage",))
    upload = run.request()
    flips = FlipByte(direction=UP, position=100_000), FlipAfter(direction=UP, mark=b"00000007\n")
    with run.proxy["storage"].having(*flips):
        write(run, BURST)
        run.troubled(upload, "mismatch")
        eventually(lambda: all(flip.hits for flip in flips), within_s=60, what="both kinds of damage happened")
    run.heal()
    run.recover(upload)


@pytest.mark.fault("F30")
@pytest.mark.campaign
@pytest.mark.parametrize("kind", ["apache", "sftp"])
def test_files_that_are_cut_off_on_the_way_are_sent_again(case, kind) -> None:
    """Every connection ends after 300 kB, in the middle of a file."""
    run = case(storage=kind, proxied=("storage",))
    upload = run.request()
    cut = LimitData(direction=UP, after=300_000)
    with run.proxy["storage"].having(cut):
        write(run, BURST)
        eventually(lambda: cut.hits > 2, within_s=60, what="connections are cut")
    run.heal()
    run.recover(upload)


@pytest.mark.fault("F31")
@pytest.mark.campaign
@pytest.mark.parametrize("kind", ["apache", "s3", "sftp"])
def test_resets_and_latency_delay_and_lose_nothing(case, kind) -> None:
    """Connections are reset in the middle of files, and every answer comes two seconds late."""
    run = case(storage=kind, proxied=("storage",))
    upload = run.request()
    reset, late = Reset(direction=UP, after=500_000), Latency(direction=DOWN, seconds=2.0)
    with run.proxy["storage"].having(reset):
        write(run, BURST)
        eventually(lambda: reset.hits, within_s=60, what="a connection is reset")
    eventually(lambda: run.verified(upload) == BURST.files, within_s=120, what="everything is stored all the same")
    with run.proxy["storage"].having(late):
        (run.facility.watched / "late.dat").write_bytes(bytes(100_000))
        run.wrote("late.dat")
        eventually(lambda: late.hits, within_s=60, what="an answer is late")
        run.heal()  # two seconds are a network's nature, nothing that ends
        run.recover(upload)


@pytest.mark.fault("F31")
@pytest.mark.campaign
def test_a_storage_that_falls_silent_is_noticed_within_a_minute(case) -> None:
    """Connections stay open and nothing passes: people are told within 60 s, and everything goes on afterwards."""
    run = case(storage="apache", proxied=("storage",))
    upload = run.request()
    stall = Stall(direction=UP, after=200_000)  # a part of what one of some thirty connections carries
    with run.proxy["storage"].having(stall):
        write(run, BURST)
        eventually(lambda: stall.hits, within_s=60, what="a connection stalls")
        run.troubled(upload, "unreachable", within_s=60)
    run.heal()
    run.recover(upload)


@pytest.mark.fault("F32")
@pytest.mark.campaign
@pytest.mark.parametrize(("status", "pause_s"), [(429, 6), (503, 8)])
def test_a_storage_that_asks_for_a_pause_gets_it(case, status, pause_s) -> None:
    """A server that refuses with Retry-After is not asked again before that, and then gets everything."""
    run = case(storage="apache", proxied=("storage",))
    upload = run.request()
    with RefusingServer(status, str(pause_s)) as busy:
        real = run.facility.servers["apache-webdav"].address.port
        run.proxy["storage"].lead_to(busy.port)
        write(run, Plan(mode="burst", files=3, file_size=1000))
        eventually(lambda: was_left_alone(busy, pause_s, 3), within_s=60, what="the storage is asked again")
        run.proxy["storage"].lead_to(real)
    write(run, Plan(mode="scan", scans=1, frames=2))
    run.heal()
    run.recover(upload)


def was_left_alone(busy: RefusingServer, pause_s: float, files: int) -> bool:
    """Tell whether it was asked again after a pause of the wanted length.

    Each batch that is refused asks how long. As many as there are files may be under way when the first one hears it,
    and are not called back; nothing else comes before the pause is over.
    """
    requests = list(busy.requests)
    pauses = [after.at - before.at for before, after in itertools.pairwise(requests) if before.method == "HEAD"]
    under_way = list(itertools.takewhile(lambda pause: pause < pause_s - 0.1, pauses))
    later = pauses[len(under_way) :]
    said = f"asked again after {pauses} s, {pause_s} s were wanted"
    assert len(under_way) < files, said
    assert all(pause >= pause_s - 0.1 for pause in later), said
    return bool(later)


@pytest.mark.fault("F32")
@pytest.mark.campaign
def test_a_storage_that_is_away_gets_everything_when_it_is_back(case) -> None:
    """The server is killed while files are written, and started again; people are told meanwhile."""
    run = case(storage="s3")
    upload = run.request()
    server = run.facility.servers["s3"]
    server.kill()
    write(run, BURST)
    run.troubled(upload, "unreachable")
    server.start()
    run.heal()
    run.recover(upload)


@pytest.mark.campaign
@pytest.mark.fault("F37")
def test_an_edit_of_the_same_size_is_stored_on_a_storage_without_hashes(case) -> None:
    """AAAA becomes BBBB, and BBBB is what the storage holds."""
    run = case(storage="apache")
    upload = run.request()
    for content in (b"AAAA", b"BBBB"):
        (run.facility.watched / "same.dat").write_bytes(content)
        run.wrote("same.dat")
        eventually(lambda content=content: stored(run, "same.dat") == content, within_s=60, what=f"{content!r} stored")
    run.heal()
    run.recover(upload)


def stored(run, name: str) -> bytes | None:
    """Return what the storage holds of a file of the dataset `run`, None while it holds nothing."""
    found = next(run.facility.storage.rglob(f"run/{name}"), None)
    return found.read_bytes() if found else None


@pytest.mark.campaign
@pytest.mark.fault("F38")
def test_a_foreign_object_at_the_destination_is_never_overwritten(case) -> None:
    """It is shown as a conflict while others are stored; when a person has moved it away, a retry ends it."""
    run = case(storage="apache")
    upload = run.request()
    (run.facility.watched / "first.dat").write_bytes(b"first")
    run.wrote("first.dat")
    eventually(lambda: stored(run, "first.dat"), within_s=60, what="the first file is stored")
    (dataset,) = run.facility.storage.rglob("run")
    foreign = dataset / "ours.dat"
    foreign.write_bytes(b"theirs")
    write(run, Plan(mode="burst", files=5, file_size=1000))
    (run.facility.watched / "ours.dat").write_bytes(b"ours!!")
    run.wrote("ours.dat")
    assert run.troubled(upload, "conflict")["hint"]
    eventually(lambda: len(list(dataset.rglob("*.cbf"))) == 5, within_s=60, what="the other files are stored")
    assert foreign.read_bytes() == b"theirs"
    foreign.rename(dataset.parent.parent / "theirs.dat")
    run.control(upload, "retry")
    run.heal()
    run.recover(upload)
