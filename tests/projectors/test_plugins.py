"""A projector of another package is available everywhere, and a broken one harms no other."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pandas as pd
import pytest

from subspace_bench import cli, projectors
from subspace_bench.common.errors import UserError
from subspace_bench.projectors import registry
from subspace_bench.projectors.base import DRAW_RATE, READ_RATE
from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.training.cost import estimate

EXAMPLE = Path(__file__).parents[2] / "examples" / "circulant"
ROOT = EXAMPLE.parent.parent
GROUP = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]
BROKEN = """
from circulant_projector import Circulant
from subspace_bench.projectors import Projector

class Unsized(Circulant):
    @classmethod
    def footprint(cls, native, dim, itemsize=4):
        raise ZeroDivisionError("no\\nbytes")

class Unsure(Circulant):
    @classmethod
    def column_norms(cls, native, dim):
        raise KeyError("who knows")

class Unmade(Circulant):
    def __init__(self, native, dim):
        super().__init__(native, dim, 0)

class Skewed(Circulant):
    def _adjoint(self, theta):
        return -super()._adjoint(theta)

class Lost(Circulant):
    def _project(self, omega):
        return super()._project(omega) * float("nan")

class Half(Projector):
    def _project(self, omega):
        return omega
"""
ENTRIES = {
    **GROUP["subspace_bench.projectors"],
    "missing": "no_such_module:Nothing",
    "number": "math:pi",
    "exits": "exits:All",
    **{name: f"broken:{name.title()}" for name in (
        "unsized", "unsure", "unmade", "skewed", "lost", "half",
    )},
}  # fmt: skip


@pytest.fixture
def site(tmp_path) -> Path:
    """A folder of installed packages: the example, and broken ones."""
    metadata = tmp_path / "site" / "circulant_projector-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: circulant-projector\n")
    lines = [f"{name} = {value}" for name, value in ENTRIES.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[subspace_bench.projectors]", *lines]))
    (metadata.parent / "broken.py").write_text(BROKEN)
    (metadata.parent / "exits.py").write_text("class Skipped(BaseException): ...\nraise Skipped(3)")
    return metadata.parent


@pytest.fixture
def installed(site, monkeypatch):
    """The same in this process."""
    for path in (EXAMPLE, site):
        monkeypatch.syspath_prepend(str(path))
    points = {name: EntryPoint(name, value, registry.GROUP) for name, value in ENTRIES.items()}
    monkeypatch.setattr(registry, "_entry_points", lambda: points)
    yield
    registry.load.cache_clear()
    for module in ("broken", "exits", "circulant_projector"):
        sys.modules.pop(module, None)


def run(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(map(str, (site, EXAMPLE, ROOT)))
    env = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name, act", [
    ("missing", projectors.load), ("number", projectors.load), ("exits", projectors.load),
    ("half", projectors.load),
    ("unsized", lambda name: projectors.footprint(name, 500, 7)),
    ("unsized", lambda name: projectors.predicted_seconds(name, 500, 7)),
    ("unsure", lambda name: projectors.column_norms(name, 500, 7)),
    ("unmade", lambda name: projectors.make(name, 500, 7, 0)),
])  # fmt: skip
def test_a_broken_class_is_a_user_error_that_names_it(name: str, act: Callable) -> None:
    with pytest.raises(UserError) as raised:
        act(name)
    assert f"'{name}'" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert name in projectors.names()
    assert projectors.make("circulant", 50, 5, 0).nbytes == 50


@pytest.mark.usefixtures("installed")
def test_cost_of_a_plug_in_follows_from_its_footprint() -> None:
    size = projectors.footprint("circulant", 1000, 7)
    one, two = (projectors.predicted_seconds("circulant", 1000, 7, t) for t in (1, 2))
    assert one.set_up == two.set_up == pytest.approx(size.resident_bytes / 4 / DRAW_RATE)
    moved = size.resident_bytes + size.workspace_bytes
    assert one.update == 2 * two.update == pytest.approx(2 * moved / READ_RATE)
    assert projectors.nonzero_rows("circulant", 1000, 7) == 1

    baseline = RunConfig("conv", "he", TrainingConfig(steps=2_000, batch=256, lr=3e-3))
    plugged = RunConfig(
        "conv", "he", baseline.protocol, dim=100, projector="circulant", origin="init"
    )
    update = projectors.predicted_seconds("circulant", 21_840, 100).update
    cost = estimate(plugged)
    assert cost.training == pytest.approx(estimate(baseline).training + 2_000 * update)


@pytest.mark.usefixtures("installed")
def test_the_list_names_broken_ones_and_training_refuses_them(tmp_path, capsys) -> None:
    out = ("--out", str(tmp_path / "out"))
    with pytest.raises(SystemExit) as end:
        cli.main(["list", *out])
    assert end.value.code == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ENTRIES)
    with pytest.raises(SystemExit) as end:
        cli.main(["train", "--dim", "20", "--projector", "half", "--dataset", "mnist-5k", *out])
    assert end.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.slow
def test_the_example_keeps_the_contract(site) -> None:
    contract = ["tests/projectors/test_projectors.py", "-k", "circulant"]
    result = run(site, "pytest", "-q", "-p", "no:cacheprovider", *contract)
    assert result.returncode == 0, result.stdout
    assert " passed" in result.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("installed", "forked_workers")
def test_workers_of_every_command_take_it_and_broken_ones_fail_alone(tmp_path) -> None:
    out = ["--out", str(tmp_path / "out")]
    train = ("train", "--model", "mlp-16", "--dim", "20", "--steps", "3", "--dataset", "mnist-5k")
    with pytest.raises(SystemExit) as end:
        cli.main([*train, "--device", "cpu", "--projector", "circulant", *out])
    assert end.value.code == 0

    sizes = ["--projectors", ",".join(ENTRIES), "--native", "500", "--dims", "7"]
    with pytest.raises(SystemExit) as end:
        cli.main(["compare", *sizes, *out])
    assert end.value.code == 1  # some cases failed
    cells = pd.read_csv(tmp_path / "out" / "projectors-cpu.csv").set_index("projector")
    assert set(cells.index) == set(ENTRIES)
    measured = cells.index[cells.status == "ok"]
    assert set(measured) == {"circulant", "unsure"}
    assert cells.loc[~cells.index.isin(measured), "status"].str.startswith("failed").all()
