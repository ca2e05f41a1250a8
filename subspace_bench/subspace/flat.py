"""A module's trainable parameters as one vector θ, for training loops that write θ directly."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from subspace_bench.common.errors import UserError


class FlatParameters:
    """A module's trainable parameters as one vector θ (D,), and their gradient as another.

    The parameters become views of `theta` and their gradients views of `gradient`, so an optimizer
    writes θ once per step, without copies or a loop over parameters. Tied weights count once;
    frozen parameters are left out.

    Attributes:
        module: the module.
        parameters: its trainable parameters, in order.
        theta: θ, (D,).
        gradient: the gradient, (D,); set it to zero before each backward pass.

    Raises:
        UserError: if the module has no trainable parameters, or they differ in dtype or device.
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
    """The trainable parameters of a module in order; tied ones appear once.

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
    """All elements of the tensors, in order, as one new vector (D,)."""
    return torch.cat([t.detach().reshape(-1) for t in tensors])


def fingerprint(theta: Tensor) -> str:
    """SHA-256 of a tensor's bytes, in hexadecimal."""
    return hashlib.sha256(
        theta.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
    ).hexdigest()
