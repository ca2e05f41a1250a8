"""Subspace: θ = θ₀ + Pω around any `torch.nn.Module`, with ω as its only trainable parameter.

Li et al. 2018 (arXiv 1804.08838), equation 2.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from subspace_bench.common.errors import UserError
from subspace_bench.projectors import LinearMap
from subspace_bench.projectors.base import require_sizes
from subspace_bench.subspace import slots, state, support
from subspace_bench.subspace.flat import as_one_vector, fingerprint, flatten, trainable_parameters
from subspace_bench.subspace.pieces import CachedPieces
from subspace_bench.subspace.projection import (
    Pieces,
    ThetaMemory,
    ZeroPositions,
    make_handle,
    outside_graphs,
    transformed,
)
from subspace_bench.subspace.scaling import row_factors
from subspace_bench.subspace.slots import SLOTS_KEY, OriginParameter

_TRANSIENT = ("_cache", "_memory", "_lock", "forward")  # attributes that copies and pickles lack


class Subspace(nn.Module):
    """Trains a module in a random d-dimensional subspace of its D trainable parameters.

    The Subspace takes over the module: its trainable parameters become the fixed origin θ₀, and ω
    (d,), which starts at zero, is the only parameter with `requires_grad`. Attributes such as
    `net.module.fc.weight` return pieces of θ, so every method of the module runs at θ and
    propagates gradients to ω. Tied weights, frozen parameters and buffers work as usual.

    With the default scaling, one learning rate fits most D and d: for Adam, 0.2 at the peak of
    `OneCycleLR`, or 0.05 throughout (results/learning-rates.md).

    θ is recomputed when ω changes and reused otherwise, as in evaluation or gradient accumulation.
    On a GPU, comparing ω would wait for the device. There, a write through `omega.data` takes
    effect at the next call of the Subspace, but not in a direct call of a method of the module.

    Arguments:
        module: any module; its parameters with `requires_grad` span R^D.
        dim: d, 1 ≤ d ≤ D.
        projector: a name in `subspace_bench.projectors.names()`, or a `Projector` of (D, d). The
            default is the one to take at most sizes for speed and memory
            (results/projectors-cpu.md), and none is significantly more accurate
            (results/projector-accuracy.md).
        seed: seed of the projector, if it is given by name.
        keep_origin: whether `state_dict` includes θ₀. If False, for an origin that a seed can
            recreate, it has only θ₀'s fingerprint, and loading onto another origin fails.
        scaling: "fan-in" multiplies the rows of P that belong to a parameter by √(D/d)/√fan-in, so
            that Adam moves each layer by about rate/√fan-in per step, whatever D and d
            (`models.fan_ins` says what the fan-in of any parameter is). "none" leaves P as it is.

    Raises:
        UserError: for a module without trainable parameters or already in a Subspace, for lazy,
            scripted or mixed-dtype modules, for sparse embeddings, for d outside 1 … D, and for an
            unknown projector or scaling.
    """

    _cache: CachedPieces | None
    _memory: ThetaMemory
    _in_forward: bool  # then the values of ω were compared already

    def __init__(
        self,
        module: nn.Module,
        dim: int,
        projector: str | LinearMap = "hashed",
        seed: int = 0,
        keep_origin: bool = True,
        scaling: str = "fan-in",
    ) -> None:
        super().__init__()
        support.require_supported(module)
        parameters = trainable_parameters(module)
        sizes = [p.numel() for p in parameters]
        _, dim, seed = require_sizes(sum(sizes), dim, seed)
        factors = row_factors(scaling, module, parameters, dim)
        self._handle = make_handle(projector, dim, seed, sizes, factors)
        device = parameters[0].device
        if device.type != "meta":
            self._handle.on(device)
        self._keep_origin = keep_origin
        self.omega = nn.Parameter(parameters[0].new_zeros(dim))
        self.module = module
        self._install_slots(parameters)
        self.register_state_dict_post_hook(state.prune_state)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(state.verify_state)  # type: ignore[no-untyped-call]
        self._reset()

    @property
    def projector(self) -> LinearMap:
        """P, on the device of ω."""
        return self._handle.on(self.omega.device)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's output at θ = θ₀ + Pω."""
        support.require_not_traced()
        running, self._in_forward = self._in_forward, True
        transformed = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
        # Without a transform no name may hold the old pieces: θ is written into their memory.
        cached = self._cache if transformed else None
        try:
            if transformed:
                self._cache = self._compute_pieces()
            else:
                self.pieces()
            return self.module(*args, **kwargs)
        finally:
            self._in_forward = running
            if transformed:  # pieces of a transformed ω must not outlive the transform
                self._cache = cached

    def theta(self) -> Tensor:
        """θ = θ₀ + Pω, (D,), differentiable in ω."""
        return torch.cat([piece.reshape(-1) for piece in self.pieces()])

    def pieces(self) -> tuple[Tensor, ...]:
        """θ as tensors shaped like the module's trainable parameters, in order."""
        cache = self._cache
        if cache is not None and not torch.compiler.is_compiling():  # it has no version counters
            self._require_unwritten(cache, range(len(cache.pieces)))
        if (
            cache is None
            or not cache.matches(self.omega)
            or (cache.values is None and torch.is_grad_enabled())
            or not cache.matches_origins(self._origins())
        ):
            cache = None  # not to keep its memory
            return self._recompute().pieces
        return cache.pieces

    _pieces_outside_graph = outside_graphs(pieces)  # compiled code cannot check ω

    def piece(self, number: int, origin: Tensor) -> Tensor:
        """The piece of θ of one parameter of θ₀. Unlike `pieces`, detects no write to θ₀."""
        cache = self._cache
        if torch.compiler.is_compiling():
            if cache is not None and self._in_forward:
                return cache.pieces[number]
            return self._pieces_outside_graph()[number]
        if cache is not None:
            self._require_unwritten(cache, [number])
        if (
            cache is None
            or cache.origins[number] is not origin
            or not cache.matches(self.omega, compare=not self._in_forward)
        ):
            if type(origin) is not OriginParameter:
                raise UserError(
                    "the parameters of net.module were replaced: use functional_call(net, "
                    "{'omega': …}, …); with FSDP, wrap fully_shard(module) in a ShardedSubspace"
                )
            cache = None  # not to keep its memory
            cache = self._recompute()
        return cache.pieces[number]

    def replace_origin(self, number: int, parameter: nn.Parameter) -> None:
        """Sets a parameter of θ₀ wherever the module has it; UserError for another shape."""
        support.require_shape(parameter, self._shapes[number])
        slots.make_origin(parameter)
        self._cache = None
        for part, name, i in self._places:
            if i == number:
                part._parameters[name] = parameter

    @torch.no_grad()
    def merge(self) -> nn.Module:
        """A plain copy of the module with trainable parameters at θ."""
        memo = support.deepcopy_memo(self.module)
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
        memo |= support.deepcopy_memo(self.module)
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
        for part, name, i in self._places:  # new parameters, where the device changed
            parameter = part._parameters[name]
            assert parameter is not None
            self.replace_origin(i, parameter)
        return result

    def extra_repr(self) -> str:
        return f"D={sum(self._sizes)}, d={self.omega.numel()}"

    def _replicate_for_data_parallel(self) -> Any:
        raise UserError("DataParallel cannot copy a Subspace: use DistributedDataParallel")

    def _reset(self) -> None:
        """Sets the attributes that copies and pickles leave out."""
        self._cache = None
        self._in_forward = False
        self._memory = ThetaMemory()
        self._lock = threading.RLock()
        self.forward = support.forward_with_signature(self)  # type: ignore[method-assign]

    def _install_slots(self, parameters: list[nn.Parameter]) -> None:
        """Installs a slot for each (module, attribute) with a trainable parameter, tied or not."""
        number = {id(p): i for i, p in enumerate(parameters)}
        self._shapes = [p.shape for p in parameters]
        self._sizes = [p.numel() for p in parameters]
        self._fixed = support.fixed_positions(self.module, number, self._sizes)
        self._places = [
            (part, name, number[id(p)])
            for part in self.module.modules()
            for name, p in part._parameters.items()
            if p is not None and id(p) in number
        ]
        for part, name, i in self._places:
            slots.install(part, name, self, i)
        self._flat: Tensor | None = None

    def _origins(self) -> list[Tensor]:
        """θ₀'s registered parameters, looked up each time because loading may replace them."""
        origins = {i: part._parameters[name] for part, name, i in self._places}
        return [origins[i] for i in range(len(self._sizes))]  # type: ignore[misc]

    def _origin(self) -> Tensor:
        """θ₀ (D,), detached: one tensor, with the parameters as its views where possible."""
        origins = self._origins()
        if not all(type(p) is OriginParameter for p in origins):  # in functional_call
            return flatten(origins)
        flat = as_one_vector(origins, self._shapes, self._flat)
        if not torch._C._are_functorch_transforms_active():  # which it must not outlive
            self._flat = flat
        return flat

    def _recompute(self) -> CachedPieces:
        """Pieces of the present θ, in the memory of the last ones if these are not in use."""
        with self._lock:
            self._cache = None
            cache = self._compute_pieces()
            self._cache = cache
        return cache

    @outside_graphs  # kernels are not torch operations
    def _compute_pieces(self) -> CachedPieces:
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
        return CachedPieces.of(pieces, omega, self._origins())

    def _require_unwritten(self, cache: CachedPieces, numbers: Iterable[int]) -> None:
        """Raises UserError if a piece of θ was written in place, which changes neither θ₀ nor ω."""
        if cache.was_written(numbers):
            self._cache = None
            raise UserError(support.WRITTEN)

    def _fingerprint(self) -> str:
        origin = self._origin()
        return "" if origin.device.type == "meta" else fingerprint(origin)
