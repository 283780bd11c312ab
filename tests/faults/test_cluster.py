"""A broker of three nodes: any one may die under load, and nobody waits for it to come back."""

import time
from collections.abc import Iterator

import pytest

from datauploader.messaging.topology import catalog_queue
from datauploader_sandbox.detector import Detector, Plan
from datauploader_testing.waiting import eventually

WITHIN_S = 30.0
"""From the death of a node until a file that was written after it is verified."""


@pytest.mark.campaign
@pytest.mark.fault("F19")
@pytest.mark.parametrize("victim", ["first", "second", "third", "leader"])
def test_any_node_may_die_under_load_and_nobody_waits_for_it(case, victim) -> None:
    """SIGKILL: files go on within 30 s, all is complete without it; it comes back, and another one may die then."""
    run = case(broker_nodes=3)
    cluster = run.server["rabbitmq"]
    chosen = dict(zip(("first", "second", "third"), cluster.nodes, strict=True))
    node = chosen.get(victim) or cluster.leader(catalog_queue().name)
    upload_while_dying(run, node, "run")
    node.start()
    eventually(lambda: not list(behind(cluster)), within_s=60, every_s=1, what="every queue has all its members again")
    upload_while_dying(run.beside("later"), cluster.leader(catalog_queue().name), "later")


def upload_while_dying(run, node, dataset: str) -> None:
    """Write as instruments do, kill a node of the broker, and see that the work goes on and ends well without it."""
    folder = run.facility.watched / dataset
    folder.mkdir()
    upload = run.request(dataset, path=str(folder))
    run.opened(upload)
    with Detector(folder, run.ledger, Plan(scans=0, frames=20, seconds_per_frame=0.1)) as detector:
        done = len(run.claims)
        eventually(lambda: len(run.claims) > done + 20, within_s=60, what="files are stored")
        node.kill()
        since, told = time.monotonic(), len(run.claims)
        former = {bytes(path.relative_to(folder)) for path in folder.rglob("*")}
        eventually(
            lambda: any(claim.verified and claim.path not in former for claim in run.claims[told:]),
            within_s=WITHIN_S,
            what="a file that was written since is verified",
        )
        print(f"verified again {time.monotonic() - since:.1f} s after the death of a node")  # noqa: T201 - docs/scaling.md
        detector.stop()
        detector.finish(30)
    run.heal()
    run.recover(upload, datasets=(dataset,))


def behind(cluster) -> Iterator[str]:
    """Name the queues of which a member is away."""
    for queue in cluster.alive().management.queues("/"):
        if queue.get("exclusive") is False and len(queue.get("online", ())) < len(cluster.nodes):
            yield queue["name"]
