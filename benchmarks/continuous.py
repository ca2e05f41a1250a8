"""Does `asv continuous` see a slowdown, and is it silent without one? Writes results/asv.md.

    python -m benchmarks.continuous [--times 10] [--factor 1.3]

In a clone of HEAD under .asv/ two commits are made on top of it: an empty one, and one that does
everything twice in three benchmarks. asv holds each against HEAD, so many times.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd

from subspace_bench.common.files import write_atomically
from subspace_bench.records import provenance
from subspace_bench.reporting.render import markdown_table
from subspace_bench.reporting.statistics import binomial

HERE = Path(__file__).parent.parent
CLONE = HERE / ".asv" / "continuous"  # its environment stays for the next time
TWICE = {
    "subspace_bench/projectors/base.py": """
_once = Projector.forward, Projector.transpose


def _forward(self, omega):
    _once[0](self, omega)
    return _once[0](self, omega)


def _transpose(self, theta):
    _once[1](self, theta)
    return _once[1](self, theta)


Projector.forward, Projector.transpose = _forward, _transpose
""",
    "subspace_bench/training/loop.py": """
_once = step


def step(*arguments):
    _once(*arguments)
    return _once(*arguments)
""",
}
BENCHMARKS = {  # what asv calls it → a pattern that chooses it alone
    "projectors.Projectors.time_forward('gaussian', '21840x1000')":
        r"time_forward\('gaussian', '21840x1000'\)",
    "projectors.Projectors.time_transpose('fastfood', '21840x1000')":
        r"time_transpose\('fastfood', '21840x1000'\)",
    "training.Training.time_training_step('fast', '1000')":
        r"time_training_step\('fast', '1000'\)",
}  # fmt: skip


def git(*arguments: str, where: Path = CLONE) -> str:
    """What a git command prints."""
    found = subprocess.run(["git", *arguments], cwd=where, check=True, capture_output=True)
    return found.stdout.decode().strip()


def commits() -> dict[str, str]:
    """What is tried → its commit, a child of HEAD each."""
    head = git("rev-parse", "HEAD", where=HERE)
    if not (CLONE / ".git").exists():
        shutil.rmtree(CLONE, ignore_errors=True)
        git("clone", "--quiet", "--no-hardlinks", str(HERE), str(CLONE), where=HERE)
    git("fetch", "--quiet", "origin", head)
    git("config", "user.name", "benchmark")
    git("config", "user.email", "benchmark@localhost")
    found = {}
    for name in ("unchanged", "twice the work"):
        git("checkout", "--quiet", "--force", "--detach", head)
        for path, more in TWICE.items() if name != "unchanged" else ():
            with (CLONE / path).open("a", encoding="utf-8") as file:
                file.write(more)
        git("commit", "--quiet", "--all", "--allow-empty", "--message", name)
        found[name] = git("rev-parse", "HEAD")
        git("branch", "--force", name.replace(" ", "-"))  # keeps it reachable
    git("checkout", "--quiet", "--force", "--detach", head)
    git("branch", "--force", "main", head)
    return found


def slower(commit: str, factor: float) -> set[str]:
    """The benchmarks that `asv continuous` calls slower at a commit than at its parent.

    Raises:
        RuntimeError: where it timed nothing, which it would pass over in silence.
    """
    command = [sys.executable, "-m", "asv", "continuous", "--interleave-rounds", "--factor",
               str(factor), "--cpu-affinity", "0", "--no-only-changed"]  # fmt: skip
    command += [part for pattern in BENCHMARKS.values() for part in ("--bench", pattern)]
    shutil.rmtree(CLONE / ".asv" / "results", ignore_errors=True)  # each time is a new one
    done = subprocess.run(
        [*command, f"{commit}~1", commit], cwd=CLONE, capture_output=True, text=True
    )
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    told = {name: [row for row in rows if name in row] for name in BENCHMARKS}
    if not all(told.values()):
        raise RuntimeError(f"asv timed nothing:\n{done.stdout}{done.stderr}")
    return {name for name, found in told.items() if any(row.startswith("| +") for row in found)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--factor", type=float, default=1.3)
    chosen = parser.parse_args()
    counts = {(what, name): 0 for name in BENCHMARKS for what in ("twice the work", "unchanged")}
    made = commits()
    machine = [sys.executable, "-m", "asv", "machine", "--yes"]
    subprocess.run(machine, cwd=CLONE, check=True, capture_output=True)
    for i in range(chosen.times):
        for what, commit in made.items():
            seen = slower(commit, chosen.factor)
            print(f"{i + 1}: {what}: slower {len(seen)} of {len(BENCHMARKS)}", flush=True)
            for name in seen:
                counts[what, name] += 1
    rows = [
        {"benchmark": f"`{name}`", "commit": what,
         "called slower": str(binomial(count, chosen.times))}
        for (what, name), count in counts.items()
    ]  # fmt: skip
    here = provenance.machine()
    parts = [
        "# Does asv see a slowdown?",
        f"`asv continuous --interleave-rounds --factor {chosen.factor:g}`, {chosen.times} times "
        "each, held HEAD against a commit that does the work of three benchmarks twice, and "
        f"against one that changes nothing. {here['cpu']}, the benchmarks on one core and one "
        "thread. With 95% intervals.",
        markdown_table(pd.DataFrame(rows)),
        "Measure again: `python -m benchmarks.continuous`.",
    ]
    write_atomically(HERE / "results" / "asv.md", "\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
