"""`--tensorboard`: the scalars that are written."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from stored_record import FACTS, RESULT, RUN

from subspace_bench.cli.tensorboard import Scalars
from subspace_bench.dimension.trial import Outcome, Trial
from subspace_bench.records.store import Record
from subspace_bench.training.executor import Event
from subspace_bench.training.loop import Progress

pytestmark = pytest.mark.filterwarnings("default")  # of tensorboard's own code


@pytest.fixture
def read():
    """Folder → tag → its (step, value)."""
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
        events = accumulators.EventAccumulator(str(folder)).Reload()
        return {
            tag: [(e.step, round(e.value, 4)) for e in events.Scalars(tag)]
            for tag in events.Tags()["scalars"]
        }

    return read


def test_scores_of_a_run_are_written_by_update(tmp_path: Path, read) -> None:
    scalars = Scalars(tmp_path)
    for progress in (Progress(1, 10.0, 0.1, 2.3), Progress(2, None, 0.2), Progress(12, 90, 1, 0.4)):
        scalars.on_event(Event("progress", RUN, progress))
    scalars.on_event(Event("done", RUN, Record(RUN, RESULT, FACTS)))
    assert read(tmp_path / RUN.name) == {
        "accuracy": [(1, 10.0), (12, 90.0)],
        "loss": [(1, 2.3), (12, 0.4)],
    }


def test_a_run_of_another_process_is_written_from_its_record(tmp_path: Path, read) -> None:
    Scalars(tmp_path).on_event(Event("done", RUN, Record(RUN, RESULT, FACTS)))
    assert read(tmp_path / RUN.name)["accuracy"] == [(1, 10.0), (12, 91.25)]


def test_a_resumed_run_replaces_the_updates_that_it_repeats(tmp_path: Path, read) -> None:
    for start, accuracy in ((1, 10.0), (3, 30.0)):
        scalars = Scalars(tmp_path)
        for update in range(start, start + 4):
            scalars.on_event(Event("progress", RUN, Progress(update, accuracy, 0.1, 1.0)))
        scalars.close(RUN.name)
    steps = [step for step, _ in read(tmp_path / RUN.name)["accuracy"]]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_trainings_of_a_dimension_are_written_in_order(tmp_path: Path, read) -> None:
    estimate = SimpleNamespace(low=10, high=None)
    trainings = SimpleNamespace(
        task=SimpleNamespace(name="task"), outcomes={1: 0}, estimate=lambda: estimate
    )
    Scalars(tmp_path).on_outcome(Trial(30, 0), Outcome(0.5, 100, 1.0, 0), trainings)
    assert read(tmp_path / "task") == {
        "score": [(1, 0.5)],
        "d": [(1, 30.0)],
        "d_int_low": [(1, 10.0)],
    }


def test_without_the_package_a_command_says_what_to_install(call, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    folder = str(tmp_path / "logs")
    code, _, err = call(
        *("train", "mlp-16", "--dataset", "mnist-5k", "--out", str(tmp_path)),
        *("--tensorboard", folder),
    )
    assert code == 2
    assert "pip install tensorboard" in err
    assert not list(tmp_path.rglob("*.json"))
