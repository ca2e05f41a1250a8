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
    """A module's trainable parameters as one vector θ (D,), and their gradient as another.

    The parameters become views of `theta`, and their gradients views of `gradient`: an optimizer
    writes θ once per step, with no copies and no loop over parameters. Tied weights count once;
    frozen parameters are left out.

    Attributes:
        module: the module given.
        parameters: its trainable parameters, in order.
        theta: θ, (D,).
        gradient: (D,); training code sets it to zero before each backward pass.

    Raises:
        UserError: if the module has no trainable parameters, or they differ in dtype or device.
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
    """The trainable parameters of a module in its order, tied ones once.

    Raises:
        UserError: if there are none, or they differ in dtype or device.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    if not parameters:
        raise UserError(
            f"{type(module).__name__} has no trainable parameters: set requires_grad on some"
        )
    if len({(p.dtype, p.device) for p in parameters}) > 1:
        raise UserError(
            f"{type(module).__name__} mixes dtypes or devices: "
            "convert its trainable parameters to one dtype on one device first"
        )
    return parameters


def flatten(tensors: list[nn.Parameter]) -> Tensor:
    """The elements of all tensors in one new vector (D,), in order."""
    return torch.cat([t.detach().reshape(-1) for t in tensors])


def fingerprint(theta: Tensor) -> str:
    """SHA-256 of a tensor's bytes, in hexadecimal."""
    return hashlib.sha256(
        theta.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
    ).hexdigest()


class Subspace(nn.Module):
    """A module whose D trainable parameters are θ = θ₀ + Pω, trained through ω (d,) alone.

    The module passed in is changed: its trainable parameters become the origin θ₀ and are frozen.
    ω starts at zero and is the only parameter with a gradient. Tied weights stay tied; frozen
    parameters and buffers (such as BatchNorm's statistics) behave as in the module itself.

    Arguments:
        module: any module; its parameters with `requires_grad` make up θ.
        dim: d, 1 ≤ d ≤ D.
        projector: a name in `subspace_bench.projectors.names()`, or a `Projector` of (D, d).
        seed: of the projector, if it is given by name.
        keep_origin: whether `state_dict()` contains θ₀. If not, it contains θ₀'s fingerprint, and
            loading it into a Subspace with another origin fails. For origins that are rebuilt from
            a seed.

    Attributes:
        omega: ω, (d,).
        module: the module, with θ₀ in place of its parameters.
        projector: P.

    Raises:
        UserError: if the module has no trainable parameters or mixes dtypes or devices, d is out of
            range, the name is unknown, or the projector has another D or d.
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
        parameters = trainable(module)
        native = sum(p.numel() for p in parameters)
        if isinstance(projector, str):
            layers = [p.numel() for p in parameters]
            projector = projectors.make(projector, native, dim, seed, layers=layers)
        elif (projector.native, projector.dim) != (native, dim):
            raise UserError(
                f"the projector maps R^{projector.dim} to R^{projector.native}, but the module "
                f"and dim need R^{dim} to R^{native}: give one of this size, or a name"
            )
        first_name: dict[int, str] = {}
        named = list(module.named_parameters(remove_duplicate=False))
        for name, p in named:
            first_name.setdefault(id(p), name)
        # A tied parameter has several names; all map to the first, under which θ has its piece.
        trained = {id(p) for p in parameters}
        self._names = {name: first_name[id(p)] for name, p in named if id(p) in trained}
        self._keep_origin = keep_origin
        self.omega = nn.Parameter(parameters[0].new_zeros(dim))
        self.module = module
        self.projector = projector.to(parameters[0].device)
        for p in parameters:
            p.requires_grad_(False)
        self.register_state_dict_post_hook(_leave_origin_out)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(  # type: ignore[no-untyped-call]
            _check_and_complete
        )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's output at θ = θ₀ + Pω."""
        pieces = self._pieces()
        tensors = {name: pieces[first] for name, first in self._names.items()}
        return functional_call(self.module, tensors, args, kwargs)

    def theta(self) -> Tensor:
        """θ = θ₀ + Pω, (D,), differentiable in ω."""
        return torch.cat([piece.reshape(-1) for piece in self._pieces().values()])

    def merge(self) -> nn.Module:
        """A copy of the plain module with its parameters at θ, trainable again."""
        merged = copy.deepcopy(self.module)
        pieces = self._pieces()
        for name in pieces:
            parameter = merged.get_parameter(name)
            parameter.data = pieces[name].detach().clone()
            parameter.requires_grad_(True)
        return merged

    def get_extra_state(self) -> dict[str, Any]:
        """P's identity and θ₀'s fingerprint, which `load_state_dict` compares."""
        return {**self.projector.identity(), "origin": fingerprint(self._flat_origin())}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Does nothing: `_check_and_complete` has compared the state before anything is loaded."""

    def _origins(self) -> dict[str, Tensor]:
        """θ₀ by the first names of its parameters."""
        # Looked up at each use: `load_state_dict(assign=True)` replaces the parameters.
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
    """Hook of `state_dict`: removes θ₀, unless it is kept."""
    if not subspace._keep_origin:
        for name in subspace._names:
            del state[f"{prefix}module.{name}"]


def _check_and_complete(subspace: Subspace, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    """Hook of `load_state_dict`: fails if the state has another P or another θ₀ that is not stored,
    and fills in θ₀ where it is missing.
    """
    saved = state.get(f"{prefix}_extra_state", {})
    expected = subspace.get_extra_state()
    if subspace._keep_origin:
        expected.pop("origin")
    for key, value in expected.items():
        if key in saved and saved[key] != value:
            raise UserError(
                f"the saved ω belongs to another {key}: saved {saved[key]}, here {value}; "
                "build the Subspace as it was when it was saved"
            )
    if not subspace._keep_origin:
        for name in subspace._names:
            state[f"{prefix}module.{name}"] = subspace.module.get_parameter(name)
