"""ShardedSubspace: θ = θ₀ + Pω of a module whose parameters FSDP2 has sharded over processes.

P and θ₀ are nowhere whole: each rank keeps its shard of θ₀ and computes its own rows of P. ω is on
every rank.
"""

from __future__ import annotations

import functools
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Variable
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from subspace_bench.common.errors import UserError
from subspace_bench.projectors import LinearMap, make_by_rows
from subspace_bench.projectors.base import require_sizes
from subspace_bench.subspace import state, support
from subspace_bench.subspace.flat import trainable_parameters
from subspace_bench.subspace.scaling import RowScaled, row_factors
from subspace_bench.subspace.shards import Shard, first_element, shared_mesh


class ShardedSubspace(nn.Module):
    """Trains a module that `torch.distributed.fsdp.fully_shard` has sharded in a random subspace::

        for block in module.blocks:
            fully_shard(block)
        net = ShardedSubspace(fully_shard(module), dim=1_000)
        optimizer = torch.optim.Adam([net.omega], lr=0.05)

    All ranks make it with the same arguments. Each forward writes θ = θ₀ + Pω, with the bits of a
    `Subspace`'s, into the module's shards if ω has changed. During backward, each shard's gradient
    is projected and freed as soon as FSDP has reduced it; at the end, ω's gradient is summed over
    the ranks. It is that of the mean of the ranks' losses, as FSDP's gradients are. Besides FSDP's
    own traffic, that sum of d numbers is all that ranks exchange. A rank stores its shards of θ and
    θ₀; the module alone, with Adam, takes twice as much.

    `backward()` sets `omega.grad`; `torch.autograd.grad` and `torch.func` do not see ω. The
    module's parameters keep `requires_grad`, which FSDP needs, but never have a gradient, so an
    optimizer leaves them alone. `state_dict` has the keys of a `Subspace`'s, with θ₀ as DTensors:
    `torch.distributed.checkpoint` loads it on any number of ranks, and a `Subspace` loads what
    `get_model_state_dict` gathers.

    Arguments:
        module: a module after `fully_shard`; its parameters with `requires_grad` span R^D.
        dim: d, 1 ≤ d ≤ D.
        projector: the name of a `ProjectorByRows`: hashed, fastfood, fastfood-layers,
            regenerated or regenerated-signs.
        seed: seed of the projector.
        scaling: as of `Subspace`.

    Raises:
        UserError: for a module that is not sharded, or not all of it along the first dimension on
            one mesh; for a projector that cannot compute rows alone; and as `Subspace`.
    """

    def __init__(
        self,
        module: nn.Module,
        dim: int,
        projector: str = "hashed",
        seed: int = 0,
        scaling: str = "fan-in",
    ) -> None:
        super().__init__()
        support.require_supported(module, sharded=True)
        parameters = trainable_parameters(module)
        mesh, axis = shared_mesh(module, parameters)
        sizes = [p.numel() for p in parameters]
        _, dim, seed = require_sizes(sum(sizes), dim, seed)
        factors = row_factors(scaling, module, parameters, dim)
        device, dtype = parameters[0].device, parameters[0].dtype
        whole = make_by_rows(projector, sum(sizes), dim, seed, sizes).to(device)
        self._maps = [whole if factors is None else RowScaled(whole, factors, sizes)]
        self._group = mesh.get_group(axis)
        self._written: tuple[Tensor, int, Tensor] | None = None  # the ω that θ was written for
        self._reducing = False
        self._sum = torch.zeros(dim, dtype=torch.promote_types(dtype, torch.float32), device=device)
        self.omega = nn.Parameter(torch.zeros(dim, dtype=dtype, device=device))
        self.module = module
        fixed = support.fixed_positions(module, {id(p): i for i, p in enumerate(parameters)}, sizes)
        self._shards, start = [], 0
        for i, p in enumerate(parameters):
            parameter = cast("DTensor", p)
            first = start + first_element(parameter, mesh, axis)
            factor = None if factors is None else factors[i]
            shard = Shard(parameter, whole, first, factor, fixed)
            on_gradient = functools.partial(self._on_gradient, shard)
            p.register_post_accumulate_grad_hook(on_gradient)  # type: ignore[no-untyped-call]
            self._shards.append(shard)
            start += sizes[i]
        self.register_state_dict_post_hook(_save_origin)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_prepare_load)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_take_origin)  # type: ignore[no-untyped-call]

    @property
    def projector(self) -> LinearMap:
        """P, which computes its rows when they are needed."""
        return self._maps[0]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's output at θ = θ₀ + Pω."""
        support.require_not_traced()
        if self._reducing:  # an exception ended the last backward
            self._reducing = False
            self._sum.zero_()
        self.write_theta()
        return self.module(*args, **kwargs)

    @torch.no_grad()
    def write_theta(self) -> None:
        """Writes θ into the module's shards, if ω has changed; for uses other than `forward`.

        Then `net.module` is an ordinary sharded module at θ, to be saved or called.

        Raises:
            UserError: if something else has written the module's parameters.
        """
        if any(shard.was_written() for shard in self._shards):
            raise UserError(
                "a parameter of net.module was written, which would be lost: write it before "
                "wrapping, or load a state_dict into the ShardedSubspace"
            )
        omega = self.omega
        if self._written is not None:
            written, version, values = self._written
            same = written is omega and version == omega._version
            if same and (omega.device.type != "cpu" or torch.equal(values, omega)):
                return
        self._reshard()
        for shard in self._shards:
            shard.write_theta(omega)
        self._written = omega, omega._version, omega.detach().clone()

    def get_extra_state(self) -> Tensor:
        """The identity of P, as the bytes of a JSON text (uint8)."""
        return state.encode(self.projector.identity())

    def set_extra_state(self, saved: Tensor) -> None:
        """Does nothing: it is checked before loading."""

    def _reshard(self) -> None:
        """Drops gathered parameters, which FSDP keeps after a forward without backward."""
        for part in self.module.modules():
            if isinstance(part, FSDPModule):
                part.reshard()

    @torch.no_grad()
    def _on_gradient(self, shard: Shard, parameter: Tensor) -> None:
        """Called by FSDP once a parameter's gradient is reduced."""
        shard.project_gradient(self._sum)
        self._reducing = True
        # Callbacks run when backward ends; only the first has something to do.
        Variable._execution_engine.queue_callback(self._reduce)

    @torch.no_grad()
    def _reduce(self) -> None:
        """Sums ω's gradient over the ranks: the only traffic besides FSDP's."""
        if not self._reducing:
            return
        self._reducing = False
        dist.all_reduce(self._sum, group=self._group)
        gradient = self._sum.to(self.omega.dtype, copy=True)
        self._sum.zero_()
        if self.omega.grad is None:
            self.omega.grad = gradient
        else:
            self.omega.grad += gradient

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        raise UserError("move or convert the module before it is sharded and wrapped")


