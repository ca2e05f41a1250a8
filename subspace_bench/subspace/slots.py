"""Slots: attributes such as `module.weight` that return pieces of θ while θ₀ stays registered.

As in `torch.nn.utils.parametrize`, a module's class is replaced by a subclass of the same name in
which the attribute is a property. Any code that reads the attribute gets the piece of θ: forward,
other methods, and recomputation in backward. `parameters()` and `state_dict()` still return θ₀.
"""

from __future__ import annotations

import functools
from typing import Any, Protocol

from torch import Tensor, nn

from subspace_bench.common.errors import UserError

SLOTS_KEY = "_subspace_slots"  # the key of a module's Slots in its __dict__


class OriginParameter(nn.Parameter):
    """A parameter of θ₀. It never requires a gradient; `requires_grad_` has no effect.

    Writes through `data` leave no trace in the version of a tensor, so `revision` counts them.
    """

    revision = 0

    @property
    def data(self) -> Tensor:
        self.revision += 1
        return super().data

    @data.setter
    def data(self, value: Tensor) -> None:
        self.revision += 1
        nn.Parameter.data.__set__(self, value)  # type: ignore[attr-defined]

    @property
    def requires_grad(self) -> bool:
        return False

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        pass

    def requires_grad_(self, requires_grad: bool = True) -> OriginParameter:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _load_origin, (self.detach(),)


def _load_origin(data: Tensor) -> OriginParameter:
    return OriginParameter(data, False)


class PieceSource(Protocol):
    """The part of a Subspace that slots use."""

    omega: nn.Parameter

    def piece(self, number: int, origin: Tensor) -> Tensor:
        """The piece of θ that belongs to this parameter of θ₀."""

    def replace_origin(self, number: int, parameter: nn.Parameter) -> None:
        """Sets a parameter of θ₀ wherever the module has it."""


class Slots:
    """The Subspace of a module, and which piece each attribute returns."""

    def __init__(self, net: PieceSource) -> None:
        self.net = net
        self.pieces: dict[str, int] = {}  # attribute → number of its piece


def install(module: nn.Module, name: str, net: PieceSource, piece: int) -> None:
    """Makes the attribute `name` of this module (not of a child) return a piece of θ."""
    slots: Slots = module.__dict__.setdefault(SLOTS_KEY, Slots(net))
    slots.pieces[name] = piece
    parameter = module._parameters[name]
    assert parameter is not None
    make_origin(parameter)
    kind: Any = plain_class(module)
    module.__class__ = _with_slots(kind, frozenset(slots.pieces))


def make_origin(parameter: nn.Parameter) -> None:
    """Turns a parameter into one of θ₀ in place, so other references stay valid."""
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
    """Restores the plain class of a module; does not change its parameters."""
    if module.__dict__.pop(SLOTS_KEY, None) is not None or "_plain_class" in type(module).__dict__:
        module.__class__ = plain_class(module)


@functools.lru_cache(maxsize=4096)
def _with_slots(kind: Any, names: frozenset[str]) -> type[nn.Module]:
    content: dict[str, Any] = {name: _piece_property(name) for name in names}
    content |= {
        "_plain_class": kind,
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
        "__reduce_ex__": _reduce,
        "register_parameter": _register_parameter,
    }
    return type(kind.__name__, (kind,), content)


def _piece_property(name: str) -> property:
    def get(module: nn.Module) -> Tensor:
        slots: Slots = module.__dict__[SLOTS_KEY]
        origin = module._parameters.get(name)
        if origin is None:
            raise UserError(
                f"{type(module).__name__}.{name} was removed after the module was wrapped: "
                "change the plain module before it is wrapped, or the one that merge() returns"
            )
        if origin.device != slots.net.omega.device:
            return origin  # during `load_state_dict(assign=True)` onto a module on meta
        try:
            return slots.net.piece(slots.pieces[name], origin)
        except AttributeError as failure:  # nn.Module.__getattr__ would return θ₀'s parameter
            raise RuntimeError(f"θ could not be computed: {failure}") from failure

    def refuse(module: nn.Module, value: Any = None) -> None:
        raise UserError(
            f"{type(module).__name__}.{name} is a piece of a Subspace's θ: change the plain module "
            "before it is wrapped, or the one that merge() returns"
        )

    return property(get, refuse, refuse)


def _register_parameter(module: nn.Module, name: str, param: nn.Parameter | None) -> None:
    """Assigning an `nn.Parameter`, as `load_state_dict(assign=True)` does, replaces that of θ₀."""
    slots: Slots = module.__dict__[SLOTS_KEY]
    if isinstance(param, nn.Parameter) and name in slots.pieces:
        slots.net.replace_origin(slots.pieces[name], param)
    else:
        plain_class(module).register_parameter(module, name, param)


def _reduce(module: nn.Module, protocol: Any) -> Any:
    """Pickles the plain class, because the class with slots has no import path."""
    kind: Any = plain_class(module)
    names = frozenset(module.__dict__[SLOTS_KEY].pieces)
    state = module.__getstate__()  # type: ignore[no-untyped-call]
    return _new_instance, (kind, names), state


def _new_instance(kind: Any, names: frozenset[str]) -> nn.Module:
    cls: Any = _with_slots(kind, names)
    module: nn.Module = cls.__new__(cls)
    return module
