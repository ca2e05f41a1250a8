"""`Subspace` in the Trainer of transformers: `pip install transformers accelerate` and run it."""

import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from subspace_bench import Subspace


class Counting(torch.utils.data.Dataset):
    """Counts modulo 50, in steps of 1 to 8; `length` is a column that the model does not take."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        text = (i + (i % 8 + 1) * torch.arange(10)) % 50
        return {"input_ids": text, "labels": text, "length": torch.tensor(10)}


def language_model_in_subspace() -> Subspace:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=2, eos_token_id=0)
    return Subspace(GPT2LMHeadModel(config), dim=200, projector="hashed")


def trainer(folder: str, net: Subspace, steps: int = 12) -> Trainer:
    arguments = TrainingArguments(
        folder,
        learning_rate=0.05,
        max_steps=steps,
        save_steps=4,
        label_names=["labels"],  # Trainer looks them up in the class, which is Subspace
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )
    return Trainer(net, arguments, train_dataset=Counting(), eval_dataset=Counting())


if __name__ == "__main__":
    folder = tempfile.mkdtemp()
    net = language_model_in_subspace()
    trainer(folder, net).train()
    again = language_model_in_subspace()
    trainer(folder, again).train(resume_from_checkpoint=f"{folder}/checkpoint-4")
    assert torch.equal(net.omega, again.omega)
    print(trainer(folder, again).evaluate()["eval_loss"])
    print(net.module.generate(torch.tensor([[0, 1, 2]]), max_new_tokens=5, do_sample=False))
