"""Compares every projector on the device with the CPU in float64, and checks what training there
relies on: equal bits from run to run, no hidden waiting, CUDA graphs, streams, memory returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch

from benchmarks.gpu import subspace_checks
from benchmarks.gpu.ceilings import tf32_products
from benchmarks.gpu.kernel_checks import KEY, gaussian, relative_error, require
from benchmarks.gpu.stages import Item, Setting, Values
from subspace_bench import projectors
from subspace_bench.profiling.cases import layer_sizes
from subspace_bench.profiling.stopwatch import recorded
from subspace_bench.projectors import Projector, permutations
from subspace_bench.projectors.hadamard import hadamard_, levels_
from subspace_bench.projectors.registry import BUILT_IN
from subspace_bench.training.loop import make_cuda_deterministic

SIZES = ((1_001, 30), (21_840, 1_000), (1_048_579, 10_000))
LARGE = ("hashed", "fastfood", "srht", "sparse", "kronecker")  # also checked at the last size
PROPERTY_SIZE = (21_840, 100)
DRY_SIZES = ((301, 7),)
# Largest error of an element, relative to the largest element.
BOUNDS = {"float64": 1e-12, "float32": 2e-5, "bfloat16": 2e-2, "float16": 4e-3}
# Entries are computed in float32, to 2 ulp.
COMPUTED = ("regenerated", "fastfood", "fastfood-layers")
COMPUTED_BOUND = 1e-6
COMPILE_SECONDS = 120.0


def items(setting: Setting) -> list[Item]:
    """Bits and whole maps first, then what training relies on; `torch.compile`, the slowest, last.

    A value is an error, relative to the largest element; an item fails if it is above its bound.
    """
    sizes, device = DRY_SIZES if setting.dry else SIZES, setting.device
    names = list(BUILT_IN)
    found = [
        Item("bits: permutations and signs", partial(equal_bits, device, setting.dry)),
        Item("bits: Hadamard transform", partial(equal_transforms, device, setting.dry)),
    ]
    for i, size in enumerate(sizes):
        for name in names:
            if i < 2 or name in LARGE:
                found.append(Item(label("map", name, size), partial(compare, name, size, device)))
    size = DRY_SIZES[0] if setting.dry else PROPERTY_SIZE
    for what, check in PROPERTIES.items():
        found += [Item(label(what, n, size), partial(check, n, size, device)) for n in names]
    for what, whole in WHOLE.items():
        found.append(Item(what, partial(whole, device), COMPILE_SECONDS))
    return found


def label(what: str, name: str, size: tuple[int, int]) -> str:
    return f"{what}: {name} {size[0]:,} × {size[1]:,}"


def make(name: str, size: tuple[int, int]) -> Projector:
    return projectors.make(name, *size, seed=4, layers=layer_sizes(size[0]))


def compare(name: str, size: tuple[int, int], device: str) -> Values:
    """Errors of Pω and Pᵀθ of two vectors, in every dtype, against the CPU in float64."""
    projector = make(name, size)
    omega, theta = gaussian(1, 2, size[1]).double(), gaussian(2, 2, size[0]).double()
    exact = projector(omega), projector.transpose(theta)
    there = projector.to(device)
    errors: Values = {}
    for dtype, bound in BOUNDS.items():
        rounded = [v.to(device, getattr(torch, dtype)) for v in (omega, theta)]
        one = there(rounded[0][0]), there.transpose(rounded[1][0])  # may take another kernel
        found = there(rounded[0]), there.transpose(rounded[1])
        pairs = zip((*found, *one), (*exact, exact[0][0], exact[1][0]), strict=True)
        errors[dtype] = max(relative_error(*pair) for pair in pairs)
        if name in COMPUTED:
            bound = max(bound, COMPUTED_BOUND)
        if not errors[dtype] <= bound:
            errors["status"] = f"failed: error {errors[dtype]:.2g} in {dtype}, above {bound:.0e}"
    return errors


def equal_bits(device: str, dry: bool) -> Values:
    """Philox words, permutations and signs are the CPU's, bit for bit."""
    for bits, count in ((8, 3), (14, 5)) if dry else ((8, 3), (14, 5), (20, 2)):
        found = []
        for where in ("cpu", device):
            blocks = torch.arange(count, device=where)
            index = torch.arange(1 << bits, device=where).expand(count, -1)
            keyed = permutations.permutation_keys(KEY, blocks)
            places = permutations.permute_index(index, keyed, bits)
            found.append((places.cpu(), permutations.signs(KEY, blocks, 0, 1 << bits).cpu()))
        for here, there in zip(*found, strict=True):
            require(torch.equal(here, there), f"blocks of 2^{bits}")
    return {}


