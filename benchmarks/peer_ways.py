"""What benchmarks/peers.py times: ways to do the same work, ours and other people's, by row.

Every way comes with a check, run before it is timed: that it is a linear map and its adjoint, or
the Walsh-Hadamard transform, to rounding.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from subspace_bench import projectors
from subspace_bench.projectors.hadamard import hadamard_, levels_
from subspace_bench.projectors.sparse import Sparse
from subspace_bench.projectors.srht import SRHT

INTRINSIC, PACTL = "intrinsic-dimensionality", "tight-pac-bayes"
ONE = "(one thread)"  # marks what knows no threads for one vector
CLOSE = 1e-5  # of the largest, or of lengths: far above float32's rounding, far below a mistake
Act = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Way:
    """One way to do the work of a row.

    Attributes:
        call: what is timed.
        check: raises AssertionError where the work is done wrong.
    """

    call: Callable[[], object]
    check: Callable[[], None]


def product(
    forward: Act, adjoint: Act, native: int, dim: int, call: Callable[[], object] | None = None
) -> Way:
    """Pω and Pᵀθ; `call` does the same where tensors are not what the peer takes."""
    draw = torch.Generator().manual_seed(0)
    omega, other, theta = (torch.randn(n, generator=draw) for n in (dim, dim, native))

    def check() -> None:
        image, back = forward(omega.clone()).double(), adjoint(theta.clone()).double()
        apart = image @ theta.double() - omega.double() @ back
        assert abs(apart) <= CLOSE * image.norm() * theta.norm(), "Pω and Pᵀθ are not adjoint"
        parts = image + 2 * forward(other.clone()).double()
        apart = (forward(omega + 2 * other).double() - parts).norm()
        assert apart <= CLOSE * parts.norm(), "Pω is not linear in ω"

    return Way(call or (lambda: (forward(omega), adjoint(theta))), check)


def both_ways(act: Act, native: int, dim: int) -> Way:
    """Forward, and the adjoint through autograd."""
    omega = torch.zeros(dim).requires_grad_()
    theta = torch.randn(native)

    def call() -> Tensor:
        omega.grad = None
        act(omega).backward(theta)  # type: ignore[no-untyped-call]
        return omega

    def forward(vector: Tensor) -> Tensor:
        return act(vector).detach()

    def adjoint(vector: Tensor) -> Tensor:
        return torch.autograd.grad(act(omega), omega, vector)[0]

    return product(forward, adjoint, native, dim, call)


def ours(name: str, native: int, dim: int) -> Way:
    """Ours as a peer is called, through autograd."""
    return both_ways(projectors.make(name, native, dim, 0), native, dim)


def ours_alone(name: str, native: int, dim: int) -> Way:
    """Ours beside what knows no autograd."""
    p = projectors.make(name, native, dim, 0)
    return product(p.forward, p.transpose, native, dim)


def intrinsic_fastfood(native: int, dim: int) -> Way:
    fastfood = importlib.import_module("intrinsic.fastfood")
    drawn = fastfood.fastfood_vars(native, "cpu")
    return both_ways(lambda w: fastfood.fastfood_torched(w, native, drawn), native, dim)


def pactl(name: str, native: int, dim: int) -> Way:
    kinds = importlib.import_module("pactl_projectors.projectors")
    operator = getattr(kinds, name)(native, dim, None, None)
    return both_ways(lambda w: operator @ w, native, dim)


def dense_torch(native: int, dim: int) -> Way:
    """torch's own products with a stored P."""
    p = next(projectors.make("gaussian", native, dim, 0).buffers())
    return product(lambda w: w @ p, lambda t: p @ t, native, dim)


def reads(native: int, dim: int) -> Way:
    """P is read twice and nothing is made of it: what no product with a stored P can beat."""
    p = next(projectors.make("gaussian", native, dim, 0).buffers())
    return Way(lambda: (p.sum(), p.sum()), lambda: None)


