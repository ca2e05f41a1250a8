"""Tables from records: what each asks for, what its page says, and that pages are reproducible."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from subspace_bench import published, report
from subspace_bench.experiments import EXPERIMENTS, Evidence, Plan, trainings
from subspace_bench.experiments import claims as claims_table
from subspace_bench.runs import Record, Run, Store
from subspace_bench.statistics import DOES_NOT, FAILS, HOLDS, REPRODUCES, UNDECIDED

RESULTS = Path(__file__).parent.parent / "results"
FULL = Plan(profile="full", seeds=2)


def record(run: Run, accuracy: float) -> Record:
    """A record with a flat curve: for pages, not for training."""
    scores = [u for u in range(1, run.protocol.steps + 1) if run.protocol.scored(u)]
    curve = [[u, accuracy, 0.1] for u in scores]
    facts = {"seconds_set_up": 0.1, "seconds_training": 1.0, "peak_memory_mb": 900}
    return Record(run, {"accuracy": accuracy, "curve": curve}, facts)


def store(folder: Path, runs: dict[Run, list[float]]) -> Store:
    filled = Store(folder)
    for run, values in runs.items():
        for seed, value in enumerate(values):
            filled.put(record(replace(run, seed=seed), value))
    return filled


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_pages_can_be_made_from_nothing_and_say_so(name, tmp_path) -> None:
    page = EXPERIMENTS[name].page(Evidence(Plan(), None, None))
    text = report.markdown(name, page, Evidence(Plan(), None, None))
    assert text.startswith(f"# {EXPERIMENTS[name].title}")
    assert "not run" in text
    assert REPRODUCES not in page.frame.to_string()


def test_profiles_ask_for_what_they_promise() -> None:
    def models(plan: Plan) -> set[tuple[str, int | None]]:
        return {(r.model, r.dim) for e in EXPERIMENTS.values() for r in e.runs(plan)}

    post = models(Plan())
    assert {("conv", d) for d in (10_000, 3_000, 1_000, None)} <= post
    assert {("fc", d) for d in (3, 1_000, None)} <= post
    assert not {m for m, _ in post if m.startswith("tutorial")}
    assert ("conv", 10_920) not in post
    full = models(Plan(profile="full"))
    assert {f"tutorial-{i}" for i in range(1, 10)} | {"tutorial-4b"} <= {m for m, _ in full}
    assert {("conv", d) for d in (10_920, 4_368, 2_184)} <= full
    quick = [r for e in EXPERIMENTS.values() for r in e.runs(Plan(profile="quick"))]
    assert max(r.dim or 0 for r in quick) == 3_000
    assert max(r.protocol.steps for r in quick) == 1_001


def test_each_seed_is_asked_for_and_shared_runs_are_one() -> None:
    runs = [r for e in EXPERIMENTS.values() for r in e.runs(FULL)]
    assert {r.seed for r in runs} == {0, 1}
    hashes = {r.hash for r in runs}
    assert len(hashes) == len(set(runs)) < len(runs)


def test_verdicts_come_from_five_seeds_or_more(tmp_path) -> None:
    spread = [-0.2, -0.1, 0.0, 0.1, 0.2]
    runs = {
        trainings.lite("mlp-16"): [94.5 + s for s in spread],
        trainings.lite("mlp-32"): [90.0 + s for s in spread],
        trainings.lite("cnn-3369"): [95.6, 95.5],
        trainings.lite("cnn-10754"): [97.6],
    }
    evidence = Evidence(Plan(), store(tmp_path, runs), None)
    frame = EXPERIMENTS["mnist-lite"].page(evidence).frame
    assert list(frame["verdict"]) == [REPRODUCES, DOES_NOT, "too few seeds", ""]
    assert frame["reference"][0] == "94.50 ± 0.20 (n = 5)"
    assert frame["reference"][3] == "97.60 (n = 1)"


def test_own_runs_stand_beside_the_reference_and_are_held_against_it(tmp_path) -> None:
    run = trainings.lite("mlp-16")
    reference = store(tmp_path / "r", {run: [94.4, 94.5, 94.6]})
    own = store(tmp_path / "o", {run: [94.5], trainings.lite("mlp-32"): [96.0]})
    frame = EXPERIMENTS["mnist-lite"].page(Evidence(Plan(), reference, own)).frame
    assert frame["this machine"][0] == "94.50 (n = 1)"
    assert frame["against the reference"][0] == "+0.10"
    assert frame["against the reference"][1] == ""
    same = store(tmp_path / "same", {run: [94.4, 94.5, 94.6, 94.55, 97.0]})
    frame = EXPERIMENTS["mnist-lite"].page(Evidence(Plan(), reference, same)).frame
    assert frame["against the reference"][0] == "3 same bits, 1 inside, 1 outside"


def test_columns_for_this_machine_appear_only_where_it_has_trained(tmp_path) -> None:
    own = store(tmp_path, {trainings.lite("mlp-16"): [94.5]})
    evidence = Evidence(Plan(), None, own)
    assert "this machine" in EXPERIMENTS["mnist-lite"].page(evidence).frame
    assert "this machine" not in EXPERIMENTS["subspace"].page(evidence).frame


def test_quick_runs_are_held_against_the_published_curve_at_the_same_step(tmp_path) -> None:
    run = trainings.post("conv", 1_000, 10)
    plan = Plan(profile="quick")
    cut = plan.cut(run)
    assert cut is not None
    evidence = Evidence(plan, store(tmp_path / "r", {run: [70.0]}), store(tmp_path, {cut: [82.0]}))
    page = EXPERIMENTS["ultra-small"].page(evidence)
    assert page.frame["reference"][0] == "not run"
    row = page.frame[(page.frame["net"] == "conv") & (page.frame["d"] == "1,000")].iloc[0]
    curves = published.load("post")["ultra-small"]["curves"]
    assert row["post"] == str(curves["conv"]["d1000"][curves["steps"].index(1_000)]) == "84.4"
    assert row["reference"] == "70.00 (n = 1)"
    assert row["this machine"] == "82.00 (n = 1)"
    assert "verdict" not in page.frame
    assert "**Quick run.**" in report.markdown("ultra-small", page, evidence)


def test_the_embedded_digits_get_no_verdicts(tmp_path) -> None:
    run = replace(trainings.lite("mlp-16"), dataset="mnist-5k")
    reference = store(tmp_path / "r", {trainings.lite("mlp-16"): [94.5, 94.6]})
    own = store(tmp_path / "o", {run: [88.0, 88.5, 87.9, 88.1, 88.0]})
    evidence = Evidence(Plan(dataset="mnist-5k"), reference, own)
    page = EXPERIMENTS["mnist-lite"].page(evidence)
    assert set(page.frame["verdict"]) == {""}
    assert page.frame["this machine"][0].startswith("88.10")
    assert set(page.frame["reference"]) == {"not run"}
    assert "MNIST-5k, not MNIST" in report.markdown("mnist-lite", page, evidence)


def test_claims_are_decided_by_their_criteria(tmp_path) -> None:
    noise = np.array([-0.05, 0.0, 0.05, 0.02, -0.02])
    levels = {None: 98.9, 10_000: 98.7, 10_920: 98.6, 4_368: 97.5, 2_184: 96.0, 3_000: 97.2}
    runs = {trainings.post("conv", d, 100): list(v + noise) for d, v in levels.items()}
    runs[trainings.lite("cnn-10754", 100)] = list(98.85 + noise)
    runs[trainings.tutorial("2")] = list(99.0 + noise)
    runs[trainings.lite("cnn-10754")] = list(97.6 + noise)
    evidence = Evidence(Plan(), store(tmp_path, runs), None)
    data = claims_table.page(evidence).data.set_index("id")["verdict"]
    assert data["eliminate-50-90"] == FAILS
    assert data["10000-costs-0.2"] == HOLDS
    assert data["10000-beats-lite-as-printed"] == HOLDS
    assert data["10000-beats-lite-fairly"] == FAILS
    assert data["3000-gives-97"] == HOLDS
    assert data["1000-converges-to-93.5"] == UNDECIDED
    assert data["pytorch-notable-exception"] == FAILS
    assert data["pytorch-smallest-99"] == HOLDS


def test_wide_intervals_decide_no_claim(tmp_path) -> None:
    runs = {trainings.post("conv", None, 100): [99.0, 96.0], trainings.post("conv", 10_000, 100): [
        96.0, 90.0]}  # fmt: skip
    evidence = Evidence(Plan(), store(tmp_path, runs), None)
    data = claims_table.page(evidence).data.set_index("id")["verdict"]
    assert data["10000-costs-0.2"] == UNDECIDED


def test_unlike_curves_are_found_and_like_ones_are_not(tmp_path) -> None:
    def verdict_for(gap: float, folder: Path) -> str:
        runs = {}
        for dim in (*trainings.SMALL, None):
            runs[trainings.post("conv", dim, 10)] = [80.0, 80.1, 79.9, 80.05]
            runs[trainings.post("fc", dim, 10)] = [80.0 - gap, 80.1 - gap, 79.9 - gap]
        evidence = Evidence(Plan(), store(folder, runs), None)
        data = claims_table.page(evidence).data.set_index("id")["verdict"]
        return str(data["fc-and-conv-nearly-identical"])

    assert verdict_for(0.0, tmp_path / "like") == HOLDS
    assert verdict_for(5.0, tmp_path / "unlike") == FAILS


def committed(path: str) -> bytes:
    """The file as committed (or staged): a reader's own `reproduce` rewrites the one on disk."""
    command = ["git", "-C", str(RESULTS.parent), "show", f":{path}"]
    shown = subprocess.run(command, capture_output=True, check=False)
    return shown.stdout if shown.returncode == 0 else (RESULTS.parent / path).read_bytes()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_committed_tables_rebuild_byte_for_byte(name, tmp_path) -> None:
    evidence = Evidence(Plan(), Store(RESULTS / "reference"), None)
    report.write_page(name, evidence, tmp_path)
    for kind in ("md", "csv"):
        file = f"{name}.{kind}"
        assert (tmp_path / file).read_bytes() == committed(f"results/{file}")
    for figure in (tmp_path / "figures").glob("*"):
        assert (RESULTS / "figures" / figure.name).exists()


def test_the_committed_index_rebuilds_byte_for_byte(tmp_path) -> None:
    evidence = Evidence(Plan(), Store(RESULTS / "reference"), None)
    report.write_index(evidence, tmp_path)
    assert (tmp_path / "README.md").read_bytes() == committed("results/README.md")


def test_pages_are_the_same_bytes_twice(tmp_path) -> None:
    run = trainings.lite("mlp-16")
    evidence = Evidence(Plan(), store(tmp_path / "r", {run: [94.4, 94.5]}), None)
    first = {p: p.read_bytes() for p in report.write_page("subspace", evidence, tmp_path / "out")}
    shutil.rmtree(tmp_path / "out")
    report.write_page("subspace", evidence, tmp_path / "out")
    assert first == {p: p.read_bytes() for p in first}


@pytest.mark.parametrize("page", ["README.md", "subspace.md"])
def test_the_readme_shows_the_committed_tables(page) -> None:
    text = committed(f"results/{page}").decode().replace("](", "](results/")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) >= 6
    assert "\n".join(rows) in committed("README.md").decode()
