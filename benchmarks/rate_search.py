"""The best learning rate of a grid, which grows until its best lies inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def best_rate(grid: Sequence[float], accuracy: Callable[[float], float]) -> float:
    """The rate of the highest accuracy.

    Arguments:
        grid: three rates or more, increasing. While the best is at an end, half the lowest or twice
            the highest rate joins them.
        accuracy: of trainings at a rate; called again for rates that it has seen.
    """
    rates = list(grid)
    while True:
        best = int(np.argmax([accuracy(rate) for rate in rates]))
        if best == 0:
            rates.insert(0, rates[0] / 2)
        elif best == len(rates) - 1:
            rates.append(rates[-1] * 2)
        else:
            return rates[best]