def sklearn_sparse(native: int, dim: int) -> Way:
    """The random matrix of `SparseRandomProjection`, applied and transposed by SciPy."""
    kinds = importlib.import_module("sklearn.random_projection")
    chosen = kinds.SparseRandomProjection(dim, density=native**-0.5, random_state=0)
    chosen.fit(np.zeros((1, native), np.float32))
    matrix = chosen.components_.astype(np.float32).tocsr()
    transposed = matrix.T.tocsr()
    omega, theta = np.ones(dim, np.float32), np.ones(native, np.float32)
    return product(
        lambda w: torch.from_numpy(transposed @ w.numpy()),
        lambda t: torch.from_numpy(matrix @ t.numpy()),
        native, dim, lambda: (transposed @ omega, matrix @ theta),
    )  # fmt: skip


def torch_sparse(native: int, dim: int) -> Way:
    """The entries of our `sparse` as a torch.sparse CSR tensor and its transpose."""
    p = projectors.make("sparse", native, dim, 0)
    assert isinstance(p, Sparse)
    rows, columns = p._places()
    values = native**-0.25 * (1 - 2 * (columns & 1)).float()
    p_coo = torch.sparse_coo_tensor(torch.stack([rows, columns.long() // 2]), values, (native, dim))
    forward, back = p_coo.to_sparse_csr(), p_coo.T.to_sparse_csr()
    way = product(lambda w: forward @ w, lambda t: back @ t, native, dim)

    def check() -> None:
        way.check()
        omega = torch.randn(dim)
        assert torch.allclose(forward @ omega, p(omega), rtol=CLOSE, atol=CLOSE)

    return Way(way.call, check)


def dct(native: int, dim: int) -> Way:
    """Random columns of a DCT with random signs, in SciPy: what could stand in SRHT's place."""
    fft = importlib.import_module("scipy.fft")
    p = projectors.make("srht", native, dim, 0)
    assert isinstance(p, SRHT)
    places, draw = p.positions.numpy(), np.random.default_rng(0)
    signs = draw.choice([-1, 1], native).astype(np.float32)

    def forward(omega: np.ndarray) -> Any:
        theta = np.zeros(native, np.float32)
        theta[places] = omega
        return signs * fft.idct(theta, norm="ortho")

    def adjoint(theta: np.ndarray) -> Any:
        return fft.dct(signs * theta, norm="ortho")[places]

    omega, theta = np.ones(dim, np.float32), np.ones(native, np.float32)
    return product(
        lambda w: torch.from_numpy(forward(w.numpy())),
        lambda t: torch.from_numpy(adjoint(t.numpy())),
        native, dim, lambda: (forward(omega), adjoint(theta)),
    )  # fmt: skip


def transform(act: Act, size: int, call: Callable[[], object]) -> Way:
    """Hx of one float32 vector, unnormalised."""

    def check() -> None:
        x = torch.randn(size, generator=torch.Generator().manual_seed(0))
        exact = levels_(x.double())
        apart = (act(x.clone()).double() - exact).abs().max()
        assert apart <= CLOSE * exact.abs().max(), "not the Walsh-Hadamard transform"

    return Way(call, check)


def hadamards(size: int) -> Iterator[tuple[str, Callable[[], Way]]]:
    """Transforms of one float32 vector, in place where the peer can."""
    zeros = torch.zeros(size)

    def own() -> Way:
        return transform(hadamard_, size, lambda: hadamard_(zeros))

    def peer_torch() -> Way:
        act = importlib.import_module("hadamard_transform").hadamard_transform
        return transform(lambda x: act(x) * size**0.5, size, lambda: act(zeros))

    def peer_fht() -> Way:
        act = importlib.import_module("fht_cpu").fht
        x = zeros.numpy()
        return transform(lambda y: torch.from_numpy(act(y.numpy())), size, lambda: act(x))

    def peer_pyfwht(backend: str) -> Way:
        pyfwht = importlib.import_module("pyfwht")
        if backend == "OPENMP" and not pyfwht.has_openmp():
            raise ImportError("built without OpenMP")
        context = pyfwht.Context(getattr(pyfwht.Backend, backend), torch.get_num_threads())
        x = zeros.double().numpy()

        def act(y: Tensor) -> Tensor:
            wide = y.double()
            context.transform(wide.numpy())
            return wide

        return transform(act, size, lambda: context.transform(x))

    def scipy_matrix() -> Way:
        made = importlib.import_module("scipy.linalg").hadamard(size).astype(np.float32)
        matrix = torch.from_numpy(made)
        return transform(lambda x: matrix @ x, size, lambda: matrix @ zeros)

    def in_float64(act: Act) -> Way:
        wide = zeros.double()
        return transform(lambda x: act(x.double()), size, lambda: act(wide))

    yield "ours", own
    yield "ours, float64", lambda: in_float64(hadamard_)
    yield "our plain PyTorch, float64", lambda: in_float64(levels_)
    yield "hadamard-transform", peer_torch
    yield f"fht-cpu {ONE}", peer_fht
    yield f"pyfwht, float64 {ONE}", lambda: peer_pyfwht("CPU")
    if torch.get_num_threads() > 1:
        yield "pyfwht, float64, OpenMP", lambda: peer_pyfwht("OPENMP")
    if size <= 1 << 12:
        yield "scipy.linalg.hadamard", scipy_matrix


def comparisons() -> Iterator[tuple[str, str, dict[str, Callable[[], Way]]]]:
    """(what, size, ways) of each row; ways are made when their turn comes."""
    post, million = (21_840, 1_000), (1 << 20, 1_000)
    for at in (post, (1 << 20, 10_000)):
        yield "Fastfood", f"{at[0]:,} × {at[1]:,}", {
            "ours": lambda at=at: ours("fastfood", *at),  # type: ignore[misc]
            INTRINSIC: lambda at=at: intrinsic_fastfood(*at),  # type: ignore[misc]
        }  # fmt: skip
    yield "Fastfood", "21,840 × 1,000", {
        "ours": lambda: ours("fastfood", *post), PACTL: lambda: pactl("FastfoodOperator", *post),
    }  # fmt: skip
    for name in ("regenerated", "regenerated-signs"):
        yield f"dense, not stored ({name})", "21,840 × 1,000", {
            "ours": lambda name=name: ours(name, *post),  # type: ignore[misc]
            f"{PACTL} LazyRandom": lambda: pactl("LazyRandom", *post),
        }  # fmt: skip
    yield "dense, stored", "21,840 × 1,000", {
        "ours": lambda: ours("orthonormal", *post),
        f"{PACTL} LazyRandomQR": lambda: pactl("LazyRandomQR", *post),
    }  # fmt: skip
    for at in (post, (21_840, 10_000)):
        yield "dense in bfloat16", f"{at[0]:,} × {at[1]:,}", {
            "ours": lambda at=at: ours_alone("gaussian-bf16", *at),  # type: ignore[misc]
            "ours in float32": lambda at=at: ours_alone("gaussian", *at),  # type: ignore[misc]
            "torch, P @ ω and P.T @ θ": lambda at=at: dense_torch(*at),  # type: ignore[misc]
            "torch, two sums over P in float32": lambda at=at: reads(*at),  # type: ignore[misc]
        }  # fmt: skip
    yield "Kronecker", "1,048,576 × 1,000", {
        "ours": lambda: ours("kronecker", *million),
        f"{PACTL} RoundedDoubleKron": lambda: pactl("RoundedDoubleKron", *million),
    }  # fmt: skip
    yield "sparse", "1,048,576 × 1,000", {
        "ours": lambda: ours("sparse", *million),
        f"{PACTL} SparseOperator": lambda: pactl("SparseOperator", *million),
        f"scikit-learn, SciPy {ONE}": lambda: sklearn_sparse(*million),
        "torch.sparse CSR": lambda: torch_sparse(*million),
    }  # fmt: skip
    for native in (21_840, 199_210, 1 << 20):
        yield "SRHT", f"{native:,} × 1,000", {
            "ours": lambda native=native: ours_alone("srht", native, 1_000),  # type: ignore[misc]
            f"DCT, scipy.fft {ONE}": lambda native=native: dct(native, 1_000),  # type: ignore[misc]
        }  # fmt: skip
    for bits in (12, 15, 20, 24):
        yield "Hadamard transform", f"2^{bits}", dict(hadamards(1 << bits))
