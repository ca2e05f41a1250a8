"""Subspace: θ = θ₀ + Pω around any `torch.nn.Module`, with ω as its only trainable parameter.

Li et al. 2018 (arXiv 1804.08838), equation 2.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import threading
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from subspace_bench.projectors import Projector
from subspace_bench.subspace import slots, state
from subspace_bench.subspace.flat import fingerprint, flatten, trainable_parameters
from subspace_bench.subspace.projection import (
    Pieces,
    ThetaMemory,
    ZeroPositions,
    make_handle,
    transformed,
)
from subspace_bench.subspace.slots import SLOTS_KEY, OriginParameter
from subspace_bench.subspace.support import deepcopy_memo, fixed_positions, require_supported

_TRANSIENT = ("_cache", "_memory", "_lock", "forward")  # attributes that copies and pickles lack


@dataclass
class _CachedPieces:
    """θ cut into the shapes of the module's parameters, and the inputs that it depends on."""

    pieces: tuple[Tensor, ...]
    omega: Tensor
    version: int
    address: int
    values: Tensor | None  # a copy of ω on the CPU, where comparing is cheap
    origin_versions: int
    differentiable: bool
    inference: bool


class Subspace(nn.Module):
    """Trains a module in a random d-dimensional subspace of its D trainable parameters.

    The Subspace takes over the module: its trainable parameters become the fixed origin θ₀, and ω
    (d,), which starts at zero, is the only parameter with `requires_grad`. Attributes such as
    `net.module.fc.weight` return pieces of θ, so every method of the module runs at θ and
    propagates gradients to ω. Tied weights, frozen parameters and buffers work as usual.

    θ is recomputed when ω changes and reused otherwise, as in evaluation or gradient accumulation.
    On a GPU, comparing ω would wait for the device. There, a write through `omega.data` takes
    effect at the next call of the Subspace, but not in a direct call of a method of the module.

    Arguments:
        module: any module; its parameters with `requires_grad` span R^D.
        dim: d, 1 ≤ d ≤ D.
        projector: a name in `subspace_bench.projectors.names()`, or a `Projector` of (D, d).
        seed: seed of the projector, if it is given by name.
        keep_origin: whether `state_dict` includes θ₀. If False, for an origin that a seed can
            recreate, it has only θ₀'s fingerprint, and loading onto another origin fails.

    Raises:
        UserError: for a module without trainable parameters or already in a Subspace, for lazy,
            scripted or mixed-dtype modules, for sparse embeddings, for d outside 1 … D, and for an
            unknown projector.
    """

    _cache: _CachedPieces | None
    _memory: ThetaMemory

    def __init__(
        self,
        module: nn.Module,
        dim: int,
        projector: str | Projector = "gaussian",
        seed: int = 0,
        keep_origin: bool = True,
    ) -> None:
        super().__init__()
        require_supported(module)
        parameters = trainable_parameters(module)
        native = sum(p.numel() for p in parameters)
        self._handle = make_handle(projector, native, dim, seed, [p.numel() for p in parameters])
        device = parameters[0].device
        if device.type != "meta":
            self._handle.on(device)
        self._keep_origin = keep_origin
        self.omega = nn.Parameter(parameters[0].new_zeros(dim))
        self.module = module
        self._install_slots(parameters)
        self.register_state_dict_post_hook(state.drop_origin)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(state.verify_state)  # type: ignore[no-untyped-call]
        self._reset()

    @property
    def projector(self) -> Projector:
        """P, on the device of ω."""
        return self._handle.on(self.omega.device)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's output at θ = θ₀ + Pω."""
        if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
            before = self._cache
            self._cache = self._compute_pieces()
            try:  # pieces of a transformed ω must not outlive the transform
                return self.module(*args, **kwargs)
            finally:
                self._cache = before
        self._refresh()
        return self.module(*args, **kwargs)

    def theta(self) -> Tensor:
        """θ = θ₀ + Pω, (D,), differentiable in ω."""
        return torch.cat([piece.reshape(-1) for piece in self.pieces()])

    def pieces(self) -> tuple[Tensor, ...]:
        """θ as tensors shaped like the module's trainable parameters, in order."""
        cache = self._cache
        if torch.compiler.is_compiling() and cache is not None:
            return cache.pieces
        if cache is None or not self._is_current(cache):
            cache = None  # not to keep its memory
            cache = self._recompute()
        return cache.pieces

    @torch.no_grad()
    def merge(self) -> nn.Module:
        """A plain copy of the module with trainable parameters at θ."""
        memo = deepcopy_memo(self.module)
        for origin, piece in zip(self._origins(), self.pieces(), strict=True):
            memo[id(origin)] = nn.Parameter(piece.detach().clone())
        for part in self.module.modules():
            if SLOTS_KEY in part.__dict__:
                memo[id(part.__dict__[SLOTS_KEY])] = False  # do not copy the slots
        merged = copy.deepcopy(self.module, memo)
        for part in merged.modules():
            slots.remove(part)
        return merged

    def get_extra_state(self) -> Tensor:
        """The identity of P and θ₀'s fingerprint, as the bytes of a JSON text (uint8)."""
        return state.encode({**self.projector.identity(), "origin": self._fingerprint()})

    def set_extra_state(self, saved: Tensor) -> None:
        """Does nothing: `verify_state` checks it before loading."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Subspace:
        memo |= deepcopy_memo(self.module)
        copied = self.__new__(type(self))
        memo[id(self)] = copied
        copied.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return copied

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in _TRANSIENT}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        super().__setstate__(saved)  # type: ignore[no-untyped-call]
        self._reset()

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._cache = None
        result = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._cache = None
        return result

    def _reset(self) -> None:
        """Sets the attributes that copies and pickles leave out."""
        self._cache = None
        self._memory = ThetaMemory()
        self._lock = threading.RLock()
        self.forward = _Forward(self)  # type: ignore[method-assign]

    def _install_slots(self, parameters: list[nn.Parameter]) -> None:
        """Installs a slot for each (module, attribute) with a trainable parameter, tied or not."""
        number = {id(p): i for i, p in enumerate(parameters)}
        self._slots: list[tuple[nn.Module, str]] = [(self.module, "")] * len(parameters)
        self._shapes = [p.shape for p in parameters]
        self._sizes = [p.numel() for p in parameters]
        self._fixed = fixed_positions(self.module, number, self._sizes)
        places = [
            (part, name, number[id(p)])
            for part in self.module.modules()
            for name, p in part._parameters.items()
            if p is not None and id(p) in number
        ]
        for part, name, i in places:
            slots.install(part, name, self, i)
            self._slots[i] = (part, name)
        self._flat: Tensor | None = None

    def _origins(self) -> list[Tensor]:
        """θ₀'s registered parameters, looked up each time because loading may replace them."""
        return [part._parameters[name] for part, name in self._slots]  # type: ignore[misc]

    def _origin(self) -> Tensor:
        """θ₀ (D,), detached: one tensor, with the parameters as its views where possible."""
        origins = self._origins()
        if not all(type(p) is OriginParameter for p in origins):
            for p in origins:  # assigned by `load_state_dict(assign=True)`
                if type(p) is nn.Parameter:
                    slots.make_origin(p)
            return torch.cat([p.detach().reshape(-1) for p in origins])
        flat, start = self._flat, 0
        if flat is not None:
            for p in origins:
                if p.device != flat.device or p.dtype != flat.dtype or (
                    p.data_ptr() != flat.data_ptr() + start * flat.itemsize
                ):  # fmt: skip
                    flat = None
                    break
                start += p.numel()
        if flat is None:
            flat, start = flatten(origins), 0  # type: ignore[arg-type]
            if flat.device.type != "meta":
                for p in origins:
                    p.data = flat[start : start + p.numel()].view_as(p)
                    start += p.numel()
            self._flat = flat
        return flat

    def _recompute(self) -> _CachedPieces:
        """Pieces of the present θ, in the memory of the last ones if these are not in use."""
        with self._lock:
            self._cache = None
            cache: _CachedPieces = self._compute_pieces()
            self._cache = cache
        return cache

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # kernels are not torch operations
    def _compute_pieces(self) -> _CachedPieces:
        omega, origin, fixed = self.omega, self._origin(), self._fixed
        if fixed is not None:
            fixed = fixed.to(omega.device)
        if transformed():
            delta = self.projector(omega)
            if fixed is not None:
                delta = ZeroPositions.apply(delta, fixed)
            parts = torch.split(delta + origin, self._sizes)
            pieces = tuple(part.view(s) for part, s in zip(parts, self._shapes, strict=True))
        else:
            theta = self._memory.take(origin)
            pieces = Pieces.apply(omega, self.projector, origin, theta, self._shapes, fixed)
        traced = torch._C._are_functorch_transforms_active()
        keep = omega.device.type == "cpu" and not traced
        return _CachedPieces(
            pieces,
            omega,
            0 if traced or omega.is_inference() else omega._version,
            0 if traced else omega.data_ptr(),
            omega.detach().clone() if keep else None,
            self._origin_versions(),
            pieces[0].requires_grad,
            torch.is_inference_mode_enabled(),
        )

    def _is_current(self, cache: _CachedPieces) -> bool:
        """Whether the pieces are valid: computed from this ω, with a graph if one is needed."""
        omega = self.omega
        if torch._C._are_functorch_transforms_active():
            return cache.omega is omega
        needs_graph = torch.is_grad_enabled() and omega.requires_grad
        return (
            cache.omega is omega
            and (omega.is_inference() or cache.version == omega._version)
            and cache.address == omega.data_ptr()
            and (cache.differentiable or not needs_graph)
            and (torch.is_inference_mode_enabled() or not cache.inference)
            and (cache.values is None or torch.equal(cache.values, omega.detach()))
        )

    def _refresh(self) -> None:
        """Updates the pieces for a call of the Subspace; recomputes them if they may be stale."""
        cache = self._cache
        may_be_stale = cache is not None and cache.values is None and torch.is_grad_enabled()
        if cache is None or may_be_stale or cache.origin_versions != self._origin_versions():
            cache = None  # not to keep its memory
            self._recompute()
        else:
            cache = None
            self.pieces()

    def _origin_versions(self) -> int:
        """A number that changes when θ₀ is written in place, as by `load_state_dict`."""
        return sum(p._version for p in self._origins() if not p.is_inference())

    def _fingerprint(self) -> str:
        origin = self._origin()
        return "" if origin.device.type == "meta" else fingerprint(origin)


class _Forward:
    """`net.forward` with the signature of the module's forward, which some tools inspect."""

    def __init__(self, net: Subspace) -> None:
        self.net = net
        with contextlib.suppress(TypeError, ValueError):
            self.__signature__ = inspect.signature(net.module.forward)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return Subspace.forward(self.net, *args, **kwargs)
