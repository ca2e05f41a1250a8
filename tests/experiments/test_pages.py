"""Tables from records: what each asks for, what its page says, and that pages are reproducible."""

import math
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from flat_records import record, store
from matplotlib import pyplot as plt

from subspace_bench.experiments import STUDIES, Evidence, Plan, published
from subspace_bench.experiments import legacy_render as render
from subspace_bench.experiments.curves import Curve, draw_curves
from subspace_bench.experiments.init_scale import Case, fit, section
from subspace_bench.records.store import Store
from subspace_bench.reporting.statistics import DOES_NOT, REPRODUCES
from subspace_bench.training import presets

RESULTS = Path(__file__).parents[2] / "results"
FULL = Plan(profile="full", seeds=2)


@pytest.mark.parametrize("name", STUDIES)
def test_pages_can_be_made_from_nothing_and_say_so(name, tmp_path) -> None:
    page = STUDIES[name].page(Evidence(Plan(), None, None))
    text = render.markdown(name, page, Evidence(Plan(), None, None))
    assert text.startswith(f"# {STUDIES[name].title}")
    assert "not run" in text
    assert REPRODUCES not in page.frame.to_string()


def test_profiles_ask_for_what_they_promise() -> None:
    def models(plan: Plan) -> set[tuple[str, int | None]]:
        return {(r.model, r.dim) for e in STUDIES.values() for r in e.runs(plan)}

    post = models(Plan())
    assert {("conv", d) for d in (10_000, 3_000, 1_000, None)} <= post
    assert {("fc", d) for d in (3, 1_000, None)} <= post
    assert not {m for m, _ in post if m.startswith("tutorial")}
    assert ("conv", 10_920) not in post
    full = models(Plan(profile="full"))
    assert {f"tutorial-{i}" for i in range(1, 10)} | {"tutorial-4b"} <= {m for m, _ in full}
    assert {("conv", d) for d in (10_920, 4_368, 2_184)} <= full
    quick = [r for e in STUDIES.values() for r in e.runs(Plan(profile="quick"))]
    assert max(r.dim or 0 for r in quick) == 3_000
    assert max(r.protocol.steps for r in quick) == 1_001


def test_each_seed_is_asked_for_and_shared_runs_are_one() -> None:
    runs = [r for e in STUDIES.values() for r in e.runs(FULL)]
    assert {r.seed for r in runs} == {0, 1}
    hashes = {r.hash for r in runs}
    assert len(hashes) == len(set(runs)) < len(runs)


def test_verdicts_come_from_five_seeds_or_more(tmp_path) -> None:
    spread = [-0.2, -0.1, 0.0, 0.1, 0.2]
    runs = {
        presets.lite("mlp-16"): [94.5 + s for s in spread],
        presets.lite("mlp-32"): [90.0 + s for s in spread],
        presets.lite("cnn-3369"): [95.6, 95.5],
        presets.lite("cnn-10754"): [97.6],
    }
    evidence = Evidence(Plan(), store(tmp_path, runs), None)
    frame = STUDIES["mnist-lite"].page(evidence).frame
    assert list(frame["verdict"]) == [REPRODUCES, DOES_NOT, "too few seeds", ""]
    assert frame["reference"][0] == "94.50 ± 0.20 (n = 5)"
    assert frame["reference"][3] == "97.60 (n = 1)"


def test_own_runs_stand_beside_the_reference_and_are_held_against_it(tmp_path) -> None:
    run = presets.lite("mlp-16")
    reference = store(tmp_path / "r", {run: [94.4, 94.5, 94.6]})
    own = store(tmp_path / "o", {run: [94.5], presets.lite("mlp-32"): [96.0]})
    frame = STUDIES["mnist-lite"].page(Evidence(Plan(), reference, own)).frame
    assert frame["this machine"][0] == "94.50 (n = 1)"
    assert frame["against the reference"][0] == "+0.10, inside"
    assert frame["against the reference"][1] == ""
    assert "its verdict" not in frame
    same = store(tmp_path / "same", {run: [94.4, 94.5, 94.6, 94.55, 97.0]})
    frame = STUDIES["mnist-lite"].page(Evidence(Plan(), reference, same)).frame
    assert frame["against the reference"][0] == "3 same bits; 1 inside; 1 outside"


def test_the_same_number_with_other_bits_is_not_the_same(tmp_path) -> None:
    run = presets.lite("mlp-16")
    one = store(tmp_path / "r", {run: [94.5]})
    other = record(run, 94.5)
    other.result["curve"][0][2] = 0.2
    own = Store(tmp_path / "o")
    own.put(other)
    frame = STUDIES["mnist-lite"].page(Evidence(Plan(), one, own)).frame
    assert frame["against the reference"][0] == "+0.00, other bits"
    three = store(tmp_path / "r3", {run: [94.5, 94.6, 94.4]})
    own.put(record(run, 97.0))
    frame = STUDIES["mnist-lite"].page(Evidence(Plan(), three, own)).frame
    assert frame["against the reference"][0] == "+2.50, outside"


