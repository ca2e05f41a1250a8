"""Subspace: θ = θ₀ + Pω around any `torch.nn.Module`, with ω as its only parameter.

Li et al. 2018 (arXiv 1804.08838), equation 2.
"""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from subspace_bench import projectors
from subspace_bench.common.errors import UserError
from subspace_bench.projectors import Projector


class FlatParameters:
    """A module's trainable parameters as one vector θ (D,), and their gradient as one vector (D,).

    The parameters become views into `theta`: whoever writes θ writes the module, with no copy and
    no cutting into pieces at every step. Tied weights are counted once, frozen ones left out.

    Raises:
        UserError: where the module has no trainable parameters, or they differ in dtype or device.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.parameters = trainable(module)
        self.theta = flatten(self.parameters)
        self.gradient = torch.zeros_like(self.theta)
        start = 0
        for p in self.parameters:
            stop = start + p.numel()
            p.data = self.theta[start:stop].view_as(p)
            p.grad = self.gradient[start:stop].view_as(p)
            start = stop


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that are trained, tied ones once, in the module's own order."""
    found = [p for p in module.parameters() if p.requires_grad]
    if not found:
        raise UserError(
            f"{type(module).__name__} has no trainable parameters: nothing spans a subspace"
        )
    kinds = {(p.dtype, p.device) for p in found}
    if len(kinds) > 1:
        raise UserError(
            f"{type(module).__name__} mixes dtypes or devices: "
            "bring its trainable parameters to one of each first"
        )
    return found


def flatten(tensors: list[nn.Parameter]) -> Tensor:
    """One vector (D,) of the tensors' elements in order; a copy."""
    return torch.cat([t.detach().reshape(-1) for t in tensors])


def fingerprint(theta: Tensor) -> str:
    """SHA-256 of a tensor's bytes."""
    return hashlib.sha256(
        theta.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
    ).hexdigest()


class Subspace(nn.Module):
    """Trains a module in a random d-dimensional subspace of its D trainable parameters.

    The module given is taken over: its parameters become the origin θ₀ and are frozen, ω (d,)
    starts at zero and is all that an optimizer over `parameters()` moves. Tied weights stay tied;
    frozen parameters and buffers, such as BatchNorm's statistics, work as in the module itself.

    Arguments:
        module: any module; its parameters of `requires_grad` span R^D.
        dim: d, 1 ≤ d ≤ D.
        projector: a name in `subspace_bench.projectors.names()`, or a `Projector` of (D, d).
        seed: of the projector, when it is made here.
        keep_origin: whether `state_dict` holds θ₀. Without it, for an origin that you can make
            again from a seed, it holds θ₀'s fingerprint, and loading onto another origin fails.

    Raises:
        UserError: for a module without trainable parameters, d outside 1 … D, an unknown name.
    """

    def __init__(
        self,
        module: nn.Module,
        dim: int,
        projector: str | Projector = "gaussian",
        seed: int = 0,
        keep_origin: bool = True,
    ) -> None:
        super().__init__()
        found = trainable(module)
        native = sum(p.numel() for p in found)
        if isinstance(projector, str):
            layers = [p.numel() for p in found]
            projector = projectors.make(projector, native, dim, seed, layers=layers)
        elif (projector.native, projector.dim) != (native, dim):
            raise UserError(
                f"the projector given maps R^{projector.dim} to R^{projector.native}, "
                f"but the module and dim ask for R^{dim} to R^{native}"
            )
        first: dict[int, str] = {}
        named = list(module.named_parameters(remove_duplicate=False))
        for name, p in named:
            first.setdefault(id(p), name)
        # Tied parameters have several names: all are replaced by the piece of the first.
        trained = {id(p) for p in found}
        self._names = {name: first[id(p)] for name, p in named if id(p) in trained}
        self._keep_origin = keep_origin
        self.omega = nn.Parameter(found[0].new_zeros(dim))
        self.module = module
        self.projector = projector.to(found[0].device)
        for p in found:
            p.requires_grad_(False)
        self.register_state_dict_post_hook(_leave_origin_out)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(  # type: ignore[no-untyped-call]
            _check_and_complete
        )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module returns at θ = θ₀ + Pω."""
        pieces = self._pieces()
        tensors = {name: pieces[own] for name, own in self._names.items()}
        return functional_call(self.module, tensors, args, kwargs)

    def theta(self) -> Tensor:
        """θ = θ₀ + Pω, (D,), differentiable in ω."""
        return torch.cat([piece.reshape(-1) for piece in self._pieces().values()])

    def merge(self) -> nn.Module:
        """A plain copy of the module with its parameters at θ, trainable again."""
        merged = copy.deepcopy(self.module)
        pieces = self._pieces()
        for name in pieces:
            parameter = merged.get_parameter(name)
            parameter.data = pieces[name].detach().clone()
            parameter.requires_grad_(True)
        return merged

    def get_extra_state(self) -> dict[str, Any]:
        """What makes P again, and θ₀'s fingerprint."""
        return {**self.projector.identity(), "origin": fingerprint(self._flat_origin())}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Nothing: it was checked before anything was loaded."""

    def _origins(self) -> dict[str, Tensor]:
        """θ₀ by its parameters' first names, looked up each time: loading may replace them."""
        return {
            name: self.module.get_parameter(name) for name in dict.fromkeys(self._names.values())
        }

    def _flat_origin(self) -> Tensor:
        return torch.cat([p.detach().reshape(-1) for p in self._origins().values()])

    def _pieces(self) -> dict[str, Tensor]:
        """θ in the shapes of the module's parameters, by their first names."""
        origins = self._origins()
        parts = torch.split(self.projector(self.omega), [p.numel() for p in origins.values()])
        return {
            name: p + part.view_as(p)
            for (name, p), part in zip(origins.items(), parts, strict=True)
        }


def _leave_origin_out(
    subspace: Subspace, state: dict[str, Any], prefix: str, metadata: dict[str, Any]
) -> None:
    """state_dict of a Subspace that does not keep θ₀ holds its fingerprint alone."""
    if not subspace._keep_origin:
        for name in subspace._names:
            del state[f"{prefix}module.{name}"]


def _check_and_complete(subspace: Subspace, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    """Before anything is loaded: is this the P (and θ₀, where it is not stored) of the state?"""
    saved = state.get(f"{prefix}_extra_state", {})
    own = subspace.get_extra_state()
    if subspace._keep_origin:
        own.pop("origin")
    for key, value in own.items():
        if key in saved and saved[key] != value:
            raise UserError(
                f"the saved ω belongs to another {key}: saved {saved[key]}, here {value}; "
                "build the Subspace as it was when it was saved"
            )
    if not subspace._keep_origin:
        for name in subspace._names:
            state[f"{prefix}module.{name}"] = subspace.module.get_parameter(name)
