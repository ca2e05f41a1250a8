"""Measures everything on a GPU, the most valuable first, within a time limit, into one archive.

    python -m benchmarks.gpu --minutes 9 --out DIR    # DIR/gpu.tar.gz; the same command resumes
    python -m benchmarks.gpu --import DIR/gpu.tar.gz  # archive → results/
    python -m benchmarks.gpu --device cpu --dry --out DIR    # tries every stage at tiny sizes

docs/gpu.md says how to bring wheels and data to a machine without a network.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from pathlib import Path

try:
    from benchmarks.gpu import archive, facts
    from benchmarks.gpu.runner import chosen_stages, run_stages
    from benchmarks.gpu.stages import STAGES, Setting
    from subspace_bench.common import validation
    from subspace_bench.common.errors import UserError
except ModuleNotFoundError as missing:
    sys.exit(f"{missing}: docs/gpu.md says how to bring wheels to a machine without a network")

INTERRUPTED = 130
NO_DEVICE = "PyTorch finds no usable CUDA device (to try the code: --device cpu --dry)"


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=9.0, help="time for all stages (9)")
    parser.add_argument("--out", type=Path, help="folder of the archive; of the pages to --import")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--dry", action="store_true", help="tiny sizes: tries the code")
    parser.add_argument("--only", choices=list(STAGES), nargs="+", help="run these stages alone")
    parser.add_argument("--first", choices=list(STAGES), help="run this stage before the others")
    parser.add_argument("--import", type=Path, dest="archive", help="put an archive into --out")
    parser.add_argument("--rebuild", action="store_true", help="write the pages in --out again")
    options = parser.parse_args(arguments)
    try:
        if options.archive or options.rebuild:  # what pages need may be missing on a GPU machine
            from benchmarks.gpu import page
            from benchmarks.gpu.importing import import_archive

            out = options.out or Path("results")
            done = import_archive(options.archive, out) if options.archive else page.rebuild(out)
            print(*done, sep="\n")
            return 0
        validation.require_positive(minutes=options.minutes)
        return measure(options)
    except UserError as failure:
        print(failure, file=sys.stderr)
        return 2


def measure(options: argparse.Namespace) -> int:
    """Runs stages; their results are in the archive whatever happens.

    Raises:
        UserError: without the device, if `--out` cannot be written, or if its archive is damaged
            or of another machine.
    """
    out = options.out or Path("gpu-results")
    validation.check_output_dir(out)
    require_device(options.device, options.dry)
    here = facts.collect(options.device, options.dry)
    path = out / archive.NAME
    with tempfile.TemporaryDirectory(prefix="benchmarks-gpu-") as folder:
        work = Path(folder)
        if path.exists():
            resume(path, work, here)

        def save() -> None:
            for name in archive.pack(work, path, here):
                print(f"left out of the archive, which would exceed 16 MB: {name}", file=sys.stderr)

        setting = Setting(options.device, options.dry, work)
        stages = chosen_stages(options.only, options.first)
        try:
            save()
            run_stages(stages, setting, 60 * options.minutes, save)
        except KeyboardInterrupt:
            print("interrupted: what was measured is kept", file=sys.stderr)
            return INTERRUPTED
        finally:
            save()
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB. "
          f"To import it: python -m benchmarks.gpu --import {path}")  # fmt: skip
    return 0


def require_device(device: str, dry: bool) -> None:
    """Raises UserError, also for a driver that is too old for this PyTorch, or for a measurement
    on a CPU, whose numbers would mean nothing."""
    if device == "cuda":
        with warnings.catch_warnings(record=True) as said:  # PyTorch's reason, over several lines
            warnings.simplefilter("always")
            try:
                validation.resolve_device(device)
            except UserError as failure:
                reasons = [str(warning.message).splitlines()[0] for warning in said]
                raise UserError(": ".join([NO_DEVICE, *reasons])) from failure
    elif not dry:
        raise UserError("--device cpu only tries the code: add --dry")


def resume(path: Path, work: Path, here: dict[str, object]) -> None:
    """Unpacks an archive to go on with.

    Raises:
        UserError: if another device, or a dry run, made it.
    """
    there = archive.unpack(path, work)["facts"]
    for name in ("device", "dry", "gpu", "torch", "triton"):
        if there.get(name) != here.get(name):
            raise UserError(
                f"{path} has results of {name} {there.get(name)}, not {here.get(name)}: "
                "take another folder for --out"
            )
    if there["sources"] != here["sources"]:
        print("the code has changed since the archive was made: its results are kept",
              file=sys.stderr)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
