"""Attributes that read as pieces of θ: `module.weight` is θ's piece while θ₀ stays registered.

A module's class is replaced by a subclass of the same name in which the attribute is a property,
as `torch.nn.utils.parametrize` does. Whatever reads the attribute, in forward, in another method
or when backward runs forward again, gets θ's piece; `parameters()` and `state_dict()` go on
seeing θ₀.
"""

from __future__ import annotations

import functools
from typing import Any, Protocol

from torch import Tensor, nn

from subspace_bench.common.errors import UserError

KEY = "_subspace_slots"  # where a module keeps its Slots, in its __dict__


class OriginParameter(nn.Parameter):
    """A parameter of θ₀. It never requires a gradient, whatever `requires_grad_` is told."""

    @property
    def requires_grad(self) -> bool:
        return False

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        pass

    def requires_grad_(self, requires_grad: bool = True) -> OriginParameter:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _origin, (self.data,)


def _origin(data: Tensor) -> OriginParameter:
    return OriginParameter(data, False)


class SourceOfPieces(Protocol):
    """A Subspace, as far as slots know it."""

    omega: nn.Parameter

    def pieces(self) -> tuple[Tensor, ...]:
        """θ in the shapes of the module's trainable parameters."""


class Slots:
    """Which pieces of which Subspace stand in a module's attributes."""

    def __init__(self, net: SourceOfPieces) -> None:
        self.net = net
        self.pieces: dict[str, int] = {}  # attribute → number of its piece


def install(module: nn.Module, name: str, net: SourceOfPieces, piece: int) -> None:
    """Makes the parameter `name` of the module itself (not of a child) read as a piece of θ."""
    slots: Slots = module.__dict__.setdefault(KEY, Slots(net))
    slots.pieces[name] = piece
    parameter = module._parameters[name]
    assert parameter is not None
    make_origin(parameter)
    kind: Any = plain_class(module)
    module.__class__ = _with_slots(kind, frozenset(slots.pieces))


def make_origin(parameter: nn.Parameter) -> None:
    """Turns a parameter into one of θ₀, in place: whoever holds it holds the same object."""
    if not isinstance(parameter, OriginParameter):
        nn.Parameter.requires_grad_(parameter, False)
        parameter.grad = None
        parameter.__class__ = OriginParameter


def plain_class(module: nn.Module) -> type[nn.Module]:
    """The class of the module before slots were installed."""
    kind = type(module)
    plain: type[nn.Module] = kind.__dict__.get("_plain_class", kind)
    return plain


def remove(module: nn.Module) -> None:
    """Gives a module its plain class back; its parameters stay as they are."""
    if module.__dict__.pop(KEY, None) is not None or "_plain_class" in type(module).__dict__:
        module.__class__ = plain_class(module)


@functools.lru_cache(maxsize=4096)
def _with_slots(kind: Any, names: frozenset[str]) -> type[nn.Module]:
    content: dict[str, Any] = {name: _piece(name) for name in names}
    content |= {
        "_plain_class": kind,
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
        "__reduce_ex__": _reduce,
    }
    return type(kind.__name__, (kind,), content)


def _piece(name: str) -> property:
    def get(module: nn.Module) -> Tensor:
        slots: Slots = module.__dict__[KEY]
        origin = module._parameters[name]
        if origin is not None and origin.device != slots.net.omega.device:
            return origin  # half loaded: `load_state_dict(assign=True)` onto a module on meta
        try:
            return slots.net.pieces()[slots.pieces[name]]
        except AttributeError as failure:  # nn.Module would answer it with θ₀'s parameter
            raise RuntimeError(f"θ could not be made: {failure}") from failure

    def refuse(module: nn.Module, value: Any = None) -> None:
        raise UserError(
            f"{type(module).__name__}.{name} is a piece of a Subspace's θ: change the plain module "
            "before it is wrapped, or the one that merge() returns"
        )

    return property(get, refuse, refuse)


def _reduce(module: nn.Module, protocol: Any) -> Any:
    """The class has no import path: it is made again from the plain one."""
    kind: Any = plain_class(module)
    names = frozenset(module.__dict__[KEY].pieces)
    state = module.__getstate__()  # type: ignore[no-untyped-call]
    return _empty, (kind, names), state


def _empty(kind: Any, names: frozenset[str]) -> nn.Module:
    made: Any = _with_slots(kind, names)
    found: nn.Module = made.__new__(made)
    return found
