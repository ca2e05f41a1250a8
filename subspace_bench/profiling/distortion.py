"""How P distorts norms, and how its columns resemble each other: from its products alone."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from subspace_bench.projectors import Projector
from subspace_bench.projectors.base import HALF

COLUMNS = 100  # of P, held against as many others
DRAWS = 24  # of ω, for the distortion of norms
AT_ONCE = 1 << 24  # numbers of the θ's that are made together


def quality(
    projector: Projector, device: torch.device, kind: torch.dtype, budget: float
) -> dict[str, float]:
    """How P distorts norms and how its columns resemble each other, as far as `budget` seconds go.

    Mean and standard deviation of ‖Pω‖/‖ω‖ over `norm_n` random ω; the coherence, the largest
    |⟨p_i, p_j⟩|/(‖p_i‖ ‖p_j‖) over `pairs` pairs: random columns, 100 where there are so many and
    time allows, each against as many others; all pairs where d is at most 100. Half precision is
    left out of it: it is P that counts.
    """
    draw = torch.Generator().manual_seed(1)
    together = max(1, AT_ONCE // projector.native)
    like = torch.empty(0, device=device, dtype=torch.float32 if kind in HALF else kind)
    began, ratios = time.perf_counter(), torch.empty(0)
    while len(ratios) < 2 or (len(ratios) < DRAWS and time.perf_counter() - began < budget / 4):
        omega = torch.randn(min(together, DRAWS), projector.dim, generator=draw).to(like)
        ratios = torch.cat([ratios, (lengths(projector(omega)) / lengths(omega)).float()])
    each = (time.perf_counter() - began) / len(ratios)
    found: dict[str, float] = {
        "norm_mean": float(ratios.mean()), "norm_sd": float(ratios.std()), "norm_n": len(ratios),
    }  # fmt: skip
    if projector.dim == 1:
        return {**found, "coherence": math.nan, "pairs": 0}
    # A pair of columns takes two forwards and a transpose, three forwards about.
    affordable = max(1, int(budget / each / 3))
    chosen = torch.randperm(projector.dim, generator=draw)
    if projector.dim <= min(COLUMNS, affordable):
        found["coherence"] = coherence(projector, chosen, chosen, like, together)
        return {**found, "pairs": projector.dim * (projector.dim - 1) // 2}
    columns = min(COLUMNS, projector.dim // 2, affordable)
    first, second = chosen[:columns], chosen[columns : 2 * columns]
    found["coherence"] = coherence(projector, first, second, like, together)
    return {**found, "pairs": columns**2}


def coherence(
    projector: Projector, first: Tensor, second: Tensor, like: Tensor, together: int
) -> float:
    """The largest |cosine| between columns `first` and columns `second` of P, but of a pair alike.

    Pᵀp_i holds ⟨p_i, p_j⟩ for all j at once, so that pairs are had without P's matrix.
    """
    norms = torch.cat(
        [lengths(projector(units(j, projector, like))) for j in torch.split(second, together)]
    )

    def cosines(i: Tensor) -> Tensor:  # a function, so that it keeps no θ beyond its turn
        columns = projector(units(i, projector, like))
        products = projector.transpose(columns)[:, second.to(like.device)]
        products[i[:, None] == second] = 0
        return products / (lengths(columns)[:, None] * norms)

    return max(float(cosines(i).abs().max()) for i in torch.split(first, together))


def units(numbers: Tensor, projector: Projector, like: Tensor) -> Tensor:
    """Unit vectors e_j (n, d), one a row."""
    rows = like.new_zeros(len(numbers), projector.dim)
    rows[torch.arange(len(numbers)), numbers] = 1
    return rows


def lengths(rows: Tensor) -> Tensor:
    """The norm of each row, float64; summed by pieces, since float32 loses sums of 10⁹ squares."""
    pieces = torch.split(rows, 1 << 20, dim=1)
    norms = torch.stack([torch.linalg.vector_norm(piece, dim=1).double() for piece in pieces])
    whole: Tensor = torch.linalg.vector_norm(norms, dim=0)
    return whole
