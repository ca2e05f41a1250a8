"""`subspace-bench report`: pages from records, without training."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from subspace_bench.cli.options import Dataset, Out, Pages, Profile, page_names
from subspace_bench.common import validation


def report(
    pages: Pages = None,
    profile: Profile = "post",
    dataset: Dataset = "mnist",
    out: Out = Path("results"),
    committed_only: Annotated[
        bool, typer.Option("--committed-only", help="Ignore your local records.")
    ] = False,
) -> int:
    """Write pages again from existing records, without training.

    Without names of pages, it writes all of them, and index.html, which shows them in a browser.
    """
    validation.check_output_dir(out)
    names = page_names(pages, profile)
    from subspace_bench.datasets.catalog import require_dataset
    from subspace_bench.experiments import STUDIES, Evidence, Plan
    from subspace_bench.experiments.findings import findings
    from subspace_bench.records.committed import committed_store
    from subspace_bench.records.store import Store
    from subspace_bench.reporting.page_list import write_index
    from subspace_bench.reporting.render import write_page

    require_dataset(dataset)
    local = None if committed_only else list(Store(out / "runs").records())
    committed = list(committed_store().records())
    evidence = Evidence(Plan(profile, dataset=dataset), committed, local)
    made = []
    for name in names:
        if reason := STUDIES[name].withheld(evidence):
            print(f"{name}: {reason}")
        else:
            made.append(STUDIES[name].page(evidence))
            print(*write_page(made[-1], out), sep="\n")
    found, tables = findings(committed)
    print(write_index(out, STUDIES, found, tables))
    if pages:
        return 0
    if find_spec("vl_convert") is None:
        print("index.html: not written, it needs: pip install 'subspace-bench[web]'")
        return 0
    from subspace_bench.experiments.front_page import write_front_page

    print(write_front_page(evidence, made, committed, local or [], found, out))
    return 0
