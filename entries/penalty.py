"""An L1 penalty, which draws weights to zero before the smallest are removed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor

PRUNED = 0.65  # share of the steps after which `packed.Sparse` removes no more weights
NUMBERS = 0.3  # the penalty's factor, times the weights that remain


def l1(parameters: Iterable[Tensor], dim: int, steps: int) -> Callable[[], None]:
    """What `fit` calls before each update: adds the gradient of NUMBERS / d · ‖θ‖₁.

    Until PRUNED of the steps only: the weights that remain train on without a penalty.
    """
    trained, factor, left = list(parameters), NUMBERS / dim, round(PRUNED * steps)

    def add() -> None:
        nonlocal left
        if left > 0:
            for parameter in trained:
                assert parameter.grad is not None
                parameter.grad.add_(parameter.sign(), alpha=factor)
        left -= 1

    return add
