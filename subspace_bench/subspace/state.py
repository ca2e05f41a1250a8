"""What a Subspace saves: ω, θ₀ or its fingerprint, and what makes P again; tensors only."""

from __future__ import annotations

import json
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from subspace_bench.common.errors import UserError
from subspace_bench.projectors import Projector


class Saved(Protocol):
    """A Subspace, as far as its state goes."""

    module: nn.Module
    _keep_origin: bool
    _cache: Any

    @property
    def projector(self) -> Projector:
        """P."""

    def _origins(self) -> list[Tensor]: ...

    def _fingerprint(self) -> str: ...


def encode(content: dict[str, Any]) -> Tensor:
    """Plain data as the bytes of its JSON text, uint8: every tool that saves tensors saves it."""
    return torch.frombuffer(bytearray(json.dumps(content).encode()), dtype=torch.uint8).clone()


def decode(saved: Tensor) -> dict[str, Any]:
    """What `encode` was given.

    Raises:
        UserError: where the tensor holds something else.
    """
    try:
        content: dict[str, Any] = json.loads(bytes(saved.cpu().tolist()))
        return dict(content)
    except (ValueError, TypeError, AttributeError) as failure:
        raise UserError(f"the state was not saved by a Subspace: {failure}") from failure


def leave_origin_out(
    net: Saved, saved: dict[str, Any], prefix: str, metadata: dict[str, Any]
) -> None:
    """state_dict of a Subspace that does not keep θ₀ holds its fingerprint alone."""
    if not net._keep_origin:
        for name in _origin_names(net):
            saved.pop(f"{prefix}module.{name}", None)


def check(net: Saved, saved: dict[str, Any], prefix: str, *rest: Any) -> None:
    """Before anything is loaded: is this the P (and θ₀, where it is not stored) of the state?"""
    net._cache = None
    if f"{prefix}_extra_state" in saved:
        theirs = decode(saved[f"{prefix}_extra_state"])
        ours = json.loads(json.dumps(net.projector.identity()))
        if not net._keep_origin:
            ours["origin"] = net._fingerprint()
        for key, value in ours.items():
            if key in theirs and theirs[key] != value:
                raise UserError(
                    f"the saved ω belongs to another {key}: saved {theirs[key]}, here {value}; "
                    "build the Subspace as it was when it was saved"
                )
    if not net._keep_origin:
        for name in _origin_names(net):
            saved.setdefault(f"{prefix}module.{name}", net.module.state_dict()[name])


def _origin_names(net: Saved) -> list[str]:
    """All names of θ₀'s parameters below the module, those of tied ones each."""
    origins = {id(p) for p in net._origins()}
    named = net.module.named_parameters(remove_duplicate=False)
    return [name for name, p in named if id(p) in origins]
