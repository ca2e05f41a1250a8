"""Measures norm distortion ‖Pω‖/‖ω‖ and the coherence of P's columns, using products only."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from subspace_bench.projectors import Projector
from subspace_bench.projectors.operation import HALF

COLUMNS = 100  # columns of P, each compared with as many others
DRAWS = 24  # random ω
BATCH_NUMBERS = 1 << 24  # numbers in the θ's of one batch


def measure_distortion(
    projector: Projector, device: torch.device, dtype: torch.dtype, budget: float
) -> dict[str, float]:
    """Norm distortion and coherence, from as many samples as `budget` seconds allow.

    `norm_mean` and `norm_sd` are the mean and SD of ‖Pω‖/‖ω‖ over `norm_n` Gaussian ω.
    `coherence` is the largest |⟨p_i, p_j⟩|/(‖p_i‖ ‖p_j‖) over `pairs` pairs of columns: COLUMNS
    random columns, each with COLUMNS others, or all pairs if d ≤ COLUMNS; NaN for d = 1.
    Half-precision dtypes are measured in float32, to exclude the rounding of ω.
    """
    draw = torch.Generator().manual_seed(1)
    batch = max(1, BATCH_NUMBERS // projector.native)
    like = torch.empty(0, device=device, dtype=torch.float32 if dtype in HALF else dtype)
    start, ratios = time.perf_counter(), torch.empty(0)
    while len(ratios) < 2 or (len(ratios) < DRAWS and time.perf_counter() - start < budget / 4):
        omega = torch.randn(min(batch, DRAWS), projector.dim, generator=draw).to(like)
        some = row_norms(projector(omega)) / row_norms(omega)
        ratios = torch.cat([ratios, some.float().cpu()])
    seconds = (time.perf_counter() - start) / len(ratios)
    norms: dict[str, float] = {
        "norm_mean": float(ratios.mean()), "norm_sd": float(ratios.std()), "norm_n": len(ratios),
    }  # fmt: skip
    if projector.dim == 1:
        return {**norms, "coherence": math.nan, "pairs": 0}
    # A column costs two forwards and a transpose, about three forwards.
    affordable = max(1, int(budget / seconds / 3))
    chosen = torch.randperm(projector.dim, generator=draw)
    if projector.dim <= min(COLUMNS, affordable):
        first = second = chosen
        pairs = projector.dim * (projector.dim - 1) // 2
    else:
        columns = min(COLUMNS, projector.dim // 2, affordable)
        first, second = chosen[:columns], chosen[columns : 2 * columns]
        pairs = columns**2
    largest = coherence(projector, first, second, like, batch)
    return {**norms, "coherence": largest, "pairs": pairs}


def coherence(
    projector: Projector, first: Tensor, second: Tensor, like: Tensor, batch: int
) -> float:
    """The largest |cosine| between a column in `first` and a different one in `second`.

    Pᵀp_i has ⟨p_i, p_j⟩ for all j, so P's matrix is never formed.
    """
    norms = torch.cat(
        [row_norms(projector(unit_rows(j, projector, like))) for j in torch.split(second, batch)]
    )

    def cosines(i: Tensor) -> Tensor:  # a function, so that no θ outlives its batch
        columns = projector(unit_rows(i, projector, like))
        products = projector.transpose(columns)[:, second.to(like.device)]
        products[i[:, None] == second] = 0
        return products / (row_norms(columns)[:, None] * norms)

    return max(float(cosines(i).abs().max()) for i in torch.split(first, batch))


def unit_rows(indices: Tensor, projector: Projector, like: Tensor) -> Tensor:
    """The unit vector e_j of each index j, as rows (n, d)."""
    rows = like.new_zeros(len(indices), projector.dim)
    rows[torch.arange(len(indices)), indices] = 1
    return rows


def row_norms(rows: Tensor) -> Tensor:
    """The norm of each row, float64; by pieces, as float32 cannot sum 10⁹ squares."""
    pieces = torch.split(rows, 1 << 20, dim=1)
    norms = torch.stack([torch.linalg.vector_norm(piece, dim=1).double() for piece in pieces])
    whole: Tensor = torch.linalg.vector_norm(norms, dim=0)
    return whole