def test_verdicts_on_this_machine_are_given_and_counted(tmp_path) -> None:
    spread = [-0.2, -0.1, 0.0, 0.1, 0.2]
    runs = {
        presets.lite("mlp-16"): [94.5 + s for s in spread],
        presets.lite("mlp-32"): [90.0 + s for s in spread],
    }
    page = STUDIES["mnist-lite"].page(Evidence(Plan(), None, store(tmp_path, runs)))
    assert list(page.frame["its verdict"]) == [REPRODUCES, DOES_NOT, "", ""]
    assert list(page.data["own_verdict"]) == [REPRODUCES, DOES_NOT, "", ""]
    assert page.verdict == (
        "accuracies: 4 published, 4 not judged yet; "
        "this machine: 1 reproduces, 1 does not, 2 not judged yet"
    )


def test_a_row_that_the_post_does_not_have_is_named_apart(tmp_path) -> None:
    spread = [-0.02, -0.01, 0.0, 0.01, 0.02]
    runs = {presets.tutorial("4b"): [99.1 + s for s in spread],
            presets.tutorial("2"): [98.6 + s for s in spread]}  # fmt: skip
    page = STUDIES["tutorials"].page(Evidence(Plan(), store(tmp_path, runs), None))
    assert page.verdict.endswith(
        "accuracies: 9 published, 1 reproduces, 8 not judged yet; "
        f"row 4b, not in the post: {REPRODUCES}"
    )
    assert "Numbers judged: 2." in page.notes[-1]
    two = page.frame[page.frame["#"] == "2"].iloc[0]
    assert two["claimed accuracy"] == "99% (98.5–99.5)"
    assert two["verdict"] == REPRODUCES
    assert (
        "says 99.0% for row 2; held against that alone, the verdict is: does not" in page.notes[1]
    )


def test_columns_for_this_machine_appear_only_where_it_has_trained(tmp_path) -> None:
    own = store(tmp_path, {presets.lite("mlp-16"): [94.5]})
    evidence = Evidence(Plan(), None, own)
    assert "this machine" in STUDIES["mnist-lite"].page(evidence).frame
    assert "this machine" not in STUDIES["subspace"].page(evidence).frame


def test_quick_runs_are_held_against_the_published_curve_at_the_same_step(tmp_path) -> None:
    run = presets.post("conv", 1_000, 10)
    plan = Plan(profile="quick")
    cut = plan.cut(run)
    assert cut is not None
    evidence = Evidence(plan, store(tmp_path / "r", {run: [70.0]}), store(tmp_path, {cut: [82.0]}))
    page = STUDIES["ultra-small"].page(evidence)
    assert page.frame["reference"][0] == "not run"
    row = page.frame[(page.frame["net"] == "conv") & (page.frame["d"] == "1,000")].iloc[0]
    curves = published.load("post")["ultra-small"]["curves"]
    assert row["post"] == str(curves["conv"]["d1000"][curves["steps"].index(1_000)]) == "84.4"
    assert row["reference"] == "70.00 (n = 1)"
    assert row["this machine"] == "82.00 (n = 1)"
    assert "verdict" not in page.frame
    assert "**Quick run.**" in render.markdown("ultra-small", page, evidence)


def test_the_embedded_digits_get_no_verdicts(tmp_path) -> None:
    run = replace(presets.lite("mlp-16"), dataset="mnist-5k")
    reference = store(tmp_path / "r", {presets.lite("mlp-16"): [94.5, 94.6]})
    own = store(tmp_path / "o", {run: [88.0, 88.5, 87.9, 88.1, 88.0]})
    evidence = Evidence(Plan(dataset="mnist-5k"), reference, own)
    page = STUDIES["mnist-lite"].page(evidence)
    assert set(page.frame["verdict"]) == {""}
    assert page.frame["this machine"][0].startswith("88.10")
    assert set(page.frame["reference"]) == {"not run"}
    assert "MNIST-5k, not MNIST" in render.markdown("mnist-lite", page, evidence)


def committed(path: str) -> bytes:
    """The file as committed (or staged): a reader's own `reproduce` rewrites the one on disk."""
    command = ["git", "-C", str(RESULTS.parent), "show", f":{path}"]
    shown = subprocess.run(command, capture_output=True, check=False)
    return shown.stdout if shown.returncode == 0 else (RESULTS.parent / path).read_bytes()


@pytest.mark.parametrize("name", STUDIES)
def test_committed_tables_rebuild_byte_for_byte(name, tmp_path) -> None:
    evidence = Evidence(Plan(), Store(RESULTS / "records"), None)
    render.write_page(name, evidence, tmp_path)
    for kind in ("md", "csv"):
        file = f"{name}.{kind}"
        assert (tmp_path / file).read_bytes() == committed(f"results/{file}")
    for figure in (tmp_path / "figures").glob("*"):
        assert (RESULTS / "figures" / figure.name).exists()


