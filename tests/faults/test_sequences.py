"""F46: random sequences of faults and of what people and instruments do, each ending with healing and the oracle."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as hypothesis_seed
from hypothesis.stateful import run_state_machine_as_test

from datauploader_sandbox.campaign import Record
from datauploader_sandbox.facility import Facility
from datauploader_sandbox.run import Run

from .conftest import Case, Stage
from .sequences import Sequence, Violent

EXAMPLES = settings(
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)

MANY = 30
"""Steps without which nothing is shown; the first sequence that is drawn is always the simplest one."""


@pytest.mark.campaign
@pytest.mark.fault("F46")
def test_random_sequences_in_one_process_end_well(tmp_path: Path) -> None:
    """Without kills: files that change and go, a catalogue that fails and refuses, people who press buttons."""
    with Facility(folder=tmp_path / "facility") as facility:

        class Gentle(Sequence):
            """Runs on this facility."""

            def begin(self, dataset: str) -> Run:
                return Run(facility, tmp_path / f"{dataset}.jsonl")

        draw = settings(EXAMPLES, max_examples=5, stateful_step_count=15, derandomize=True)
        run_state_machine_as_test(Gentle, settings=draw)
    assert Gentle.steps >= MANY


@pytest.mark.campaign
@pytest.mark.fault("F46")
@pytest.mark.parametrize("seed", range(6), ids="seed-{}".format)
def test_random_sequences_of_everything_end_well(tmp_path: Path, record: Record, seed: int) -> None:
    """With kills, frozen services, servers that are away, a Redis that forgets: one facility for a few sequences."""
    stage = Stage(lambda: tmp_path, proxied=("broker", "redis", "catalogue"))
    with ExitStack() as stack:

        class Seeded(Violent):
            """Runs on this facility."""

            def begin(self, dataset: str) -> Case:
                return stack.enter_context(stage.run(dataset, record))

        stack.callback(stage.close)
        machine = hypothesis_seed(seed)(Seeded)
        run_state_machine_as_test(machine, settings=settings(EXAMPLES, max_examples=6, stateful_step_count=20))
    assert Seeded.steps >= MANY
