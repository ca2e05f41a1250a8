"""`--tensorboard DIR`: scalars for TensorBoard, one folder a run or task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from subspace_bench.cli.options import path_option
from subspace_bench.common import validation
from subspace_bench.common.errors import UserError

if TYPE_CHECKING:
    from subspace_bench.dimension.trainings import Trainings
    from subspace_bench.dimension.trial import Outcome, Trial
    from subspace_bench.records.config import RunConfig
    from subspace_bench.training.executor import Event

Tensorboard = Annotated[
    Path | None, path_option("Folder for TensorBoard (needs the package tensorboard).")
]


class Scalars:
    """Writes scalars to `folder`/name; does nothing if the folder is None.

    Raises:
        UserError: if tensorboard is not installed, or the folder cannot be written.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._writers: dict[str, Any] = {}
        if folder is None:
            return
        validation.check_output_dir(folder, option="--tensorboard")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as failure:
            raise UserError("--tensorboard needs a package: pip install tensorboard") from failure
        self._make: Callable[..., Any] = SummaryWriter

    def add(self, name: str, step: int, **values: float | None) -> None:
        """Writes values at a step; TensorBoard then forgets later steps of an earlier training."""
        if self.folder is None:
            return
        if name not in self._writers:
            self._writers[name] = self._make(str(self.folder / name), purge_step=step)
        writer = self._writers[name]
        for key, value in values.items():
            if value is not None:
                writer.add_scalar(key, value, step)
        writer.flush()

    def close(self, name: str) -> None:
        """Ends the file of a run."""
        if name in self._writers:
            self._writers.pop(name).close()

    def on_event(self, event: Event[RunConfig]) -> None:
        """Writes accuracy and loss of a run by update, and all of one that another process ran."""
        name = event.case.name
        if event.kind == "progress" and event.value.accuracy is not None:
            progress = event.value
            self.add(name, progress.updates, accuracy=progress.accuracy, loss=progress.loss)
        elif event.kind == "done" and name not in self._writers:
            for updates, accuracy, loss in event.value.result["curve"]:
                self.add(name, updates, accuracy=accuracy, loss=loss)
        if event.kind in ("done", "failed"):
            self.close(name)

    def on_outcome(self, trial: Trial, outcome: Outcome, trainings: Trainings) -> None:
        """Writes score, d and the interval of d_int by training."""
        estimate = trainings.estimate()
        low, high = (None, None) if estimate is None else (estimate.low, estimate.high)
        self.add(
            trainings.task.name,
            len(trainings.outcomes),
            score=outcome.score,
            d=trial.dim or outcome.native,
            d_int_low=low,
            d_int_high=high,
        )
