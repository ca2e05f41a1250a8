"""The implementations that `benchmarks.peers` times: ours and other packages'.

Each comes with a check, run before it is timed: that it is a linear map with its exact adjoint, or
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
ONE = "(one thread)"  # marks peers that use one thread for one vector
CLOSE = 1e-5  # relative; far above float32's rounding, far below the error of a wrong map
Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Implementation:
    """One implementation of a task.

    Attributes:
        call: what is timed.
        check: raises AssertionError if the result is wrong.
    """

    call: Callable[[], object]
    check: Callable[[], None]


def product(
    forward: Map, adjoint: Map, native: int, dim: int, call: Callable[[], object] | None = None
) -> Implementation:
    """Pω and Pᵀθ; `call` computes them if the peer does not accept tensors."""
    rng = torch.Generator().manual_seed(0)
    omega, other, theta = (torch.randn(n, generator=rng) for n in (dim, dim, native))

    def check() -> None:
        image, back = forward(omega.clone()).double(), adjoint(theta.clone()).double()
        gap = image @ theta.double() - omega.double() @ back
        assert abs(gap) <= CLOSE * image.norm() * theta.norm(), "Pω and Pᵀθ are not adjoint"
        combined = image + 2 * forward(other.clone()).double()
        gap = (forward(omega + 2 * other).double() - combined).norm()
        assert gap <= CLOSE * combined.norm(), "Pω is not linear in ω"

    return Implementation(call or (lambda: (forward(omega), adjoint(theta))), check)


def through_autograd(forward_map: Map, native: int, dim: int) -> Implementation:
    """Forward, and the adjoint through autograd."""
    omega = torch.zeros(dim).requires_grad_()
    theta = torch.randn(native)

    def call() -> Tensor:
        omega.grad = None
        forward_map(omega).backward(theta)  # type: ignore[no-untyped-call]
        return omega

    def forward(vector: Tensor) -> Tensor:
        return forward_map(vector).detach()

    def adjoint(vector: Tensor) -> Tensor:
        return torch.autograd.grad(forward_map(omega), omega, vector)[0]

    return product(forward, adjoint, native, dim, call)


def ours(name: str, native: int, dim: int) -> Implementation:
    """Ours, called through autograd like the peer."""
    return through_autograd(projectors.make(name, native, dim, 0), native, dim)


def ours_direct(name: str, native: int, dim: int) -> Implementation:
    """Ours, called directly, for peers without autograd."""
    p = projectors.make(name, native, dim, 0)
    return product(p.forward, p.transpose, native, dim)


def intrinsic_fastfood(native: int, dim: int) -> Implementation:
    fastfood = importlib.import_module("intrinsic.fastfood")
    drawn = fastfood.fastfood_vars(native, "cpu")
    return through_autograd(lambda w: fastfood.fastfood_torched(w, native, drawn), native, dim)


def pactl_operator(name: str, native: int, dim: int) -> Implementation:
    module = importlib.import_module("pactl_projectors.projectors")
    operator = getattr(module, name)(native, dim, None, None)
    return through_autograd(lambda w: operator @ w, native, dim)


def dense_torch(native: int, dim: int) -> Implementation:
    """torch's own products with a stored P."""
    p = next(projectors.make("gaussian", native, dim, 0).buffers())
    return product(lambda w: w @ p, lambda t: p @ t, native, dim)


def two_sums(native: int, dim: int) -> Implementation:
    """Reads P twice without using it: a lower bound for products with a stored P."""
    p = next(projectors.make("gaussian", native, dim, 0).buffers())
    return Implementation(lambda: (p.sum(), p.sum()), lambda: None)


