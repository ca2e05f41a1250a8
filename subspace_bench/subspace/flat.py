"""A module's trainable parameters as one vector θ, for training loops that write θ themselves."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from subspace_bench.common.errors import UserError


class FlatParameters:
    """A module's trainable parameters as one vector θ (D,), and their gradient as one vector (D,).

    The parameters become views into `theta`: whoever writes θ writes the module, without a copy.
    Tied parameters count once, frozen ones are left out.

    Raises:
        UserError: where the module has no trainable parameters, or they differ in dtype or device.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.parameters = trainable_parameters(module)
        self.theta = flatten(self.parameters)
        self.gradient = torch.zeros_like(self.theta)
        start = 0
        for p in self.parameters:
            stop = start + p.numel()
            p.data = self.theta[start:stop].view_as(p)
            p.grad = self.gradient[start:stop].view_as(p)
            start = stop


def trainable_parameters(module: nn.Module) -> list[nn.Parameter]:
    """The parameters with `requires_grad`, tied ones once, in the module's own order.

    Raises:
        UserError: where there are none, or they differ in dtype or device.
    """
    found = [p for p in module.parameters() if p.requires_grad]
    if not found:
        raise UserError(
            f"{type(module).__name__} has no trainable parameters: nothing spans a subspace"
        )
    if len({(p.dtype, p.device) for p in found}) > 1:
        raise UserError(
            f"the trainable parameters of {type(module).__name__} differ in dtype or device: "
            "bring the parameters to one of each first"
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