def equal_transforms(device: str, dry: bool) -> Values:
    """Transforms of all lengths are the CPU's, bit for bit."""
    for levels in range(0, 10 if dry else 25, 3):
        x = gaussian(levels, 1 << levels)
        for dtype in (torch.float32,) if dry else (torch.float32, torch.float64):
            plain, there = x.to(dtype), x.to(device, dtype, copy=True)
            require(torch.equal(hadamard_(there).cpu(), levels_(plain)), f"2^{levels}, {dtype}")
    return {}


def repeats(name: str, size: tuple[int, int], device: str) -> Values:
    """Pω and Pᵀθ have equal bits each time; also says whether only with deterministic algorithms,
    which training on CUDA turns on."""
    p = make(name, size).to(device)
    omega, theta = gaussian(1, size[1]).to(device), gaussian(2, size[0]).to(device)

    def equal() -> bool:
        first, second = ((p(omega), p.transpose(theta)) for _ in range(2))
        return all(map(torch.equal, first, second))

    without = equal()
    with deterministic(device):
        require(equal(), "bits differ from call to call")
    return {"without_deterministic_algorithms": without}


@contextmanager
def deterministic(device: str) -> Iterator[None]:
    """As in training on CUDA."""
    if device == "cuda":
        make_cuda_deterministic()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def never_waits(name: str, size: tuple[int, int], device: str) -> Values:
    """Neither product waits for the device, which torch's debug mode would refuse."""
    p = make(name, size).to(device)
    omega, theta = gaussian(1, size[1]).to(device), gaussian(2, size[0]).to(device)
    p(omega), p.transpose(theta)  # compiles
    with subspace_checks.refused_waits(device):
        p(omega), p.transpose(theta)
    return {}


def in_a_graph(name: str, size: tuple[int, int], device: str) -> Values:
    """Both products can be recorded in a CUDA graph, and a replay reads new inputs."""
    p = make(name, size).to(device)
    omega, theta = gaussian(1, size[1]).to(device), gaussian(2, size[0]).to(device)
    image, back = torch.empty_like(theta), torch.empty_like(omega)

    def both() -> None:
        image.copy_(p(omega))
        back.copy_(p.transpose(theta))

    with recorded(both, 1, device) as replay:
        omega.copy_(gaussian(3, size[1]))
        theta.copy_(gaussian(4, size[0]))
        replay()
        errors = relative_error(image, p(omega)), relative_error(back, p.transpose(theta))
    require(max(errors) < BOUNDS["float32"], f"a replay is off by {max(errors):.2g}")
    return {"float32": max(errors)}


def on_a_stream(name: str, size: tuple[int, int], device: str) -> Values:
    """Pω on another stream than the default one."""
    p = make(name, size).to(device)
    omega = gaussian(1, size[1]).to(device)
    expected = p(omega)
    where: AbstractContextManager[object] = nullcontext()
    if device == "cuda":
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        where = torch.cuda.stream(side)
    with where:
        found = p(omega)
        if device == "cuda":
            torch.cuda.current_stream().synchronize()
    error = relative_error(found, expected)
    require(error < BOUNDS["float32"], f"another stream is off by {error:.2g}")
    return {"float32": error}


def returns_memory(name: str, size: tuple[int, int], device: str) -> Values:
    """Nothing stays allocated on the device after a projector is gone."""
    omega, theta = gaussian(1, size[1]).to(device), gaussian(2, size[0]).to(device)
    kept = []
    for _ in range(2):  # the first time, libraries allocate workspaces that they keep
        p = make(name, size).to(device)
        p(omega), p.transpose(theta)
        del p
        if device == "cuda":
            torch.cuda.synchronize()
            kept.append(torch.cuda.memory_allocated())
    require(not kept or kept[1] <= kept[0], f"allocated after one use and after two: {kept} bytes")
    return {}


PROPERTIES: dict[str, Callable[[str, tuple[int, int], str], Values]] = {
    "repeats": repeats,
    "never waits": never_waits,
    "graph": in_a_graph,
    "stream": on_a_stream,
    "memory": returns_memory,
}


def keeps_float32(device: str) -> Values:
    """Products with many vectors stay in float32 where the user allows TF32."""
    p = make("gaussian", (1_001, 300))
    omega = gaussian(1, 256, 300)
    exact = p(omega.double())
    with tf32_products(True):
        error = relative_error(p.to(device)(omega.to(device)), exact)
    require(error < BOUNDS["float32"], f"the error is {error:.2g}, as of TF32")
    return {"float32": error}


WHOLE: dict[str, Callable[[str], Values]] = {
    "float32 where TF32 is allowed": keeps_float32,
    "training steps, which never wait": subspace_checks.training_never_waits,
    "Subspace in a CUDA graph": subspace_checks.trains_in_a_graph,
    "Subspace in torch.compile": subspace_checks.compiles,
}
