"""Other implementations on the same device, in the same process, at the same sizes as ours.

Each is checked before it is timed. What is not installed is listed as left out.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.kernel_checks import ADAM, gaussian, relative_error, require
from benchmarks.gpu.runner import PEERS
from benchmarks.gpu.stages import Item, Setting, Values
from subspace_bench import Subspace, projectors
from subspace_bench.kernels.cpu.projected_adam import step_eager
from subspace_bench.profiling.stopwatch import Stopwatch, quartiles
from subspace_bench.projectors.hadamard import hadamard_, levels_
from subspace_bench.projectors.sparse import Sparse
from subspace_bench.training.fused_adam import CudaStep

SAMPLES = 15
CLOSE = 1e-4
LORA_DIM = 1_000
# Our projector → the operator of tight-pac-bayes that is most like it.
PACTL = {"regenerated": "LazyRandom", "kronecker": "RoundedDoubleKron", "sparse": "SparseOperator",
         "fastfood": "FastfoodOperator"}  # fmt: skip
Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Pair:
    """Our implementation of a task and a peer's.

    Attributes:
        check: raises AssertionError if the peer's result is wrong.
    """

    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    check: Callable[[], None]


def items(setting: Setting) -> list[Item]:
    """One item for each peer and task."""
    sizes = ((700, 30),) if setting.dry else ((21_840, 1_000), (21_840, 10_000))
    large = (700, 30) if setting.dry else (1 << 20, 10_000)
    levels = (8,) if setting.dry else (12, 15, 20, 24)
    pairs: dict[str, Callable[[], Pair]] = {}
    for size in sizes:
        text = f"{size[0]:,} × {size[1]:,}"
        pairs[f"Adam with P {text}: two products"] = partial(one_read, size, setting.device)
        pairs[f"dense {text}: torch, two products"] = partial(torch_dense, size, setting.device)
    for size in dict.fromkeys((*sizes[:1], large)):
        text = f"{size[0]:,} × {size[1]:,}"
        pairs[f"Fastfood {text}: intrinsic-dimensionality"] = partial(
            intrinsic_fastfood, size, setting.device
        )
        pairs[f"sparse {text}: torch.sparse CSR"] = partial(torch_sparse, size, setting.device)
    for name, operator in PACTL.items():
        text = f"{name} {sizes[0][0]:,} × {sizes[0][1]:,}: tight-pac-bayes {operator}"
        pairs[text] = partial(pactl, name, operator, sizes[0], setting.device)
    pairs["step of an MLP: PEFT's UniLora"] = partial(unilora, setting.device)
    for level in levels:
        name = f"Hadamard transform 2^{level}"
        pairs[f"{name}: fast-hadamard-transform"] = partial(dao, level, setting.device)
        pairs[f"{name}: hadamard-transform"] = partial(amit, level, setting.device)
        pairs[f"{name}: plain PyTorch"] = partial(plain, level, setting.device)
    return [Item(name, partial(compare, make, setting)) for name, make in pairs.items()]


def compare(make: Callable[[], Pair], setting: Setting) -> Values:
    """Milliseconds on the device of both, taking turns, and the ratio of their medians."""
    pair, stopwatch = make(), Stopwatch(setting.device)
    pair.check()
    samples: dict[str, list[float]] = {"ours": [], "theirs": []}
    for i in range(3 + (1 if setting.dry else SAMPLES)):
        for name, call in (("ours", pair.ours), ("theirs", pair.theirs)):
            seconds = stopwatch.device_seconds(call)
            if i >= 3:
                samples[name].append(seconds)
    times = quartiles("ours", samples["ours"]) | quartiles("theirs", samples["theirs"])
    return {**times, "times_ours": times["theirs_ms"] / times["ours_ms"]}


def one_read(size: tuple[int, int], device: str) -> Pair:
    """A step of Adam on ω and Pω: our kernel, which reads P once, against two products (cuBLAS)."""
    importlib.import_module("triton")
    ours, (omega, gradient) = CudaStep(device), vectors(size, device)
    columns = torch.randn(size[1], size[0], device=device) * size[0] ** -0.5
    origin, theta = torch.zeros_like(gradient), torch.empty_like(gradient)

    def caller(act: Callable[..., None]) -> Callable[[], Tensor]:
        here = [omega.clone(), torch.zeros_like(omega), torch.zeros_like(omega)]

        def call() -> Tensor:
            act(columns, gradient, *here, origin, theta, **ADAM, t=1)
            return theta.clone()

        return call

    def check() -> None:
        one, two = (caller(act)() for act in (ours, step_eager))
        require(relative_error(one, two) < CLOSE, "θ differs")

    return Pair(caller(ours), caller(step_eager), check)


def vectors(size: tuple[int, int], device: str) -> tuple[Tensor, Tensor]:
    """ω and θ."""
    return gaussian(1, size[1]).to(device), gaussian(2, size[0]).to(device)


def torch_dense(size: tuple[int, int], device: str) -> Pair:
    """cuBLAS with a stored P in float32: what `gaussian` calls, without its checks."""
    p = projectors.make("gaussian", *size, seed=0).to(device)
    columns, (omega, theta) = p.get_buffer("columns"), vectors(size, device)

    def check() -> None:
        require(relative_error(omega @ columns, p(omega)) < CLOSE, "Pω differs")

    return Pair(
        lambda: (p(omega), p.transpose(theta)), lambda: (omega @ columns, columns @ theta), check
    )


def torch_sparse(size: tuple[int, int], device: str) -> Pair:
    """The entries of our `sparse` as torch.sparse CSR matrices, P and its transpose (cuSPARSE)."""
    made = projectors.make("sparse", *size, seed=0)
    assert isinstance(made, Sparse)
    rows, columns = made._places()
    values = size[0] ** -0.25 * (1 - 2 * (columns & 1)).float()
    p_coo = torch.sparse_coo_tensor(torch.stack([rows, columns.long() // 2]), values, size)
    forward, back = p_coo.to_sparse_csr().to(device), p_coo.T.to_sparse_csr().to(device)
    p, (omega, theta) = made.to(device), vectors(size, device)

    def check() -> None:
        require(relative_error(forward @ omega, p(omega)) < CLOSE, "Pω differs")
        require(relative_error(back @ theta, p.transpose(theta)) < CLOSE, "Pᵀθ differs")

    return Pair(
        lambda: (p(omega), p.transpose(theta)), lambda: (forward @ omega, back @ theta), check
    )


def intrinsic_fastfood(size: tuple[int, int], device: str) -> Pair:
    """Through autograd, the only way to its adjoint; ours likewise. Its map is random, so the check
    is that it is linear."""
    module = cloned("intrinsic.fastfood")
    drawn = module.fastfood_vars(size[0], device)
    return through_autograd(
        "fastfood", size, device, lambda w: module.fastfood_torched(w, size[0], drawn)
    )


def pactl(name: str, operator: str, size: tuple[int, int], device: str) -> Pair:
    """An operator of tight-pac-bayes, likewise; it draws its entries where ω is."""
    module = cloned("pactl_projectors.projectors")
    made = getattr(module, operator)(*size, None, None)
    return through_autograd(name, size, device, lambda w: made @ w)


def cloned(name: str) -> Any:
    """A module of a clone that the runner puts on the path.

    Raises:
        ImportError: if it is not there; says how to bring it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        raise ImportError(
            f"{missing}: {PEERS} must name the folder of its clone, see docs/gpu.md"
        ) from missing


