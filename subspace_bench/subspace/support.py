"""Checks which modules a Subspace can wrap, and finds what must not move or cannot be copied."""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

from subspace_bench.common.errors import UserError
from subspace_bench.subspace.slots import OriginParameter

WRITTEN = (
    "a piece of θ was written in place, as by nn.init on net.module.fc.weight, and the write is "
    "lost: write before wrapping, or load a state_dict into net.module, which sets θ₀"
)


def require_supported(module: nn.Module, sharded: bool = False) -> None:
    """Raises UserError for a module that a Subspace, or a ShardedSubspace, cannot wrap."""
    for name, part in module.named_modules():
        where = f"{name} ({type(part).__name__})" if name else type(part).__name__
        if isinstance(part, torch.jit.ScriptModule):
            raise UserError(f"{where} is scripted: wrap the Python module instead")
        if isinstance(part, (nn.Embedding, nn.EmbeddingBag)) and part.sparse:
            raise UserError(f"{where} asks for sparse gradients: build it with sparse=False")
        if isinstance(part, (nn.Embedding, nn.EmbeddingBag)) and part.max_norm is not None:
            raise UserError(f"{where} writes its weight in forward: build it with max_norm=None")
        for p in part._parameters.values():
            if isinstance(p, nn.parameter.UninitializedParameter):
                raise UserError(f"{where} is lazy: run one batch through the module first")
            if hasattr(p, "device_mesh") and not sharded:
                raise UserError(f"{where} is sharded: use a ShardedSubspace")
            if p is not None and p.requires_grad and p.is_complex():
                raise UserError(f"{where} has complex parameters: a Subspace spans real ones only")
            if isinstance(p, OriginParameter):
                raise UserError(
                    f"the parameters of {where} belong to another Subspace: wrap the result of its "
                    "merge(), or a copy made before wrapping"
                )


def require_shape(parameter: Tensor, shape: torch.Size) -> None:
    """Raises UserError for a new parameter of θ₀ that does not have the shape of the old one."""
    if parameter.shape != shape:
        raise UserError(f"a parameter of θ₀ has shape {[*shape]}, not {[*parameter.shape]}")


def require_not_traced() -> None:
    """Raises UserError in `torch.jit.trace` and `torch.export`, which would store θ's values."""
    if torch.jit.is_tracing() or torch.compiler.is_exporting():  # type: ignore
        raise UserError("tracing and export would freeze θ: use the module that merge() returns")


def warn_if_idle(optimizer: Optimizer, *_: Any) -> None:
    """Warns, before an optimizer's step, if it has parameters of θ₀ and none that trains."""
    has_origin = False
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.requires_grad:
                return
            has_origin = has_origin or type(p) is OriginParameter
    if has_origin:
        warnings.warn(
            "this optimizer trains nothing: it has parameters of θ₀, not ω. Build it from "
            "net.parameters(), where net is the Subspace",
            stacklevel=2,
        )


# An optimizer built before wrapping is not reachable from a Subspace, so torch must call us.
register_optimizer_step_pre_hook(warn_if_idle)


def forward_with_signature(net: nn.Module) -> Callable[..., Any]:
    """`net.forward` with the signature of the module's forward, which some tools inspect."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        return type(net).forward(net, *args, **kwargs)

    with contextlib.suppress(TypeError, ValueError):
        forward.__signature__ = inspect.signature(net.module.forward)  # type: ignore
    return forward


def fixed_positions(module: nn.Module, number: dict[int, int], sizes: list[int]) -> Tensor | None:
    """Positions in θ that must not move: the padding_idx rows of embeddings."""
    positions = []
    for part in module.modules():
        if isinstance(part, (nn.Embedding, nn.EmbeddingBag)) and part.padding_idx is not None:
            i = number.get(id(part._parameters["weight"]))
            if i is not None:
                start = sum(sizes[:i]) + part.padding_idx * part.embedding_dim
                stop = start + part.embedding_dim
                positions.append(torch.arange(start, stop, device="cpu"))  # even under meta
    return torch.cat(positions) if positions else None


def deepcopy_memo(module: nn.Module) -> dict[int, Any]:
    """A memo for `copy.deepcopy` with copies of the non-leaf tensors that modules keep.

    torch cannot copy these: the `weight` computed by weight_norm's hook, or an LSTM's list of its
    weights.
    """
    return {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in _tensors(_content(part))
        if not value.is_leaf
    }


def _content(part: nn.Module) -> dict[str, Any]:
    """A module's attributes as `copy.deepcopy` sees them."""
    if not isinstance(part, nn.RNNBase):
        return part.__dict__
    content: dict[str, Any] = part.__getstate__()  # type: ignore[no-untyped-call]
    return content  # with a new list of weights


def _tensors(content: dict[str, Any]) -> list[Tensor]:
    """Tensors among a module's plain attributes, and in lists of them."""
    tensors: list[Tensor] = []
    for value in content.values():
        if isinstance(value, Tensor):
            tensors.append(value)
        elif isinstance(value, (list, tuple)):
            tensors += [v for v in value if isinstance(v, Tensor)]
    return tensors
