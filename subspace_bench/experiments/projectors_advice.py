"""Ten lines a reader can act on, each with the measured number behind it.

Every line is a function of the measured cells (and of the accuracy records): who wins in it is
found there, and where what it needs is missing, it says nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from subspace_bench import projectors
from subspace_bench.common.errors import UserError
from subspace_bench.common.formatting import format_bytes, format_significant
from subspace_bench.profiling.lookup import Measured, Row, Size, entries
from subspace_bench.reporting.statistics import Sample, difference, tukey_hsd

RIVALS = ("fastfood", "srht")  # that mix as a Gaussian P does, and store next to nothing


def apart(samples: Mapping[str, Sample]) -> str:
    """Which of these accuracies differ, all pairs considered, and how far apart they must be."""
    pairs, least = tukey_hsd(samples)
    if math.isnan(least):
        return "seeds too few to tell any apart"
    parts = []
    for lower in dict.fromkeys(low for _, low in pairs):
        above = [f"`{high}`" for high, low in pairs if low == lower]
        every = len(above) == len(samples) - 1
        parts.append(f"`{lower}` below {'all others' if every else ', '.join(above)}")
    seen = " and ".join(parts) + ", no other" if parts else "no"
    return f"{seen} difference seen (which takes means {least:.2g} points apart)"


def lines(measured: Measured) -> list[str]:
    """The advice, in the order of how often it is needed."""
    if measured.cells.empty:
        return []
    return [line for advise in ADVICE for line in [advise(measured)] if line]


def dense_pays(m: Measured) -> str | None:
    """Up to which d, at each D, the stored matrix is faster than what mixes without one."""
    parts = []
    for native, group in itertools.groupby(m.sizes("gaussian", *RIVALS), key=lambda s: s[0]):
        won, lost = crossover(m, list(group))
        part = f"up to d = {won[1]:,} ({_against(m, won)})" if won else ""
        but = f"not at {lost[1]:,} ({_against(m, lost)})" if lost else ""
        parts.append(f"D = {native:,}: " + ", ".join(filter(None, (part, but))))
    if not parts:
        return None
    return (
        "**Store P while d is small**: `gaussian` is faster than Fastfood and SRHT at "
        + "; ".join(parts)
        + "."
    )


def crossover(m: Measured, sizes: Sequence[Size]) -> tuple[Size | None, Size | None]:
    """Of sizes of one D: the largest d up to which dense always wins, and the least where not."""
    won: Size | None = None
    for where in sizes:
        if not beats_rivals(m, "gaussian", where):
            return won, where
        won = where
    return won, None


def beats_rivals(m: Measured, name: str, where: Size) -> bool:
    rows = m.at(where)
    return bool(rows[name]["ms"] <= min(rows[rival]["ms"] for rival in RIVALS))


def fast_transform(m: Measured) -> str | None:
    """Which of those that mix without a matrix, beyond that."""
    sizes = m.sizes(*RIVALS)
    if not sizes:
        return None
    won: dict[str, list[Size]] = {name: [] for name in RIVALS}
    for at in sizes:
        won[min(RIVALS, key=lambda name: m.at(at)[name]["ms"])].append(at)
    first, second = sorted(RIVALS, key=lambda name: -len(won[name]))
    parts = []
    for name in (first, second):
        if won[name]:
            at = max(won[name], key=entries)
            times = " against ".join(
                f"{format_significant(ms)}" for ms in sorted(m.at(at)[r]["ms"] for r in RIVALS)
            )
            parts.append(
                f"`{name}` at {len(won[name])} of {len(sizes)} sizes ({times} ms {_at(at)})"
            )
    at = max(sizes, key=entries)
    taken = " and ".join(
        f"{format_bytes(m.at(at)[name]['peak_bytes'])} (`{name}`)" for name in RIVALS
    )
    return (
        f"**Beyond that mix without a matrix**: of the two, the faster is {', '.join(parts)}. "
        f"Beside ω and θ they take {taken} {_at(at)}{loss(m, first, second)}."
    )


def hashed(m: Measured) -> str | None:
    """At which d, at each D, an entry a row is faster than mixing."""
    sizes = m.sizes("hashed", *RIVALS)
    if not sizes:
        return None
    parts = []
    for native, group in itertools.groupby(sizes, key=lambda s: s[0]):
        dims = [dim for _, dim in group]
        won = [f"{dim:,}" for dim in dims if beats_rivals(m, "hashed", (native, dim))]
        which = f"d = {', '.join(won)}" if len(won) < len(dims) else "every d"
        parts.append(f"D = {native:,}: {which if won else 'no d'}")
    largest = max(sizes, key=entries)
    return (
        f"**`hashed`**, one entry a row, is faster than both at {'; '.join(parts)} "
        f"({_against(m, largest, 'hashed')} {_at(largest)})"
        f"{loss(m, 'hashed', 'fastfood')}."
    )


def accuracy(m: Measured) -> str | None:
    """Whether the choice matters to what is learnt."""
    parts = []
    for dim in sorted({dim for _, dim in m.accuracies}):
        found = {p: s for (p, d), s in m.accuracies.items() if d == dim and s.n}
        if len(found) < 2:
            continue
        best, worst = (pick(found, key=lambda p: found[p].mean) for pick in (max, min))
        said = f"{found[best].show()} (`{best}`) to {found[worst].show()} (`{worst}`)"
        parts.append(f"d = {dim:,}: {said}, {apart(found)}")
    if not parts:
        return None
    return "**Accuracy** in % of the post's conv net under one recipe: " + "; ".join(parts) + "."


def bfloat16(m: Measured) -> str | None:
    """Half the bytes."""
    found = m.largest("gaussian", "gaussian-bf16")
    if found is None:
        return None
    where, (full, half) = found
    return (
        f"**A stored P in bfloat16** holds {format_bytes(half['resident_bytes'])} where float32 "
        f"holds {format_bytes(full['resident_bytes'])} {_at(where)}, and takes {_times(half, full)}"
        f"{loss(m, 'gaussian-bf16', 'gaussian')}."
    )


def regenerated(m: Measured) -> str | None:
    """A dense P without its memory."""
    found = m.largest("gaussian", "regenerated", "regenerated-signs")
    if found is None:
        return None
    where, (stored, normal, signs) = found
    mixing = [row["ms"] for name, row in m.at(where).items() if name in RIVALS]
    return (
        f"**A dense P that does not fit** can be made again at every use: {_at(where)} Gaussian "
        f"entries take {format_significant(normal['ms'])} ms, signs {format_significant(signs['ms'])} ms, a "
        f"stored P of {format_bytes(stored['resident_bytes'])} {format_significant(stored['ms'])} ms"
        + (f", Fastfood or SRHT {format_significant(min(mixing))} ms" if mixing else "")
        + f"{loss(m, 'regenerated-signs', 'gaussian')}."
    )


def orthonormal(m: Measured) -> str | None:
    """What exact orthonormality costs, and where it is had for the least."""
    found = m.largest("orthonormal")
    if found is None:
        return None
    where, _ = found
    rows = [row for name, row in m.at(where).items() if promised(name, where) == "orthonormal"]
    rows.sort(key=lambda row: row["setup_s"])
    costs = ", ".join(
        f"`{row['projector']}` {format_significant(row['setup_s'])} s" for row in rows
    )
    return f"**Orthonormal columns** cost in set-up, {_at(where)}: {costs}."


def sparse(m: Measured) -> str | None:
    """Sparse against dense."""
    found = m.largest("sparse", "gaussian")
    if found is None:
        return None
    where, (thin, full) = found
    won = [at for at in m.sizes("sparse") if m.ranked(at)[0]["projector"] == "sparse"]
    moved = sorted(100 * projectors.nonzero_rows("sparse", *at) for at in won)
    return (
        f"**`sparse`** at density 1/√D holds {format_bytes(thin['resident_bytes'])} where dense "
        f"holds {format_bytes(full['resident_bytes'])} {_at(where)}, and takes {_times(thin, full)}"
        f"{loss(m, 'sparse', 'gaussian')}. It is the fastest of all at {len(won)} of "
        f"{len(m.sizes('sparse'))} sizes"
        + (f", where {moved[0]:.2g} to {moved[-1]:.2g}% of θ moves at all" if won else "")
        + "."
    )


def coherence(m: Measured) -> str | None:
    """Whose columns resemble each other."""
    rows = [r for r in m.at(m.crowded()).values() if not pd.isna(r.get("coherence"))]
    if len(rows) < 2:
        return None
    worst, best = (pick(rows, key=lambda row: row["coherence"]) for pick in (max, min))
    return (
        f"**Columns** resemble each other the least in `{best['projector']}`, coherence "
        f"{best['coherence']:.1g} {_at(m.crowded())}, and the most in `{worst['projector']}`, "
        f"{worst['coherence']:.2g}{loss(m, worst['projector'])}."
    )


def distortion(m: Measured) -> str | None:
    """Who keeps lengths."""
    rows = [r for r in m.at(m.crowded()).values() if not pd.isna(r.get("norm_sd"))]
    if len(rows) < 2:
        return None
    worst, best = (pick(rows, key=lambda row: row["norm_sd"]) for pick in (max, min))
    return (
        f"**Lengths**: {_at(m.crowded())} ‖Pω‖/‖ω‖ varies by {worst['norm_sd']:.2g} over random "
        f"ω in `{worst['projector']}`, the most, and by {best['norm_sd']:.1g} in "
        f"`{best['projector']}`, the least."
    )


def loss(m: Measured, name: str, against: str = "orthonormal") -> str:
    """How many points a projector gains over another, at each d that both have."""
    known = {at for at, sample in m.accuracies.items() if sample.n}
    dims = sorted(dim for kind, dim in known if kind == name and (against, dim) in known)
    parts = []
    for dim in dims if name != against else ():
        mine, other = m.accuracies[name, dim], m.accuracies[against, dim]
        gap = difference(mine, other)
        half = f"± {gap.half_width:.2f}" if gap else "(too few seeds)"
        parts.append(f"{mine.mean - other.mean:+.2f} {half} at d = {dim:,}")
    return f"; points of accuracy over `{against}`: {', '.join(parts)}" if parts else ""


def promised(name: str, where: Size) -> str:
    try:
        return projectors.column_norms(name, *where)
    except UserError:
        return ""


def _times(row: Row, other: Row) -> str:
    """How much longer it takes; two that are read from memory as if that had had one speed.

    Cells are minutes apart, in which a shared machine's memory can change its speed.
    """
    ratio, said = row["ms"] / other["ms"], ""
    reads = [each.get("read_ms") for each in (row, other)]
    if not any(pd.isna(read) for read in reads) and all(
        each["resident_bytes"] > each["cache_bytes"] for each in (row, other)
    ):
        ratio *= (row["resident_bytes"] / reads[0]) / (other["resident_bytes"] / reads[1])
        said = ", memory as fast"
    return f"{ratio:.2g} times as long{said}"


def _against(m: Measured, where: Size, name: str = "gaussian") -> str:
    rows = m.at(where)
    least = min(rows[rival]["ms"] for rival in RIVALS)
    return f"{format_significant(rows[name]['ms'])} against {format_significant(least)} ms"


def _at(where: Size) -> str:
    return f"at {where[0]:,} × {where[1]:,}"


ADVICE: Sequence[Callable[[Measured], str | None]] = (
    dense_pays, fast_transform, hashed, accuracy, bfloat16, regenerated, orthonormal, sparse,
    coherence, distortion,
)  # fmt: skip
