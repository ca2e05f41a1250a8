"""Plans adapt runs, evidence groups records, and studies are found by walking the package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flat_records import record, records

from subspace_bench.experiments import STUDIES, Evidence, Plan
from subspace_bench.experiments.registry import discover
from subspace_bench.records.store import Record, Store
from subspace_bench.training import presets

RUN = presets.lite("mlp-16")
FULL = Plan(profile="full", seeds=2)


def test_profiles_ask_for_their_runs() -> None:
    def models(plan: Plan) -> set[tuple[str, int | None]]:
        return {(r.model, r.dim) for study in STUDIES.values() for r in study.cases(plan)}

    post = models(Plan())
    assert {("conv", d) for d in (10_000, 3_000, 1_000, None)} <= post
    assert {("fc", d) for d in (3, 1_000, None)} <= post
    assert not {m for m, _ in post if m.startswith("tutorial")}
    assert ("conv", 10_920) not in post
    full = models(Plan(profile="full"))
    assert {f"tutorial-{i}" for i in range(1, 10)} | {"tutorial-4b"} <= {m for m, _ in full}
    assert {("conv", d) for d in (10_920, 4_368, 2_184)} <= full
    quick = [r for study in STUDIES.values() for r in study.cases(Plan(profile="quick"))]
    assert max(r.dim or 0 for r in quick) == 3_000
    assert max(r.protocol.steps for r in quick) == 1_001


def test_each_seed_is_asked_for_and_shared_runs_are_one() -> None:
    runs = [r for study in STUDIES.values() for r in study.cases(FULL)]
    assert {r.seed for r in runs if r.model != "conv" and r.protocol.steps < 10_000} == {0, 1}
    hashes = {r.hash for r in runs}
    assert len(hashes) == len(set(runs)) < len(runs)


def test_records_are_grouped_by_run_in_the_order_of_seeds() -> None:
    given = records({RUN: [94.0, 95.0, 96.0], presets.lite("mlp-32"): [90.0]})
    evidence = Evidence(Plan(), reversed(given))
    assert [r.run.seed for r in evidence.committed(RUN)] == [0, 1, 2]
    assert evidence.sample(RUN).values == (94.0, 95.0, 96.0)
    assert evidence.local(RUN) == []
    assert not evidence.includes_local


def test_records_of_another_dataset_do_not_count() -> None:
    given = records({RUN: [94.0], replace(RUN, dataset="mnist-5k"): [88.0]})
    assert Evidence(Plan(), given).sample(RUN).values == (94.0,)
    assert Evidence(Plan(dataset="mnist-5k"), given).sample(RUN).values == (88.0,)


def test_a_seed_counts_once_with_the_device_of_the_plan_first() -> None:
    on_cuda = record(replace(RUN, device="cuda"), 95.0)
    for given in ([record(RUN, 94.0), on_cuda], [on_cuda, record(RUN, 94.0)]):
        assert Evidence(Plan(), given).sample(RUN).values == (94.0,)
        assert Evidence(Plan(device="cuda"), given).sample(RUN).values == (95.0,)


def test_a_seed_trained_alone_comes_before_the_same_seed_of_a_batch() -> None:
    batched = [record(replace(RUN, seed=s, device="cuda", batched=True), 90.0) for s in (0, 1)]
    for given in ([record(RUN, 94.0), *batched], [*batched, record(RUN, 94.0)]):
        for plan in (Plan(), Plan(device="cuda")):
            assert Evidence(plan, given).sample(RUN).values == (94.0, 90.0)


def test_a_quick_plan_reads_shortened_local_runs_and_full_committed_ones() -> None:
    plan, run = Plan(profile="quick"), presets.post("conv", 1_000, 10)
    short = plan.adapt(run)
    assert short is not None
    evidence = Evidence(plan, records({run: [70.0]}), records({short: [82.0], run: [88.0]}))
    assert evidence.sample(run).values == (70.0,)
    assert evidence.sample(run, local=True).values == (82.0,)
    assert evidence.scored_at(run) == short.protocol.last_score == 1_001


def test_local_records_are_added_one_by_one_to_a_copy() -> None:
    before = Evidence(Plan(), None, records({RUN: [94.0]}))
    after = before.with_local(record(replace(RUN, seed=1), 95.0))
    again = after.with_local(record(RUN, 94.5))  # the same run, trained again
    assert before.sample(RUN, local=True).values == (94.0,)
    assert after.sample(RUN, local=True).values == (94.0, 95.0)
    assert again.sample(RUN, local=True).values == (94.5, 95.0)
    assert Evidence(Plan()).with_local(record(RUN, 94.0)).includes_local


def test_a_store_is_read_once(tmp_path: Path, monkeypatch) -> None:
    store, reads = Store(tmp_path), []
    for each in records({RUN: [94.0, 95.0]}):
        store.put(each)
    original = Store.records

    def counting(self: Store) -> Iterator[Record]:
        reads.append(self)
        return original(self)

    monkeypatch.setattr(Store, "records", counting)
    evidence = Evidence(Plan(), store)
    for study in STUDIES.values():
        study.page(evidence.with_local(record(RUN, 94.0)))
    assert len(reads) == 1
    assert evidence.sample(RUN).values == (94.0, 95.0)


def test_a_module_with_a_study_is_a_page(tmp_path: Path, monkeypatch) -> None:
    package = tmp_path / "pages_of_a_test"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "helpers.py").write_text("X = 1\n")
    for name, order in (("late", 2), ("early", 1)):
        (package / f"{name}.py").write_text(
            "from subspace_bench.experiments.study import Study\n"
            f"STUDY = Study('{name}', '', lambda plan: [], lambda evidence: None, order={order})\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert list(discover("pages_of_a_test")) == ["early", "late"]
    for module in [name for name in sys.modules if name.startswith("pages_of_a_test")]:
        monkeypatch.delitem(sys.modules, module)


@pytest.mark.parametrize("name", STUDIES)
def test_names_of_studies_and_pages_agree(name: str) -> None:
    study = STUDIES[name]
    page = study.page(Evidence(Plan()))
    assert (page.name, page.title) == (study.name, study.title) == (name, study.title)
