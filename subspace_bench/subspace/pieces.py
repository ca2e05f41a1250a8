"""Pieces of θ, kept until θ must be computed again, and the checks that tell when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

# What changes when a tensor is written or replaced: its address, version and `revision` (slots.py).
Version = tuple[int, int, int]


@dataclass
class CachedPieces:
    """θ cut into the shapes of the module's parameters, and the inputs that it depends on."""

    pieces: tuple[Tensor, ...]
    piece_versions: list[int] | None
    omega: Tensor
    version: int
    address: int
    values: Tensor | None  # a copy of ω on the CPU, where comparing is cheap
    origins: list[Tensor]
    origin_versions: list[Version]
    differentiable: bool
    inference: bool

    @classmethod
    def of(cls, pieces: tuple[Tensor, ...], omega: Tensor, origins: list[Tensor]) -> CachedPieces:
        """Pieces that were just computed from ω and from θ₀'s parameters."""
        traced = torch._C._are_functorch_transforms_active()
        keep = omega.device.type == "cpu" and not traced
        unversioned = traced or pieces[0].is_inference()
        return cls(
            pieces,
            None if unversioned else [piece._version for piece in pieces],
            omega,
            0 if traced or omega.is_inference() else omega._version,
            0 if traced else omega.data_ptr(),
            omega.detach().clone() if keep else None,
            origins,
            versions(origins),
            pieces[0].requires_grad,
            torch.is_inference_mode_enabled(),
        )

    def matches(self, omega: Tensor, compare: bool = True) -> bool:
        """Whether the pieces were computed from this ω, with a graph if one is needed.

        Arguments:
            compare: whether to compare the values of ω too; writes through `data` change only them.
        """
        if torch._C._are_functorch_transforms_active():
            return self.omega is omega
        needs_graph = torch.is_grad_enabled() and omega.requires_grad
        return (
            self.omega is omega
            and (omega.is_inference() or self.version == omega._version)
            and self.address == omega.data_ptr()
            and (self.differentiable or not needs_graph)
            and (torch.is_inference_mode_enabled() or not self.inference)
            and (not compare or self.values is None or torch.equal(self.values, omega.detach()))
        )

    def matches_origins(self, origins: list[Tensor]) -> bool:
        """Whether the pieces were computed from these parameters of θ₀."""
        return self.origin_versions == versions(origins)

    def was_written(self, numbers: Iterable[int]) -> bool:
        """Whether one of the pieces was written in place, which changes neither θ₀ nor ω."""
        before = self.piece_versions
        if before is None or torch._C._are_functorch_transforms_active():
            return False
        return any(self.pieces[i]._version != before[i] for i in numbers)


def versions(origins: list[Tensor]) -> list[Version]:
    """The versions of θ₀'s parameters; none in a transform of `torch.func`."""
    if torch._C._are_functorch_transforms_active():
        return []
    return [
        (p.data_ptr(), 0 if p.is_inference() else p._version, getattr(p, "revision", 0))
        for p in origins
    ]