def through_autograd(name: str, size: tuple[int, int], device: str, theirs: Map) -> Pair:
    """Forward and backward of our projector called `name` and of a peer's map."""
    p = projectors.make(name, *size, seed=0).to(device)
    omega, theta = vectors(size, device)
    omega.requires_grad_()

    def both(forward: Map) -> Tensor:
        return torch.autograd.grad(forward(omega), omega, theta)[0]

    def check() -> None:
        with torch.no_grad():
            twice = theirs(2 * omega)
            require(relative_error(twice, 2 * theirs(omega)) < CLOSE, "it is not linear")

    return Pair(lambda: both(p), lambda: both(theirs), check)


def unilora(device: str) -> Pair:
    """A training step of an MLP: the default `Subspace`, and UniLora of rank 4 with the same d."""
    peft: Any = importlib.import_module("peft")
    layers = [nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10)]
    net, names = nn.Sequential(*layers).to(device), ["0", "2"]
    config = peft.UniLoraConfig(r=4, theta_d_length=LORA_DIM, target_modules=names)
    theirs = peft.get_peft_model(copy.deepcopy(net), config).to(device)
    x, y = gaussian(3, 64, 784).to(device), torch.arange(64, device=device) % 10
    ours = training_step(Subspace(net, LORA_DIM), x, y)
    peer = training_step(theirs, x, y)

    def check() -> None:
        for step in (ours, peer):
            before = float(step())
            for _ in range(3):
                after = float(step())
            require(after < before, "training does not lower the loss")

    return Pair(ours, peer, check)


def training_step(module: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    """A step of Adam on what the module trains; returns the loss before it."""
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], 1e-3)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(module(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return step


def transform(level: int, device: str, theirs: Map, scale: float) -> Pair:
    """A peer that returns `scale` times the transform of a vector of 2^level numbers."""
    x = gaussian(0, 1 << level)
    there, buffer = x.to(device), torch.zeros(1 << level, device=device)

    def check() -> None:
        exact = levels_(x.double())
        require(relative_error(theirs(there.clone()) / scale, exact) < CLOSE, "Hx differs")

    return Pair(lambda: hadamard_(buffer), lambda: theirs(buffer), check)


def dao(level: int, device: str) -> Pair:
    """Dao-AILab's CUDA kernel, up to 32,768 numbers; to be built where nvcc is."""
    module = importlib.import_module("fast_hadamard_transform")
    if level > 15:
        raise ImportError("fast-hadamard-transform has no transform above 2^15")
    return transform(level, device, module.hadamard_transform, 1.0)


def amit(level: int, device: str) -> Pair:
    """The package hadamard-transform, in plain PyTorch, normalised."""
    module = importlib.import_module("hadamard_transform")
    return transform(level, device, module.hadamard_transform, 2 ** (-level / 2))


def plain(level: int, device: str) -> Pair:
    """Our own transform without a kernel: one pass over memory for each level."""
    return transform(level, device, levels_, 1.0)