def _save_origin(net: ShardedSubspace, saved: dict[str, Any], prefix: str, metadata: Any) -> None:
    """Saves θ₀ in place of θ, and tied tensors under their first name only."""
    for name, shard in _named_shards(net):
        assert f"{prefix}module.{name}" in saved
        saved[f"{prefix}module.{name}"] = shard.origin_as_dtensor()
    for names in state.tied_names(net.module):
        for name in names[1:]:
            saved.pop(f"{prefix}module.{name}", None)


def _prepare_load(net: ShardedSubspace, saved: dict[str, Any], prefix: str, *rest: Any) -> None:
    """Checks that ω is of the same P; raises UserError if not."""
    if f"{prefix}_extra_state" in saved:
        state.require_identity(saved[f"{prefix}_extra_state"], net.projector)
    net._reshard()
    state.restore_tied(net.module, saved, f"{prefix}module.")
    with torch.no_grad():
        for shard in net._shards:  # a state without θ₀ leaves it as it is
            shard.write_origin()


def _take_origin(net: ShardedSubspace, incompatible: Any) -> None:
    with torch.no_grad():
        for shard in net._shards:
            shard.read_origin()
    net._written = None


def _named_shards(net: ShardedSubspace) -> list[tuple[str, Shard]]:
    """Each shard under all names of its parameter in the module."""
    shards = {id(shard.parameter): shard for shard in net._shards}
    named = net.module.named_parameters(remove_duplicate=False)
    return [(name, shards[id(p)]) for name, p in named if id(p) in shards]
