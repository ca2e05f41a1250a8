"""Subspace with PEFT, the Trainer of transformers and Lightning, as in the examples and `speed`."""

from __future__ import annotations

import importlib.util
import inspect
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn
from wrapped_modules import plain_gradient

from benchmarks import speed_subspace
from subspace_bench import projectors
from subspace_bench.dimension.measure import measure
from subspace_bench.dimension.plan import Plan
from subspace_bench.dimension.task import load
from subspace_bench.subspace import Subspace

EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = [
    pytest.mark.slow,  # importing these packages takes ten seconds
    pytest.mark.filterwarnings("ignore"),  # theirs differ from version to version
]


@pytest.fixture(autouse=True)
def offline_in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # transformers would take the folder tests/datasets for the package `datasets`.
    path = [entry for entry in sys.path if Path(entry) != EXAMPLES.parent / "tests"]
    monkeypatch.setattr(sys, "path", path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def example(name: str, *needed: str) -> ModuleType:
    """A module of examples/; skips the test if a package that it needs is missing."""
    for package in needed:
        pytest.importorskip(package, reason=f"needs {package}: pip install -e '.[integrations]'")
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_uni_lora_trains_and_becomes_an_ordinary_adapter(tmp_path) -> None:
    lora = example("lora", "peft", "transformers")
    losses = lora.main(str(tmp_path), steps=20)
    assert losses[-1] < losses[0] - 1
    assert (tmp_path / "adapter_model.safetensors").exists()


def test_methods_of_the_page_speed_train_what_they_say() -> None:
    pytest.importorskip("peft")
    net = speed_subspace.Net(
        "tiny", lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), (2, 1, 28, 28), 1
    )
    trained = {
        name: speed_subspace.Training(module, net.shape)
        for name, module in speed_subspace.methods(net)
    }
    assert len(trained) >= 5
    for name, training in trained.items():
        before = [p.detach().clone() for p in training.trained]
        training.step()
        assert sum(p.numel() for p in training.trained) == 7850 or name != speed_subspace.PLAIN
        assert any(not torch.equal(a, b) for a, b in zip(before, training.trained, strict=True))
    assert speed_subspace.in_turns(trained, 2, 1)["hashed"].shape == (2, 2)


@pytest.mark.parametrize("projector", projectors.names())
def test_every_projector_spans_the_factors_of_lora_alone(projector: str) -> None:
    lora = example("lora", "peft", "transformers")
    net = lora.lora_in_subspace(10, projector).eval()
    factors = [p for name, p in net.module.named_parameters() if "lora_" in name]
    assert net.projector.native == sum(p.numel() for p in factors) == 4352
    text = torch.arange(24).reshape(2, 12)
    with torch.no_grad():
        net.omega.normal_(generator=torch.Generator().manual_seed(1))
    expected, gradient = plain_gradient(net, lambda module: module(text).logits)
    logits = net(text).logits
    torch.testing.assert_close(logits, expected)
    logits.square().sum().backward()
    torch.testing.assert_close(net.omega.grad, gradient, rtol=1e-4, atol=1e-4)


def test_fine_tuning_in_d_numbers() -> None:
    found = example("fine_tune_in_d_numbers", "peft").main((13, 1_200), (0.03,), epochs=1)
    trained = {key: count for key, (count, _) in found.items()}
    assert trained == {
        ("Subspace", 13): 13, ("Uni-LoRA", 13): 13, ("TinyLoRA", 13): 13,
        ("Subspace", 1_200): 1_200, ("LoRA", 1_200): 1_194, ("VeRA", 1_200): 1_200,
        ("Uni-LoRA", 1_200): 1_200, ("TinyLoRA", 1_200): 1_200,
    }  # fmt: skip
    assert found["Subspace", 1_200][1] > found["Subspace", 13][1]


def test_trainer_resumes_exactly(tmp_path) -> None:
    trainer = example("huggingface_trainer", "transformers", "accelerate")
    whole, resumed = trainer.language_model_in_subspace(), trainer.language_model_in_subspace()
    trainer.trainer(str(tmp_path), whole, steps=6).train()
    again = trainer.trainer(str(tmp_path / "again"), resumed, steps=6)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert whole.omega.any()
    assert torch.equal(resumed.omega, whole.omega)
    assert torch.isfinite(torch.tensor(again.evaluate()["eval_loss"]))
    assert "input_ids" in inspect.signature(whole.forward).parameters

    text = torch.tensor([[0, 1, 2]])
    tokens = whole.eval().module.generate(text, max_new_tokens=4, do_sample=False)
    merged = whole.merge()
    assert torch.equal(tokens, merged.generate(text, max_new_tokens=4, do_sample=False))
    torch.testing.assert_close(whole(text).logits, merged(text).logits)


def test_lightning_resumes_exactly(tmp_path) -> None:
    lightning = example("lightning_trainer", "lightning")
    whole, loss = lightning.fit(str(tmp_path), epochs=3)
    resumed, again = lightning.fit(str(tmp_path), epochs=3, resume=str(tmp_path / "epoch=1.ckpt"))
    assert whole.net.omega.any()
    assert torch.equal(resumed.net.omega, whole.net.omega)
    assert again == loss
    loaded = lightning.Classifier.load_from_checkpoint(tmp_path / "epoch=2.ckpt").net
    assert isinstance(loaded, Subspace)
    x = torch.randn(4, 6)
    assert torch.equal(loaded.eval()(x), whole.net.eval()(x))


def test_a_transformer_is_a_task(tmp_path) -> None:
    pytest.importorskip("transformers", reason="needs pip install -e '.[integrations]'")
    text, path = (EXAMPLES / "dimension_transformer.py").read_text(), tmp_path / "shorter.py"
    path.write_text(text.replace("200", "100"))  # half of the steps
    task = load(str(path))
    result = measure(task, Plan(threshold=0.9, trainings=5))
    assert result.native == 13_536
    assert min(result.baseline) > 0.9
    assert result.interval[0] > 10
    assert all(math.isfinite(score) for score in result.curve["score"])