def test_the_committed_index_rebuilds_byte_for_byte(tmp_path) -> None:
    evidence = Evidence(Plan(), Store(RESULTS / "records"), None)
    for name in STUDIES:
        render.write_page(name, evidence, tmp_path, figures=False)
    for page in RESULTS.glob("*.md"):
        if not (tmp_path / page.name).exists() and page.name != "README.md":
            shutil.copy(page, tmp_path)
    render.write_index(tmp_path)
    assert (tmp_path / "README.md").read_bytes() == committed("results/README.md")


def test_the_index_says_what_the_pages_beside_it_say(tmp_path) -> None:
    """A quick table among full ones: its line alone is of a quick run; claims stay as they were."""
    run = presets.lite("mlp-16")
    own = store(tmp_path / "own", {run: [94.5]})
    full, quick = (Evidence(Plan(profile=p), None, own) for p in ("post", "quick"))
    for name in ("mnist-lite", "subspace", "claims"):
        render.write_page(name, full, tmp_path, figures=False)
    claims = (tmp_path / "claims.md").read_bytes()
    assert render.write_page("mnist-lite", quick, tmp_path, figures=False)
    assert not render.write_page("claims", quick, tmp_path, figures=False)
    assert (tmp_path / "claims.md").read_bytes() == claims
    lines = render.write_index(tmp_path).read_text().splitlines()
    rows = {line.split("](")[1].split(")")[0]: line for line in lines if line.startswith("| [")}
    assert set(rows) == {"mnist-lite.md", "subspace.md", "claims.md"}
    assert "quick run: no verdict" in rows["mnist-lite.md"]
    assert "accuracies: 4 published" in rows["subspace.md"]
    assert "10 sentences, judged by 13 criteria" in rows["claims.md"]
    assert "**Quick run.**" not in "\n".join(lines)


def test_figures_show_the_reference_and_this_machine_apart(tmp_path) -> None:
    run = presets.post("conv", 1_000, 100)
    reference = store(tmp_path / "r", {run: [93.0, 93.2]})
    own = store(tmp_path / "o", {run: [92.0]})
    figure, axes = plt.subplots()
    draw_curves(axes, [Curve("d = 1,000", run)], Evidence(Plan(), reference, own))
    solid, dashed = axes.get_lines()
    assert solid.get_ydata()[-1] == pytest.approx(93.1)
    assert dashed.get_ydata()[-1] == 92.0
    assert dashed.is_dashed()
    assert not solid.is_dashed()
    said = [text.get_text() for text in axes.get_legend().get_texts()]
    assert said == [
        "d = 1,000 (n = 2, 1 here)", "the post", "reference, all seeds", "this machine, mean"
    ]  # fmt: skip
    plt.close(figure)


def test_a_start_fits_where_the_published_curve_is_one_of_its_runs(tmp_path) -> None:
    narrow, wide = presets.lite("mlp-16"), presets.lite("mlp-32")
    values = {narrow: [80.0, 80.5, 79.5, 80.2], wide: [90.0, 90.5, 89.5, 90.2]}
    evidence = Evidence(Plan(), store(tmp_path, values), None)
    steps = list(range(0, 2_201, 100))
    like_wide = Case("conv", "30", (steps, [90.1] * 23), narrow, wide)
    like_narrow = Case("conv", "100", (steps, [math.nan] + [80.1] * 22), narrow, wide)
    alone = Case("fc", "30", (steps, [85.0] * 23), narrow)
    one, two, three = (fit(case, evidence) for case in (like_wide, like_narrow, alone))
    assert None not in (one, two, three)
    assert one.narrow == pytest.approx(10.05)
    assert one.nearer > one.chance
    assert two.nearer < two.chance
    assert three.narrow > three.chance_narrow[-1] == pytest.approx(2 / 3 + 0.0667, abs=1e-3)
    _, shown, numbers = section([like_wide, like_narrow, alone], evidence, 0.3)
    assert "single seed and the reading error: conv d = 30, fc d = 30." in shown
    assert "more than chance gives: d = 30 (" in shown
    assert numbers.count("—") == 3


def test_pages_are_the_same_bytes_twice(tmp_path) -> None:
    run = presets.lite("mlp-16")
    evidence = Evidence(Plan(), store(tmp_path / "r", {run: [94.4, 94.5]}), None)
    first = {p: p.read_bytes() for p in render.write_page("subspace", evidence, tmp_path / "out")}
    shutil.rmtree(tmp_path / "out")
    render.write_page("subspace", evidence, tmp_path / "out")
    assert first == {p: p.read_bytes() for p in first}


@pytest.mark.parametrize("page", ["README.md", "subspace.md"])
def test_the_readme_shows_the_committed_tables(page) -> None:
    text = committed(f"results/{page}").decode().replace("](", "](results/")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) >= 6
    assert "\n".join(rows) in committed("README.md").decode()
