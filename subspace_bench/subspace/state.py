"""The state of a Subspace: ω, θ₀ or its fingerprint, and the identity of P; tensors only."""

from __future__ import annotations

import json
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from subspace_bench.common.errors import UserError
from subspace_bench.projectors import LinearMap


class StatefulSubspace(Protocol):
    """The part of a Subspace that this module uses."""

    module: nn.Module
    _keep_origin: bool
    _cache: Any

    @property
    def projector(self) -> LinearMap:
        """P."""

    def _origins(self) -> list[Tensor]: ...

    def _fingerprint(self) -> str: ...


def encode(content: dict[str, Any]) -> Tensor:
    """Plain data as the bytes of its JSON text, a uint8 tensor that any tool can save."""
    return torch.frombuffer(bytearray(json.dumps(content).encode()), dtype=torch.uint8).clone()


def decode(saved: Tensor) -> dict[str, Any]:
    """Inverts `encode`.

    Raises:
        UserError: if `encode` did not produce the tensor.
    """
    try:
        content: dict[str, Any] = json.loads(bytes(saved.cpu().tolist()))
        return dict(content)
    except (ValueError, TypeError, AttributeError) as failure:
        raise UserError(f"the state was not saved by a Subspace: {failure}") from failure


def prune_state(
    net: StatefulSubspace, saved: dict[str, Any], prefix: str, metadata: dict[str, Any]
) -> None:
    """Keeps tied tensors under their first name only, and drops θ₀ from a state without it.

    Formats such as safetensors refuse tensors that share memory.
    """
    dropped = [name for names in tied_names(net.module) for name in names[1:]]
    if not net._keep_origin:
        dropped += _origin_names(net)
    for name in dropped:
        saved.pop(f"{prefix}module.{name}", None)


def verify_state(net: StatefulSubspace, saved: dict[str, Any], prefix: str, *rest: Any) -> None:
    """Before loading, checks that P (and θ₀, if not stored) are those of the saved state.

    Raises:
        UserError: if they differ."""
    net._cache = None
    if f"{prefix}_extra_state" in saved:
        fingerprint = None if net._keep_origin else net._fingerprint()
        require_identity(saved[f"{prefix}_extra_state"], net.projector, fingerprint)
    if not net._keep_origin:
        origin = net.module.state_dict()
        for name in _origin_names(net):
            saved.setdefault(f"{prefix}module.{name}", origin[name])
    restore_tied(net.module, saved, f"{prefix}module.")


def require_identity(saved: Tensor, projector: LinearMap, origin: str | None = None) -> None:
    """Raises UserError if a saved identity is not that of P, or its origin is another.

    Arguments:
        origin: the fingerprint of θ₀; None if that does not matter.
    """
    theirs, ours = decode(saved), json.loads(json.dumps(projector.identity()))
    if origin is None:
        theirs.pop("origin", None)
    else:
        ours["origin"] = origin
    for key in {**ours, **theirs}:
        saved_value, value = theirs.get(key, "none"), ours.get(key, "none")
        if saved_value != value:
            raise UserError(
                f"the saved ω belongs to another {key}: {saved_value}, not {value}; "
                "build the Subspace with the arguments of the saved one"
            )


def restore_tied(module: nn.Module, saved: dict[str, Any], prefix: str) -> None:
    """Adds the other names of tied tensors that are saved under one of their names."""
    for names in tied_names(module):
        present = [key for key in (f"{prefix}{name}" for name in names) if key in saved]
        for name in names if present else ():
            saved.setdefault(f"{prefix}{name}", saved[present[0]])


def _origin_names(net: StatefulSubspace) -> list[str]:
    """The first name of each of θ₀'s parameters within the module."""
    origins = {id(p) for p in net._origins()}
    return [name for name, p in net.module.named_parameters() if id(p) in origins]


def tied_names(module: nn.Module) -> list[list[str]]:
    """The names of each parameter or buffer that has several."""
    names: dict[int, list[str]] = {}
    for name, tensor in [
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ]:
        names.setdefault(id(tensor), []).append(name)
    return [each for each in names.values() if len(each) > 1]
