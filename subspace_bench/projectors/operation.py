"""Pω and Pᵀθ as operations of autograd and `torch.func`, guarded against rounding by autocast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd import forward_ad

from subspace_bench.common.errors import Diverged

HALF = (torch.bfloat16, torch.float16)


class LinearMap(Protocol):
    """What `base.LinearMap` defines for rows of vectors."""

    native: int
    dim: int

    def _project(self, omega: Tensor) -> Tensor: ...

    def _adjoint(self, theta: Tensor) -> Tensor: ...


def apply_map(vector: Tensor, projector: LinearMap, adjoint: bool) -> Tensor:
    """Applies P or Pᵀ to the last dimension.

    The call goes through autograd, which costs 60 µs, only if a gradient or transform needs it.
    """
    plain = not (
        (vector.requires_grad and torch.is_grad_enabled())
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or torch.compiler.is_compiling()
    )
    act = _Linear.forward if plain else _Linear.apply
    result: Tensor = act(vector, projector, adjoint)
    return result


class _Linear(torch.autograd.Function):
    """P or Pᵀ as an operation of autograd and `torch.func`: each is the other's derivative."""

    @staticmethod
    def forward(vector: Tensor, projector: LinearMap, adjoint: bool) -> Tensor:
        if not adjoint:
            refuse_nan(vector)
        act = projector._adjoint if adjoint else projector._project
        shape = (*vector.shape[:-1], projector.dim if adjoint else projector.native)
        if not vector.numel():
            return vector.new_empty(shape)
        rows = vector.reshape(-1, vector.shape[-1]).contiguous()
        guard = without_tf32() if vector.is_cuda else nullcontext()
        with guard, without_autocast(vector.device.type):
            if rows.dtype in HALF:  # sums of thousands of terms need more precision
                return act(rows.float()).to(vector.dtype).view(shape)
            return act(rows).view(shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, LinearMap, bool], output: Tensor) -> None:
        _, ctx.projector, ctx.adjoint = inputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _Linear.apply(grad, ctx.projector, not ctx.adjoint), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *rest: None) -> Tensor:
        result: Tensor = _Linear.apply(tangent, ctx.projector, ctx.adjoint)
        return result

    @staticmethod
    def vmap(
        info: Any, dims: tuple[int, None, None], vector: Tensor, projector: LinearMap, adjoint: bool
    ) -> tuple[Tensor, int]:
        rows = vector.movedim(dims[0], 0)
        return _Linear.apply(rows, projector, adjoint), 0


def refuse_nan(vector: Tensor) -> None:
    """Raises `Diverged` if a vector on the CPU contains NaN."""
    # Elsewhere than on the CPU, reading the result waits for the device in every training step.
    if vector.device.type == "cpu" and vector.isnan().any():
        raise Diverged(
            "ω (or a gradient through Pᵀ) contains NaN: training diverged before the projection"
        )


def without_autocast(device: str) -> AbstractContextManager[object]:
    """Turns autocast off: it would round P and the vectors, so Pω and Pᵀθ would not be adjoint."""
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


@contextmanager
def without_tf32() -> Iterator[None]:
    """Turns TF32 off for matrix products on CUDA, where a user allows it: it rounds as autocast."""
    matmul = torch.backends.cuda.matmul
    # torch 2.9 has two settings. Reading the older one raises where only the newer one was written.
    newer = hasattr(matmul, "fp32_precision")
    if not (matmul.fp32_precision == "tf32" if newer else matmul.allow_tf32):
        yield
        return
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError:
        before = ""
    matmul.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32 = True
        if before:
            torch.set_float32_matmul_precision(before)
