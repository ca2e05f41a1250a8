"""The table "accuracy" of results/peers.md, from the trainings of `peer_accuracy`."""

from __future__ import annotations

import pandas as pd

from subspace_bench.reporting.statistics import Sample

REFERENCE = "ours, hashed"


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """A line for each method in the csv; "not run" where trainings are missing."""
    reference = scores(rows, REFERENCE, "final")
    lines = []
    for method, mine in rows.groupby("method", sort=False):
        name = str(method)
        final, rates = scores(rows, name, "final"), mine.loc[mine["stage"] == "select", "rate"]
        picked = mine.loc[mine["stage"] == "final", "rate"]
        lines.append(
            {
                "method": name,
                "trained": f"{mine['trained'].iloc[0]:,}",
                "rates tried": f"{rates.min():g} to {rates.max():g}",
                "rate": f"{picked.iloc[0]:g}" if len(picked) else "not run",
                "test accuracy": Sample(tuple(final)).show(),
                "minus hashed": "" if name == REFERENCE else difference(final, reference),
                "twice the epochs, held out": gain(rows, name),
            }
        )
    return pd.DataFrame(lines)


def scores(rows: pd.DataFrame, method: str, stage: str) -> pd.Series[float]:
    """Seed → accuracy."""
    mine = rows[(rows["method"] == method) & (rows["stage"] == stage)]
    return mine.set_index("seed")["accuracy"]


def difference(a: pd.Series[float], b: pd.Series[float]) -> str:
    """The mean of a − b over the seeds that both have, and its 95% interval."""
    sample = Sample(tuple((a - b).dropna()))
    interval = sample.confidence()
    if interval is None:
        return "not run"
    return f"{sample.mean:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"


def gain(rows: pd.DataFrame, method: str) -> str:
    """Points that twice the epochs add on held-out images, in the mean of the seeds that did it."""
    long = rows[(rows["method"] == method) & (rows["stage"] == "long")]
    if long.empty:
        return "not run"
    short = rows[(rows["stage"] == "select") & (rows["rate"] == long["rate"].iloc[0])]
    gains = long.set_index("seed")["accuracy"] - scores(short, method, "select")
    return f"{gains.mean():+.2f}"


def finding(rows: pd.DataFrame) -> str:
    """Ours and theirs at their best, beside hashed, for the summary; "" without test scores."""
    final = rows[rows["stage"] == "final"]
    if final.empty:
        return ""
    means = final.groupby("method", sort=False)["accuracy"].mean()
    best = means[[str(m).startswith("ours") for m in means.index]].idxmax(), means.idxmax()
    shown = {str(m): scores(rows, str(m), "final").mean() for m in (*best, REFERENCE)}
    return "Test accuracy of the FC net with about 1,000 trained numbers: " + "; ".join(
        f"{method}: {accuracy:.2f}%" for method, accuracy in shown.items()
    )
