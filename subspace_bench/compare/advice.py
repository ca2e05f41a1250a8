"""Ten lines a reader can act on, each with the measured number behind it.

Every line is a function of the measured cells (and of the accuracy records); where those it needs
are missing, it says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from subspace_bench.statistics import Sample
from subspace_bench.terminal import size

STORED = ("gaussian", "orthonormal")
STRUCTURED = ("fastfood", "srht", "hashed", "sparse", "kronecker")
Accuracies = Mapping[tuple[str, int], Sample]  # (projector, d) → accuracies over seeds


@dataclass(frozen=True)
class Measured:
    """The cells that were measured, and the accuracies that projectors reach."""

    cells: pd.DataFrame
    accuracies: Accuracies

    def both_ways(self, projector: str, native: int, dim: int) -> float | None:
        """Milliseconds of forward and transpose; None where the cell was not measured."""
        row = self.row(projector, native, dim)
        return None if row is None else row["forward_ms"] + row["transpose_ms"]

    def row(self, projector: str, native: int, dim: int) -> dict[str, Any] | None:
        frame = self.cells
        found = frame[
            (frame.projector == projector) & (frame.native == native) & (frame.dim == dim)
        ]
        return None if found.empty else dict(found.iloc[0])

    def sizes(self, *names: str) -> list[tuple[int, int]]:
        """(D, d) at which all of these were measured, by D·d."""
        frame = self.cells
        at = [set(zip(*frame[frame.projector == n][["native", "dim"]].to_numpy().T, strict=True))
              if (frame.projector == n).any() else set() for n in names]  # fmt: skip
        return sorted(set.intersection(*at), key=lambda s: (s[0] * s[1], s[0]))

    def largest(self, *names: str) -> tuple[int, int] | None:
        """(D, d) of the most entries at which all of these were measured."""
        return next(reversed(self.sizes(*names)), None)


def lines(measured: Measured) -> list[str]:
    """The advice, in the order of how often it is needed."""
    if measured.cells.empty:
        return []
    return [line for advise in ADVICE for line in [advise(measured)] if line]


def dense_pays(m: Measured) -> str | None:
    """Up to which D·d the stored matrix is the fastest that keeps distances as a Gaussian does."""
    rivals = ("fastfood", "srht")
    at = m.sizes("gaussian", *rivals)
    won = [s for s in at if _ms(m, "gaussian", s) <= min(_ms(m, r, s) for r in rivals)]
    lost = [s for s in at if s not in won]
    if not won or not lost:
        return None
    best, first = max(won, key=_entries), min(lost, key=_entries)
    return (
        f"**Store P while it is small**: `gaussian` is faster than Fastfood and SRHT up to "
        f"D·d = {_entries(best):,} ({_at(best)}: {_ms(m, 'gaussian', best):.3g} ms for forward and "
        f"transpose), and slower from {_entries(first):,} on ({_at(first)}: "
        f"{_ms(m, 'gaussian', first):.3g} against {min(_ms(m, r, first) for r in rivals):.3g} ms)."
    )


def fast_transform(m: Measured) -> str | None:
    """Fastfood or SRHT beyond that."""
    big = m.largest("fastfood", "srht")
    if big is None:
        return None
    fast, srht = _ms(m, "fastfood", big), _ms(m, "srht", big)
    better = "fastfood" if fast < srht else "srht"
    row = m.row(better, *big)
    assert row is not None
    return (
        f"**Beyond that take a fast transform**: at {_at(big)} Fastfood takes {fast:.3g} ms both "
        f"ways and SRHT {srht:.3g}; `{better}` holds {size(row['held_bytes'])}."
    )


def hashed(m: Measured) -> str | None:
    """The cheapest."""
    big = m.largest("hashed", "fastfood")
    if big is None:
        return None
    ratio = _ms(m, "fastfood", big) / _ms(m, "hashed", big)
    text = (
        f"**Cheapest of all is `hashed`**: {_ms(m, 'hashed', big):.3g} ms both ways at {_at(big)}, "
        f"{ratio:.1f} times faster than Fastfood, and nothing stored"
    )
    return text + _loss(m, "hashed") + "."


def bfloat16(m: Measured) -> str | None:
    """Half the bytes."""
    big = m.largest("gaussian", "gaussian-bf16")
    if big is None:
        return None
    ratio = _ms(m, "gaussian", big) / _ms(m, "gaussian-bf16", big)
    return (
        f"**A stored P in bfloat16** is {ratio:.2f} times as fast at {_at(big)} and takes half the "
        "memory" + _loss(m, "gaussian-bf16", "gaussian") + "."
    )


def regenerated(m: Measured) -> str | None:
    """A dense P without its memory."""
    big = m.largest("gaussian", "regenerated", "regenerated-signs")
    if big is None:
        return None
    stored, normal, signs = (
        _ms(m, n, big) for n in ("gaussian", "regenerated", "regenerated-signs")
    )
    return (
        f"**A dense P that does not fit** can be made again at every use: at {_at(big)} Gaussian "
        f"entries take {normal / stored:.1f} times as long as reading a stored P, signs "
        f"{signs / stored:.2f} times" + _loss(m, "regenerated-signs", "gaussian") + "."
    )


def orthonormal(m: Measured) -> str | None:
    """What exact orthonormality costs."""
    at = m.sizes("orthonormal", "gaussian", "srht")
    if not at:
        return None
    big = max(at, key=lambda s: s[1])
    rows = [m.row(n, *big) for n in ("orthonormal", "gaussian", "srht")]
    q, g, s = (row["setup_s"] if row else 0.0 for row in rows)
    return (
        f"**Orthonormal columns** cost `orthonormal` {q:.3g} s of set-up at {_at(big)}, where "
        f"`gaussian` takes {g:.3g}; `srht` and `hashed` have them by construction ({s:.2g} s)."
    )


def sparse(m: Measured) -> str | None:
    """Sparse against dense."""
    big = m.largest("sparse", "gaussian")
    if big is None:
        return None
    thin, full = m.row("sparse", *big), m.row("gaussian", *big)
    assert thin
    assert full
    ratio = _ms(m, "gaussian", big) / _ms(m, "sparse", big)
    return (
        f"**`sparse`** at density 1/√D holds {size(thin['held_bytes'])} where dense holds "
        f"{size(full['held_bytes'])} at {_at(big)}, and is {ratio:.1f} times as fast"
        f"{_loss(m, 'sparse', 'gaussian')}."
    )


def kronecker(m: Measured) -> str | None:
    """Two small matrices."""
    big = m.largest("kronecker", "gaussian")
    if big is None:
        return None
    row, full = m.row("kronecker", *big), m.row("gaussian", *big)
    assert row
    assert full
    return (
        f"**`kronecker`** is two small matrices ({size(row['held_bytes'])} at {_at(big)}), but its "
        f"columns resemble each other: coherence {row['coherence']:.2g}, Gaussian "
        f"{full['coherence']:.2g}" + _loss(m, "kronecker", "gaussian") + "."
    )


def distortion(m: Measured) -> str | None:
    """Who keeps lengths."""
    frame = m.cells
    dims = sorted(set(frame.dim))
    at = frame[(frame.dim == dims[len(dims) // 2]) & (frame.native == frame.native.min())]
    if len(at) < 2:
        return None
    worst, best = at.loc[at.norm_sd.idxmax()], at.loc[at.norm_sd.idxmin()]
    return (
        f"**Lengths**: at {_at((int(worst.native), int(worst.dim)))} ‖Pω‖/‖ω‖ varies by "
        f"{worst.norm_sd:.2g} over random ω in `{worst.projector}`, the most, and by "
        f"{best.norm_sd:.1g} in `{best.projector}`, the least."
    )


def accuracy(m: Measured) -> str | None:
    """Whether the choice matters to what is learnt."""
    dims = sorted({dim for _, dim in m.accuracies})
    if not dims:
        return None
    parts = []
    for dim in dims:
        means = {p: s.mean for (p, d), s in m.accuracies.items() if d == dim and s.n}
        if len(means) < 2:
            return None
        best, worst = max(means, key=lambda p: means[p]), min(means, key=lambda p: means[p])
        parts.append(
            f"d = {dim:,}: {means[best]:.2f}% (`{best}`) to {means[worst]:.2f}% (`{worst}`)"
        )
    return "**Accuracy** of the post's conv net under one recipe: " + "; ".join(parts) + "."


def _loss(m: Measured, name: str, against: str = "orthonormal") -> str:
    """How many points a projector loses to another, at the largest d that both have."""
    dims = [d for p, d in m.accuracies if p == name and m.accuracies[p, d].n
            and (against, d) in m.accuracies and m.accuracies[against, d].n]  # fmt: skip
    if not dims:
        return ""
    dim = sorted(dims)[len(dims) // 2]
    gap = m.accuracies[against, dim].mean - m.accuracies[name, dim].mean
    said = f"loses {gap:.2f} points" if gap > 0 else f"loses nothing ({-gap:.2f} points more)"
    return f"; it {said} against `{against}` at d = {dim:,}"


def _ms(m: Measured, name: str, at: tuple[int, int]) -> float:
    found = m.both_ways(name, *at)
    assert found is not None
    return found


def _entries(at: tuple[int, int]) -> int:
    return at[0] * at[1]


def _at(at: tuple[int, int]) -> str:
    return f"{at[0]:,} × {at[1]:,}"


ADVICE: Sequence[Callable[[Measured], str | None]] = (
    dense_pays, fast_transform, hashed, accuracy, bfloat16, regenerated, orthonormal, sparse,
    kronecker, distortion,
)  # fmt: skip
