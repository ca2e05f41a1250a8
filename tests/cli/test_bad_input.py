"""Bad input ends with one line and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command_line import run

HUGE = 10**320
BAD = {
    "page": ("reproduce nosuch", "unknown page 'nosuch'"),
    "page to report": ("report nosuch", "unknown page 'nosuch'"),
    "profile": ("reproduce --profile slow", "unknown profile 'slow'"),
    "device": ("reproduce --device tpu", "unknown device 'tpu'"),
    "seeds": ("reproduce --seeds -1", "--seeds is -1"),
    "seeds no number": ("reproduce --seeds many", "--seeds"),
    "jobs": ("reproduce --jobs 0", "--jobs is 0"),
    "executor": ("reproduce --executor nosuch", "unknown executor 'nosuch'"),
    "address without Ray": ("reproduce --address localhost:1", "--executor ray"),
    "too many seeds": ("reproduce --seeds 100000", "--seeds is 100000"),
    "endless jobs": (f"reproduce --jobs {HUGE}", "--jobs is 1"),
    "endless seed": (f"train --seed {HUGE}", "--seed is 1"),
    "endless steps": (f"train --steps {HUGE}", "--steps is 1"),
    "endless d": (f"train --dim {HUGE}", "dim is 1"),
    "too many threads": ("train --threads 100000", "--threads is 100000"),
    "more digits than Python reads": (f"train --seed {'1' * 5_000}", "--seed"),
    "endless D": (f"compare --native {HUGE} --plan", "--native is 1"),
    "endless d to compare": (f"compare --dims {HUGE} --plan", "--dims is 1"),
    "endless repeat": (f"compare --repeat {HUGE}", "--repeat is 1"),
    "endless minutes": ("compare --minutes inf", "--minutes is inf"),
    "too many seeds of a reference": (f"check --seeds {HUGE}", "--seeds is 1"),
    "endless first seed": (f"check --first-seed {HUGE}", "--first-seed is 1"),
    "a folder for a reference": ("check --update-reference --reference .", "--reference is ."),
    "a folder for a report": ("check --report {tmp}/folder.md", "--report is"),
    "command": ("nosuch", "nosuch"),
    "option": ("train --bogus 3", "--bogus"),
    "model": ("train --model nope", "unknown model 'nope'"),
    "projector": ("train --dim 3 --projector nope", "unknown projector 'nope'"),
    "d too small": ("train --dim 0", "from 1 to 21,840"),
    "d too large": ("train --dim 21841", "from 1 to 21,840"),
    "seed": ("train --seed -1", "--seed is -1"),
    "steps": ("train --steps 0", "--steps is 0"),
    "rate": ("train --lr nan", "--lr is nan"),
    "endless rate": ("train --lr inf", "--lr is inf"),
    "no rate": ("train --lr 0", "--lr is 0"),
    "init that is zero": ("train --dim 3 --init zeros", "use another --init"),
    "memory": ("train --model tutorial-9 --dim 3274634", "use a smaller --dim"),
    "init": ("train --init nope", "--init nope"),
    "origin": ("train --dim 3 --origin zero --projector gaussian", "--origin init"),
    "dataset": ("train --dataset nope --steps 1", "unknown dataset 'nope'"),
    "data": ("train --steps 1 --data {tmp}", "has no train-images-idx3-ubyte"),
    "dataset to fetch": ("data --dataset nope", "unknown dataset 'nope'"),
    "out is a file": ("reproduce --out {tmp}/file", "cannot write"),
    "out to report is a file": ("report --out {tmp}/file/below", "cannot write"),
    "out that no one can make": ("train --steps 1 --out /proc/nosuch", "cannot write"),
    "reference": ("check --reference {tmp}/no.toml", "no.toml"),
    "alpha": ("check --alpha 1.5", "--alpha"),
    "seeds of a reference": ("check --seeds 5 --update-reference", "--seeds"),
    "jobs of a check": ("check --jobs 0", "--jobs"),
    "first seed": ("check --first-seed 5", "--first-seed"),
    "report below a file": ("check --report {tmp}/file/check.md", "--report"),
    "two kinds of check": ("check --update-reference --bitwise", "--bitwise"),
    "projector to time": ("compare --projectors nope", "unknown projector 'nope'"),
    "D to time": ("compare --native ten", "--native"),
    "d to time": ("compare --native 10 --dims 11", "d is at most D"),
    "dtype": ("compare --dtype int8", "unknown dtype 'int8'"),
    "device to time": ("compare --device tpu", "unknown device 'tpu'"),
    "device of a page": ("compare --device tpu --rebuild", "unknown device 'tpu'"),
    "samples": ("compare --repeat 0", "--repeat is 0"),
    "half a character": ("list --out \ud800", r"'\ud800'"),
    "a null byte": ("list --out \0", r"'\x00'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_code_2(name: str, call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.md").mkdir()
    arguments, message = BAD[name]
    words = arguments.format(tmp=tmp_path).split()
    needs_place = words[0] in ("reproduce", "train", "report", "compare") and "--out" not in words
    code, _, err = call(*words, *(["--out", str(tmp_path / "out")] if needs_place else []))
    assert code == 2
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("arguments", ["train --bogus 3", "train --steps 0"])
def test_a_process_of_its_own_shows_no_traceback_either(arguments: str, tmp_path: Path) -> None:
    done = run(*arguments.split(), "--out", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_an_absent_cuda_device_is_said(call, tmp_path: Path) -> None:
    code, _, err = call("reproduce", "--device", "cuda", "--out", str(tmp_path / "out"))
    assert code == 2
    assert err.count("\n") == 1
    assert "--device cpu" in err
