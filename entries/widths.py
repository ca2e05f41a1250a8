"""Nets that are trained directly: as wide as d parameters allow."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from subspace_bench import models


def widest(make: Callable[[int], nn.Module], dim: int) -> nn.Module:
    """The widest net of at most `dim` parameters.

    Arguments:
        make: width → net. One of width 1 is made even if it has more parameters.
    """
    width = 1
    while models.parameter_count(make(width + 1)) <= dim:
        width += 1
    return make(width)
