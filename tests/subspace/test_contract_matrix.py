"""What a plain module does, a Subspace does at θ: modules × projectors × uses.

Each use compares a Subspace with a plain module that was never in one and has θ₀ + Pω written into
its parameters. The fast tests cover all pairs: each module with each use, and each projector with
each module and each use. The slow tests are a quarter of the whole product.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from subspace_uses import USES, Case, Pairs, functional, second_derivatives, state_on_meta
from wrapped_modules import MODULES

from subspace_bench import projectors

pytestmark = [
    pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad"),  # checkpoint's
    pytest.mark.filterwarnings("ignore:Using a non-full backward hook"),
]


def check(use: Callable[[Case], Pairs], name: str, projector: str) -> None:
    with torch.random.fork_rng():
        for actual, expected in use(Case.of(name, projector)):
            torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4)


# What torch itself refuses to do with the plain module.
IMPOSSIBLE = {
    (state_on_meta, "parameters of all shapes"),  # `to_empty` leaves hidden buffers empty
    (functional, "checkpoint"),
    (functional, "checkpoint reentrant"),
    (second_derivatives, "checkpoint reentrant"),
    (second_derivatives, "attention"),
    (second_derivatives, "embedding"),
}
PROJECTORS = projectors.names()
COVERING = [
    (use, name, PROJECTORS[(i + j) % len(PROJECTORS)])
    for i, use in enumerate(USES)
    for j, name in enumerate(MODULES)
    if (use, name) not in IMPOSSIBLE
]


@pytest.mark.parametrize("use, name, projector", COVERING)
def test_covering(use: Callable[[Case], Pairs], name: str, projector: str) -> None:
    check(use, name, projector)


@pytest.mark.slow
@pytest.mark.parametrize("projector", PROJECTORS)
@pytest.mark.parametrize("name", MODULES)
def test_more(name: str, projector: str) -> None:
    first = list(MODULES).index(name) + PROJECTORS.index(projector)
    for use in USES[first % 4 :: 4]:
        if (use, name) not in IMPOSSIBLE:
            try:
                check(use, name, projector)
            except Exception as failure:
                failure.add_note(f"in the use {use.__name__}")
                raise