def sklearn_sparse(native: int, dim: int) -> Implementation:
    """The matrix of `SparseRandomProjection`, applied and transposed by SciPy."""
    module = importlib.import_module("sklearn.random_projection")
    fitted = module.SparseRandomProjection(dim, density=native**-0.5, random_state=0)
    fitted.fit(np.zeros((1, native), np.float32))
    matrix = fitted.components_.astype(np.float32).tocsr()
    transposed = matrix.T.tocsr()
    omega, theta = np.ones(dim, np.float32), np.ones(native, np.float32)
    return product(
        lambda w: torch.from_numpy(transposed @ w.numpy()),
        lambda t: torch.from_numpy(matrix @ t.numpy()),
        native, dim, lambda: (transposed @ omega, matrix @ theta),
    )  # fmt: skip


def torch_sparse(native: int, dim: int) -> Implementation:
    """The entries of our `sparse` as a torch.sparse CSR tensor and its transpose."""
    p = projectors.make("sparse", native, dim, 0)
    assert isinstance(p, Sparse)
    rows, columns = p._places()
    values = native**-0.25 * (1 - 2 * (columns & 1)).float()
    p_coo = torch.sparse_coo_tensor(torch.stack([rows, columns.long() // 2]), values, (native, dim))
    forward, back = p_coo.to_sparse_csr(), p_coo.T.to_sparse_csr()
    implementation = product(lambda w: forward @ w, lambda t: back @ t, native, dim)

    def check() -> None:
        implementation.check()
        omega = torch.randn(dim)
        assert torch.allclose(forward @ omega, p(omega), rtol=CLOSE, atol=CLOSE)

    return Implementation(implementation.call, check)


def dct(native: int, dim: int) -> Implementation:
    """Random columns of a DCT with random signs, in SciPy: the alternative to SRHT."""
    fft = importlib.import_module("scipy.fft")
    p = projectors.make("srht", native, dim, 0)
    assert isinstance(p, SRHT)
    positions, rng = p.positions.numpy(), np.random.default_rng(0)
    signs = rng.choice([-1, 1], native).astype(np.float32)

    def forward(omega: np.ndarray) -> Any:
        theta = np.zeros(native, np.float32)
        theta[positions] = omega
        return signs * fft.idct(theta, norm="ortho")

    def adjoint(theta: np.ndarray) -> Any:
        return fft.dct(signs * theta, norm="ortho")[positions]

    omega, theta = np.ones(dim, np.float32), np.ones(native, np.float32)
    return product(
        lambda w: torch.from_numpy(forward(w.numpy())),
        lambda t: torch.from_numpy(adjoint(t.numpy())),
        native, dim, lambda: (forward(omega), adjoint(theta)),
    )  # fmt: skip


def transform(apply: Map, size: int, call: Callable[[], object]) -> Implementation:
    """Hx of one float32 vector, unnormalised."""

    def check() -> None:
        x = torch.randn(size, generator=torch.Generator().manual_seed(0))
        exact = levels_(x.double())
        gap = (apply(x.clone()).double() - exact).abs().max()
        assert gap <= CLOSE * exact.abs().max(), "not the Walsh-Hadamard transform"

    return Implementation(call, check)


def hadamard_transforms(size: int) -> Iterator[tuple[str, Callable[[], Implementation]]]:
    """Transforms of one float32 vector, in place if the peer can."""
    zeros = torch.zeros(size)

    def ours_float32() -> Implementation:
        return transform(hadamard_, size, lambda: hadamard_(zeros))

    def peer_torch() -> Implementation:
        apply = importlib.import_module("hadamard_transform").hadamard_transform
        return transform(lambda x: apply(x) * size**0.5, size, lambda: apply(zeros))

    def peer_fht() -> Implementation:
        fht = importlib.import_module("fht_cpu").fht
        x = zeros.numpy()
        return transform(lambda y: torch.from_numpy(fht(y.numpy())), size, lambda: fht(x))

    def peer_pyfwht(backend: str) -> Implementation:
        pyfwht = importlib.import_module("pyfwht")
        if backend == "OPENMP" and not pyfwht.has_openmp():
            raise ImportError("built without OpenMP")
        context = pyfwht.Context(getattr(pyfwht.Backend, backend), torch.get_num_threads())
        x = zeros.double().numpy()

        def apply(y: Tensor) -> Tensor:
            wide = y.double()
            context.transform(wide.numpy())
            return wide

        return transform(apply, size, lambda: context.transform(x))

    def scipy_matrix() -> Implementation:
        linalg = importlib.import_module("scipy.linalg")
        matrix = torch.from_numpy(linalg.hadamard(size).astype(np.float32))
        return transform(lambda x: matrix @ x, size, lambda: matrix @ zeros)

    def in_float64(apply: Map) -> Implementation:
        wide = zeros.double()
        return transform(lambda x: apply(x.double()), size, lambda: apply(wide))

    yield "ours", ours_float32
    yield "ours, float64", lambda: in_float64(hadamard_)
    yield "our plain PyTorch, float64", lambda: in_float64(levels_)
    yield "hadamard-transform", peer_torch
    yield f"fht-cpu {ONE}", peer_fht
    yield f"pyfwht, float64 {ONE}", lambda: peer_pyfwht("CPU")
    if torch.get_num_threads() > 1:
        yield "pyfwht, float64, OpenMP", lambda: peer_pyfwht("OPENMP")
    if size <= 1 << 12:
        yield "scipy.linalg.hadamard", scipy_matrix


def comparisons() -> Iterator[tuple[str, str, dict[str, Callable[[], Implementation]]]]:
    """(task, size, implementations) of each comparison; each is built when it is its turn."""
    post, large, million = (21_840, 1_000), (21_840, 10_000), (1 << 20, 1_000)

    def at(build: Callable[..., Implementation], *arguments: Any) -> Callable[[], Implementation]:
        return lambda: build(*arguments)

    def size(native: int, dim: int) -> str:
        return f"{native:,} × {dim:,}"

    for sizes in (post, (1 << 20, 10_000)):
        yield "Fastfood", size(*sizes), {
            "ours": at(ours, "fastfood", *sizes),
            INTRINSIC: at(intrinsic_fastfood, *sizes),
        }  # fmt: skip
    yield "Fastfood", size(*post), {
        "ours": at(ours, "fastfood", *post),
        PACTL: at(pactl_operator, "FastfoodOperator", *post),
    }  # fmt: skip
    for name in ("regenerated", "regenerated-signs"):
        yield f"dense, not stored ({name})", size(*post), {
            "ours": at(ours, name, *post),
            f"{PACTL} LazyRandom": at(pactl_operator, "LazyRandom", *post),
        }  # fmt: skip
    yield "dense, stored", size(*post), {
        "ours": at(ours, "orthonormal", *post),
        f"{PACTL} LazyRandomQR": at(pactl_operator, "LazyRandomQR", *post),
    }  # fmt: skip
    for sizes in (post, large):
        yield "dense in bfloat16", size(*sizes), {
            "ours": at(ours_direct, "gaussian-bf16", *sizes),
            "ours in float32": at(ours_direct, "gaussian", *sizes),
            "torch, P @ ω and P.T @ θ": at(dense_torch, *sizes),
            "torch, two sums over P in float32": at(two_sums, *sizes),
        }  # fmt: skip
    yield "Kronecker", size(*million), {
        "ours": at(ours, "kronecker", *million),
        f"{PACTL} RoundedDoubleKron": at(pactl_operator, "RoundedDoubleKron", *million),
    }  # fmt: skip
    yield "sparse", size(*million), {
        "ours": at(ours, "sparse", *million),
        f"{PACTL} SparseOperator": at(pactl_operator, "SparseOperator", *million),
        f"scikit-learn, SciPy {ONE}": at(sklearn_sparse, *million),
        "torch.sparse CSR": at(torch_sparse, *million),
    }  # fmt: skip
    for native in (21_840, 199_210, 1 << 20):
        yield "SRHT", size(native, 1_000), {
            "ours": at(ours_direct, "srht", native, 1_000),
            f"DCT, scipy.fft {ONE}": at(dct, native, 1_000),
        }  # fmt: skip
    for bits in (12, 15, 20, 24):
        yield "Hadamard transform", f"2^{bits}", dict(hadamard_transforms(1 << bits))
