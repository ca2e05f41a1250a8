"""`python -m subspace_bench` and the command `subspace-bench`."""

from __future__ import annotations

import sys

from subspace_bench.common import address_space
from subspace_bench.common.standard_streams import output_failure, protect_streams

TRAINING = ("reproduce", "train", "compare", "dimension", "check")


def main() -> None:
    """Runs the command line; never exits with 1 for a crash, which `check` means otherwise."""
    protect_streams()
    if sys.argv[1:2] and sys.argv[1] in TRAINING and (lacking := address_space.too_little()):
        print(f"error: {lacking}", file=sys.stderr)
        sys.exit(2)
    try:
        from subspace_bench import cli
    except KeyboardInterrupt:  # Ctrl-C while it starts
        sys.exit(130)
    except Exception as failure:  # a damaged installation
        print(f"error: cannot start ({type(failure).__name__}: {failure})", file=sys.stderr)
        sys.exit(3)
    try:
        cli.main()
    except SystemExit as end:
        if (lost := output_failure()) is None:
            raise
        print(f"error: the output could not be written ({lost.strerror})", file=sys.stderr)
        sys.exit(end.code or 2)


if __name__ == "__main__":
    main()
