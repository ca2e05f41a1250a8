"""Does `asv continuous` detect a slowdown, and stay silent without one? Writes results/asv.md.

    python -m benchmarks.asv_detection [--times 10] [--factor 1.3] [--rebuild]

In a clone of HEAD under .asv/, two child commits are made: one that changes nothing, and one in
which three benchmarks compute everything twice. asv compares each with HEAD, `--times` times.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd

from benchmarks import measurements
from benchmarks.measurements import Measurements
from subspace_bench.records import provenance
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.render import write_page
from subspace_bench.reporting.statistics import binomial

HERE = Path(__file__).parent.parent
CLONE = HERE / ".asv" / "continuous"  # asv's environment in it is reused
DOUBLED = {  # file → code appended to it that doubles its computation
    "subspace_bench/projectors/base.py": """
_original = Projector.forward, Projector.transpose


def _forward(self, omega):
    _original[0](self, omega)
    return _original[0](self, omega)


def _transpose(self, theta):
    _original[1](self, theta)
    return _original[1](self, theta)


Projector.forward, Projector.transpose = _forward, _transpose
""",
    "subspace_bench/training/loop.py": """
_original = step


def step(*arguments):
    _original(*arguments)
    return _original(*arguments)
""",
}
UNCHANGED, SLOWER = "unchanged", "twice the work"
BENCHMARKS = {  # asv's name → a pattern that selects only it
    "projectors.Projectors.time_forward('gaussian', '21840x1000')":
        r"time_forward\('gaussian', '21840x1000'\)",
    "projectors.Projectors.time_transpose('fastfood', '21840x1000')":
        r"time_transpose\('fastfood', '21840x1000'\)",
    "training.Training.time_training_step('fast', '1000')":
        r"time_training_step\('fast', '1000'\)",
}  # fmt: skip


def git(*arguments: str, where: Path = CLONE) -> str:
    """The output of a git command."""
    result = subprocess.run(["git", *arguments], cwd=where, check=True, capture_output=True)
    return result.stdout.decode().strip()


def make_commits() -> dict[str, str]:
    """Creates the two child commits of HEAD in the clone; returns name → hash."""
    head = git("rev-parse", "HEAD", where=HERE)
    if not (CLONE / ".git").exists():
        shutil.rmtree(CLONE, ignore_errors=True)
        git("clone", "--quiet", "--no-hardlinks", str(HERE), str(CLONE), where=HERE)
    git("fetch", "--quiet", "origin", head)
    git("config", "user.name", "benchmark")
    git("config", "user.email", "benchmark@localhost")
    commits = {}
    for name in (UNCHANGED, SLOWER):
        git("checkout", "--quiet", "--force", "--detach", head)
        for path, code in DOUBLED.items() if name == SLOWER else ():
            with (CLONE / path).open("a", encoding="utf-8") as file:
                file.write(code)
        git("commit", "--quiet", "--all", "--allow-empty", "--message", name)
        commits[name] = git("rev-parse", "HEAD")
        git("branch", "--force", name.replace(" ", "-"))  # keeps the commit reachable
    git("checkout", "--quiet", "--force", "--detach", head)
    git("branch", "--force", "main", head)
    return commits


def called_slower(commit: str, factor: float) -> set[str]:
    """The benchmarks that `asv continuous` reports as slower at a commit than at its parent.

    Raises:
        RuntimeError: asv timed nothing, which it does not report as an error itself.
    """
    command = [sys.executable, "-m", "asv", "continuous", "--interleave-rounds", "--factor",
               str(factor), "--cpu-affinity", "0", "--no-only-changed"]  # fmt: skip
    command += [part for pattern in BENCHMARKS.values() for part in ("--bench", pattern)]
    shutil.rmtree(CLONE / ".asv" / "results", ignore_errors=True)  # else old results are reused
    result = subprocess.run(
        [*command, f"{commit}~1", commit], cwd=CLONE, capture_output=True, text=True
    )
    lines = [line for line in result.stdout.splitlines() if line.startswith("|")]
    rows = {name: [line for line in lines if name in line] for name in BENCHMARKS}
    if not all(rows.values()):
        raise RuntimeError(f"asv timed nothing:\n{result.stdout}{result.stderr}")
    return {name for name, found in rows.items() if any(row.startswith("| +") for row in found)}


def measure(times: int, factor: float, out: Path) -> None:
    """Counts how often each benchmark is reported as slower, and saves the counts."""
    counts = {(name, commit): 0 for name in BENCHMARKS for commit in (SLOWER, UNCHANGED)}
    commits = make_commits()
    machine = [sys.executable, "-m", "asv", "machine", "--yes"]
    subprocess.run(machine, cwd=CLONE, check=True, capture_output=True)
    for i in range(times):
        for commit, revision in commits.items():
            names = called_slower(revision, factor)
            print(f"{i + 1}: {commit}: {len(names)} of {len(BENCHMARKS)} slower", flush=True)
            for name in names:
                counts[name, commit] += 1
    rows = [(name, commit, count, times) for (name, commit), count in counts.items()]
    frame = pd.DataFrame(rows, columns=["benchmark", "commit", "called slower", "times"])
    measurements.save("asv", out, frame, {"cpu": provenance.machine()["cpu"], "factor": factor})


def page(measurements: Measurements) -> Page:
    """The page results/asv.md."""
    counts = measurements.numbers
    rates = [binomial(*pair) for pair in zip(counts["called slower"], counts["times"], strict=True)]
    table = pd.DataFrame(
        {
            "benchmark": [f"`{name}`" for name in counts["benchmark"]],
            "commit": counts["commit"],
            "called slower": [str(rate) for rate in rates],
        }
    )
    total = counts.groupby("commit")[["called slower", "times"]].sum()
    summary = (
        f"asv flagged {total['called slower'][SLOWER]} of {total['times'][SLOWER]} twofold "
        f"slowdowns and {total['called slower'][UNCHANGED]} of {total['times'][UNCHANGED]} "
        "unchanged benchmarks."
    )
    title, command = "Does asv detect a slowdown?", "python -m benchmarks.asv_detection --rebuild"
    values = {"facts": measurements.facts}
    return Page(
        "asv", title, summary, {"counts": table}, measurements.text, values, command=command
    )


def main() -> None:
    parser = measurements.options(__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--factor", type=float, default=1.3)
    options = parser.parse_args()
    if not options.rebuild:
        measure(options.times, options.factor, options.out)
    print(*write_page(page(measurements.load("asv", options.out)), options.out), sep="\n")


if __name__ == "__main__":
    main()
