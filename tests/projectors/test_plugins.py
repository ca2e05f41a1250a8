"""A projector of another package: there in every command, and one that is broken harms no other."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "circulant"
ROOT = EXAMPLE.parent.parent


def installed(tmp_path: Path, **entries: str) -> dict[str, str]:
    """An environment in which packages with these entry points are installed, and the example."""
    declared = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    points = {**declared["entry-points"]["subspace_bench.projectors"], **entries}
    metadata = tmp_path / "site" / "circulant_projector-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: circulant-projector\n")
    lines = [f"{name} = {value}" for name, value in points.items()]
    text = "\n".join(["[subspace_bench.projectors]", *lines])
    (metadata / "entry_points.txt").write_text(text + "\n")
    path = os.pathsep.join([str(metadata.parent), str(EXAMPLE), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path}


def command(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments], env=env, cwd=ROOT, capture_output=True, text=True
    )


def test_the_example_keeps_the_contract(tmp_path) -> None:
    env = installed(tmp_path)
    contract = ["tests/projectors/test_projectors.py", "-k", "circulant"]
    found = command(env, "pytest", "-q", "-p", "no:cacheprovider", *contract)
    assert found.returncode == 0, found.stdout
    assert " passed" in found.stdout


def test_the_example_is_in_every_command(tmp_path) -> None:
    env = installed(tmp_path)
    assert "circulant" in command(env, "subspace_bench", "list").stdout
    out = ["--out", str(tmp_path / "out")]
    trained = command(env, "subspace_bench", "train", "--projector", "circulant", "--dim", "20",
                      "--steps", "3", "--dataset", "mnist-5k", *out)  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    sizes = ["--projectors", "circulant,gaussian", "--native", "500", "--dims", "7"]
    compared = command(env, "subspace_bench", "compare", *sizes, *out)
    assert compared.returncode == 0, compared.stderr
    page = (tmp_path / "out" / "projectors-cpu.md").read_text()
    assert "| 7   | circulant" in page


def test_a_broken_one_fails_alone(tmp_path) -> None:
    env = installed(tmp_path, broken="no_such_module:Nothing", odd="math:pi")
    listed = command(env, "subspace_bench", "list")
    assert listed.returncode == 0
    assert "does not import" in listed.stdout
    out = ["--out", str(tmp_path / "out")]
    trained = command(env, "subspace_bench", "train", "--projector", "broken", "--dim", "2", *out)
    assert trained.returncode == 2
    assert trained.stderr.startswith("error: projector 'broken' of circulant-projector does not")
    assert len(trained.stderr.splitlines()) == 1
    sizes = ["--projectors", "broken,odd,circulant", "--native", "500", "--dims", "7"]
    compared = command(env, "subspace_bench", "compare", *sizes, *out)
    assert compared.returncode == 0, compared.stderr
    page = (tmp_path / "out" / "projectors-cpu.md").read_text()
    assert "mend or uninstall it" in page
    assert "derives from subspace_bench.Projector" in page
    assert "| 7   | circulant" in page


ODD = """
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


def test_one_that_is_wrong_is_blamed_and_not_ranked(tmp_path) -> None:
    names = {"unmade": "Unmade", "skewed": "Skewed", "lost": "Lost"}
    env = installed(tmp_path, exits="exits:All", **{k: f"odd:{v}" for k, v in names.items()})
    (tmp_path / "site" / "odd.py").write_text(ODD)
    (tmp_path / "site" / "exits.py").write_text("raise SystemExit(3)")
    kinds = ",".join(["exits", *names, "circulant"])
    chosen = ["--projectors", kinds, "--native", "500", "--dims", "7"]
    out = ["--out", str(tmp_path / "out")]
    compared = command(env, "subspace_bench", "compare", *chosen, *out)
    assert compared.returncode == 0, compared.stderr
    page = (tmp_path / "out" / "projectors-cpu.md").read_text()
    assert "exits' of circulant-projector does not import (SystemExit: 3)" in page
    assert "projector 'unmade' cannot be made of 500 × 7 (TypeError: Unmade.__init__()" in page
    for name in ("skewed", "lost"):
        assert f"failed: projector '{name}' is wrong: ⟨Pω, θ⟩ and ⟨ω, Pᵀθ⟩ are not finite" in page
    assert "| 500 | 7   | circulant " in page  # recommended
    assert "projectors-cpu-time" not in page  # a picture over one D


def test_one_that_says_nothing_of_itself_does_not_take_the_page_along(tmp_path) -> None:
    env = installed(tmp_path, unsized="odd:Unsized", unsure="odd:Unsure", half="odd:Half")
    (tmp_path / "site" / "odd.py").write_text(ODD)
    chosen = ["--projectors", "unsized,unsure,half,circulant", "--native", "500", "--dims", "7"]
    out = ["--out", str(tmp_path / "out")]
    planned = command(env, "subspace_bench", "compare", *chosen, *out, "--plan")
    assert planned.returncode == 0, planned.stderr
    compared = command(env, "subspace_bench", "compare", *chosen, *out)
    assert compared.returncode == 0, compared.stderr
    page = (tmp_path / "out" / "projectors-cpu.md").read_text()
    assert (
        "failed: projector 'unsized' does not say what it is at 500 × 7 (ZeroDivisionError: no)"
        in page
    )
    assert (
        "failed: projector 'half' of circulant-projector lacks _adjoint, column_norms, footprint"
        in page
    )
    assert "| 7   | unsure" in page
    assert "| 7   | circulant" in page
    trained = command(env, "subspace_bench", "train", "--projector", "half", "--dim", "2", *out)
    assert trained.returncode == 2
    assert len(trained.stderr.splitlines()) == 1
