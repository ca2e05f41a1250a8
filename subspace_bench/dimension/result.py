"""The intrinsic dimension of a task, with its interval, its trainings and its picture."""

from __future__ import annotations

import html
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from subspace_bench.common.files import write_atomically
from subspace_bench.common.formatting import format_significant
from subspace_bench.dimension.crossing import CrossingModel
from subspace_bench.dimension.rates import RateComparison
from subspace_bench.dimension.search import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVE_POINTS = 200


@dataclass(frozen=True, eq=False)  # frames have no truth value
class IntrinsicDimension:
    """How many numbers a model needs on a task.

    Attributes:
        name: of the task.
        native: D, the module's trainable parameters.
        projector: name of P.
        target: the score to reach.
        target_text: how it was chosen, in words.
        higher_is_better: False for a loss.
        baseline: scores of the plain module, one a seed.
        curve: one row a training in a subspace: `d`, `seed`, `score`, `seconds`.
        estimate: the smallest d that reaches the target, with its 95% interval.
        notices: what the reader should know, such as equal scores of all baselines.
        rate: of these trainings, if rates were given.
        rates: how the rates compare.
    """

    name: str
    native: int
    projector: str
    target: float
    target_text: str
    higher_is_better: bool
    baseline: tuple[float, ...]
    curve: pd.DataFrame
    estimate: Estimate
    notices: tuple[str, ...] = ()
    rate: float | None = None
    rates: RateComparison | None = None

    @property
    def dimension(self) -> int | None:
        """d_int, the smallest d that reaches the target; None if no d ≤ D is likely to."""
        return self.estimate.dimension

    @property
    def interval(self) -> tuple[int, int | None]:
        """Its 95% interval; the second is None without an upper bound ≤ D."""
        return self.estimate.low, self.estimate.high

    @property
    def bloat(self) -> float | None:
        """D / d_int: how many times more parameters are trained than would do."""
        return None if self.dimension is None else self.native / self.dimension

    def __str__(self) -> str:
        if self.dimension is None:
            return (
                f"{self.name}: no d up to D = {self.native:,} reaches {self.target_text} "
                f"(at least {self.estimate.low:,} numbers, 95%)"
            )
        numbers = "number" if self.dimension == 1 else "numbers"
        return (
            f"{self.name}: about {self.dimension:,} {numbers} would do (95% interval "
            f"{self.estimate.format_interval('to')}); it trains {self.native:,}, "
            f"{format_significant(self.bloat or math.nan)} times as many. "
            f"Target: {self.target_text}"
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        lines = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
            for name, value in self.row().items()
        )
        return f"<table>{lines}</table>"

    def row(self) -> dict[str, str]:
        """The result as a row of a table."""
        mean = float(np.mean(self.baseline))
        spread = f" ± {np.std(self.baseline, ddof=1):.3g}" if len(self.baseline) > 1 else ""
        return {
            "task": self.name,
            "D": f"{self.native:,}",
            "d_int": "> D" if self.dimension is None else f"{self.dimension:,}",
            "95% interval": self.estimate.format_interval("to"),
            "D / d_int": "" if self.bloat is None else format_significant(self.bloat),
            "baseline": f"{mean:.4g}{spread} (n = {len(self.baseline)})",
            "target": f"{self.target:.4g}",
            "projector": self.projector,
            "trainings": str(len(self.curve)),
            **({} if self.rate is None else {"rate": f"{self.rate:g}"}),
        }

    def to_dict(self) -> dict[str, Any]:
        """The result as plain data, for JSON."""
        return {
            "task": self.name,
            "native": self.native,
            "dimension": self.dimension,
            "interval": list(self.interval),
            "target": self.target,
            "target_text": self.target_text,
            "higher_is_better": self.higher_is_better,
            "projector": self.projector,
            "baseline": list(self.baseline),
            "trainings": self.curve.to_dict(orient="records"),
            "notices": list(self.notices),
            "rate": self.rate,
            "rates": None if self.rates is None else self.rates.to_dict(),
        }

    def save(self, path: Path | str) -> None:
        """Writes the result as JSON.

        Raises:
            Unwritable: if the file cannot be written.
        """
        write_atomically(Path(path), json.dumps(self.to_dict(), indent=1) + "\n")

    def plot(self, axes: Axes | None = None) -> Axes:
        """Scores over d, the fitted curve, the baseline, the target and d_int with its interval.

        Arguments:
            axes: where to draw; by default the axes of a new figure.
        """
        if axes is None:
            from matplotlib import pyplot as plt  # the user's backend

            axes = plt.figure(figsize=(6.4, 4), layout="constrained").subplots()
        sign = 1.0 if self.higher_is_better else -1.0
        tried, scores = self.curve["d"], self.curve["score"]
        model = CrossingModel(np.log(tried).tolist(), (sign * scores).tolist())
        grid = np.linspace(np.log(tried.min()), np.log(tried.max()), CURVE_POINTS)
        mean, error = model.predict(grid)
        mean, d = sign * mean, np.exp(grid)
        axes.fill_between(d, mean - 2 * error, mean + 2 * error, color="C0", alpha=0.2, lw=0)
        axes.plot(d, mean, color="C0", lw=1.5, label="fit")
        axes.plot(tried, scores, "o", ms=4, color="C0", label="trainings")
        if self.rates is not None:
            others = self.rates.scores.drop(columns=self.rates.best)
            d_compared = others.index.get_level_values("d")
            axes.plot(d_compared, others, "x", ms=4, color="0.6")
            axes.plot([], [], "x", ms=4, color="0.6", label="other rates")
        axes.axhspan(min(self.baseline), max(self.baseline), color="0.5", alpha=0.4, lw=0)
        axes.axhline(
            float(np.mean(self.baseline)), color="0.4", lw=1, label=f"baseline, D = {self.native:,}"
        )
        axes.axhline(self.target, color="C3", ls="--", lw=1, label=self.target_text)
        low, high = self.interval
        axes.axvspan(low, high or self.native, color="C1", alpha=0.25, lw=0)
        if self.dimension is not None:
            label = f"d_int = {self.dimension:,} ({self.estimate.format_interval('to')})"
            axes.axvline(self.dimension, color="C1", lw=1.5, label=label)
        axes.set_xscale("log")
        axes.set_xlim(right=self.native * 1.1)
        axes.set_xlabel("trained numbers d")
        axes.set_ylabel("score" if self.higher_is_better else "score (lower is better)")
        enough = "no d" if self.dimension is None else f"d = {self.dimension:,}"
        axes.set_title(f"{self.name}: {enough} reaches the target; D = {self.native:,}")
        axes.legend(loc="best", fontsize=8)
        return axes
