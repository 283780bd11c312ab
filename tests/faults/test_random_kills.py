"""F40: two hundred SIGKILLs at random moments, to every service and sometimes the broker, while scans are written."""

import random

import pytest

from datauploader_sandbox.campaign import Record
from datauploader_sandbox.detector import Detector, Plan

from .conftest import Case, Stage

KILLS = 20
VICTIMS = {"watcher": 5, "transfer": 5, "catalog": 5, "gateway": 4, "nexus-harvester": 2, "rabbitmq": 1}
"""Who is killed, and how often compared with the others."""


@pytest.mark.campaign
@pytest.mark.fault("F40")
@pytest.mark.parametrize("seed", range(1, 11), ids="seed-{}".format)
def test_twenty_random_kills_leave_nothing_amiss(stage: Stage, record: Record, seed: int) -> None:
    """The seed decides who dies when, and how long each is away; the machine decides what it was doing then."""
    dice = random.Random(seed)
    dataset = f"kills-{seed}"
    with stage.run(dataset, record) as run:
        folder = run.facility.watched / dataset
        folder.mkdir()
        upload = run.request(dataset, path=str(folder.resolve()), kind="folder")
        with Detector(folder, run.ledger, Plan(seed=seed, scans=1000, frames=8, seconds_per_frame=0.1)) as detector:
            for victim in dice.choices(list(VICTIMS), list(VICTIMS.values()), k=KILLS):
                kill(run, victim, detector, away_s=dice.uniform(0, 1))
                detector.join(dice.expovariate(1.0))
        run.heal()
        run.facility.wait()
        run.recover(upload, datasets=(dataset,))


def kill(run: Case, victim: str, detector: Detector, *, away_s: float) -> None:
    """Kill one, and start it again after a while in which writing goes on."""
    if victim in run.server:
        run.server[victim].kill()
        detector.join(away_s)
        run.server[victim].start()
    else:
        run.services.kill(victim)
        detector.join(away_s)
        run.services.start(victim)
