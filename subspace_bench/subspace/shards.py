"""One rank's shard of each parameter: its rows of P, its part of θ₀, and where it lies in θ."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor import Shard as ShardPlacement

from subspace_bench.common.errors import UserError
from subspace_bench.projectors import LinearMap, ProjectorByRows, Rows
from subspace_bench.subspace.scaling import RowScaled


class Shard:
    """This rank's part of a sharded parameter.

    Arguments:
        parameter: the parameter.
        whole: P.
        start: the shard's first element in θ.
        factor: of the rows of P; None for 1.
        fixed: positions in θ that must not move; None for none.
    """

    def __init__(
        self,
        parameter: DTensor,
        whole: ProjectorByRows,
        start: int,
        factor: float | None,
        fixed: Tensor | None,
    ) -> None:
        self.parameter = parameter
        self.origin = self._local().clone()
        size = len(self.origin)
        self.rows: LinearMap | None = Rows(whole, start, start + size) if size else None
        if self.rows is not None and factor is not None:
            self.rows = RowScaled(self.rows, [factor], [size])
        if fixed is not None:
            fixed = fixed[(fixed >= start) & (fixed < start + size)].to(self.origin.device) - start
        self.fixed = fixed
        self._remember()

    def write_theta(self, omega: Tensor) -> None:
        """Writes θ = θ₀ + Pω into the parameter."""
        if self.rows is not None:
            local = self._local()
            self.rows.displace(self.origin, omega, local)
            if self.fixed is not None:
                local[self.fixed] = self.origin[self.fixed]
            self._remember()

    def write_origin(self) -> None:
        """Writes θ₀ into the parameter."""
        self._local().copy_(self.origin)
        self._remember()

    def read_origin(self) -> None:
        """Takes the parameter's present values for θ₀."""
        self.origin.copy_(self._local())
        self._remember()

    def project_gradient(self, total: Tensor) -> None:
        """Adds Pᵀ of the parameter's gradient to a vector (d,), and frees the gradient."""
        gradient, self.parameter.grad = self.parameter.grad, None
        if self.rows is None or gradient is None:
            return
        assert isinstance(gradient, DTensor)
        local = gradient.to_local().reshape(-1).to(total.dtype)
        if self.fixed is not None:
            local = local.index_fill(0, self.fixed, 0.0)
        total += self.rows.transpose(local)

    def origin_as_dtensor(self) -> DTensor:
        """θ₀ of the whole parameter, sharded like it; not a copy."""
        p = self.parameter
        local = self.origin.view(local_tensor(p).shape)
        return DTensor.from_local(
            local, p.device_mesh, p.placements, run_check=False, shape=p.shape, stride=p.stride()
        )

    def was_written(self) -> bool:
        """Whether something else has written the parameter since."""
        address, *versions = self._state
        now, *others = self._current_state()
        return now == address and others != versions

    def _local(self) -> Tensor:
        """The shard as a vector, which shares the parameter's memory."""
        return local_tensor(self.parameter).view(-1)

    def _remember(self) -> None:
        self._state = self._current_state()

    def _current_state(self) -> tuple[int, int, int]:
        """What writes change: operations on a DTensor raise its version, not that of its shard."""
        local = self._local()
        return local.data_ptr(), local._version, self.parameter._version


def shared_mesh(module: nn.Module, parameters: Sequence[nn.Parameter]) -> tuple[DeviceMesh, int]:
    """The mesh of all parameters, and its dimension that they are sharded over.

    Raises:
        UserError: if the module is not sharded, or not all of it along the first dimension.
    """
    if not isinstance(module, FSDPModule):
        raise UserError(
            f"{type(module).__name__} is not sharded as a whole: call fully_shard(module) first, "
            "or use a Subspace"
        )
    found = set()
    for p in parameters:
        if not isinstance(p, DTensor):
            raise UserError(
                "some trainable parameters are not sharded: call fully_shard on the whole module, "
                "without ignored_params"
            )
        if p.to_local().is_meta:
            raise UserError("the module is on meta: call to_empty, and initialise it, first")
        if p.device.type != p.device_mesh.device_type:
            raise UserError("shards that FSDP offloads to the CPU are not supported")
        axes = [i for i, kind in enumerate(p.placements) if not isinstance(kind, Replicate)]
        if len(axes) != 1 or repr(p.placements[axes[0]]) != repr(ShardPlacement(0)):
            raise UserError(
                f"a parameter is placed as {p.placements}: it must be sharded along its first "
                "dimension alone, which is what fully_shard does"
            )
        found.add((p.device_mesh, axes[0]))
    if len(found) > 1:
        raise UserError("parameters are sharded over several meshes: use one mesh for all")
    return found.pop()


def first_element(parameter: DTensor, mesh: DeviceMesh, axis: int) -> int:
    """Where the shard begins in the flat parameter: FSDP cuts the first dimension evenly, up."""
    rows, ranks = parameter.shape[0], mesh.size(axis)
    chunk = -(-rows // ranks)
    start = min(mesh.get_local_rank(axis) * chunk, rows)
    assert len(local_tensor(parameter)) == min(chunk, rows - start)
    return start * (parameter.numel() // rows)


def local_tensor(parameter: DTensor) -> Tensor:
    """This rank's shard, detached; it shares the parameter's memory."""
    detached = parameter.detach()
    assert isinstance(detached, DTensor)
    return detached.to_local()
