"""A module's trainable parameters as one vector θ, for training loops that write θ directly."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from subspace_bench.common.errors import UserError
from subspace_bench.subspace.support import require_shape


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
        both = _views(self.theta, self.parameters), _views(self.gradient, self.parameters)
        for p, value, gradient in zip(self.parameters, *both, strict=True):
            p.data, p.grad = value, gradient


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


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """All elements of the tensors, in order, as one new vector (D,)."""
    return torch.cat([t.detach().reshape(-1) for t in tensors])


def _views(flat: Tensor, tensors: Sequence[Tensor]) -> Iterator[Tensor]:
    """One vector (D,) cut into views in the shapes of tensors."""
    start = 0
    for t in tensors:
        stop = start + t.numel()
        yield flat[start:stop].view_as(t)
        start = stop


def as_one_vector(
    parameters: Sequence[Tensor], shapes: Sequence[torch.Size], flat: Tensor | None
) -> Tensor:
    """A vector (D,) with the parameters as its views where possible: `flat`, if they are its views.

    Raises:
        UserError: if the parameters have other shapes.
    """
    if flat is not None and _are_views(parameters, flat):
        return flat
    for p, shape in zip(parameters, shapes, strict=True):
        require_shape(p, shape)
    flat = flatten(parameters)
    if flat.device.type != "meta" and not torch._C._are_functorch_transforms_active():
        for p, view in zip(parameters, _views(flat, parameters), strict=True):
            p.data = view
    return flat


def _are_views(tensors: Sequence[Tensor], flat: Tensor) -> bool:
    """Whether the tensors are the elements of one vector, in order, and share its memory."""
    start = 0
    for t in tensors:
        address = flat.data_ptr() + start * flat.itemsize if t.numel() else 0
        if (t.data_ptr(), t.device, t.dtype) != (address, flat.device, flat.dtype):
            return False
        start += t.numel()
    return True


def fingerprint(theta: Tensor) -> str:
    """SHA-256 of a tensor's bytes, in hexadecimal."""
    return hashlib.sha256(
        theta.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
    ).hexdigest()
