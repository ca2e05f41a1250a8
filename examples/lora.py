"""Uni-LoRA with any projector: LoRA's factors, spanned by a subspace.

Uni-LoRA (arXiv 2506.00799) trains d numbers that a fixed map spreads over the factors of LoRA. PEFT
makes the factors the only trainable parameters of a model, so `Subspace` spans them. The result is
an ordinary adapter. Run it with `pip install peft transformers && python examples/lora.py`.
"""

import sys
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from subspace_bench import Subspace


def language_model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"vocab_size": 32, "hidden_size": 32, "intermediate_size": 64}
    depth = {"num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.2}
    return LlamaForCausalLM(LlamaConfig(**sizes, **depth))


def lora_in_subspace(dim: int, projector: str) -> Subspace:
    config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    return Subspace(get_peft_model(language_model(), config), dim, projector)


def main(folder: str, projector: str = "hashed", dim: int = 100, steps: int = 60) -> list[float]:
    """Learns a text by heart and saves the adapter; returns the losses."""
    net = lora_in_subspace(dim, projector)
    text = torch.randint(32, (4, 12), generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = net(input_ids=text, labels=text).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    net.merge().save_pretrained(folder)  # at θ; the state of `net.module` is θ₀
    adapter = PeftModel.from_pretrained(language_model(), folder)
    torch.testing.assert_close(adapter(text).logits, net.eval()(text).logits)
    print(f"D = {net.projector.native}, d = {dim}: loss {losses[0]:.2f} → {losses[-1]:.2f}")
    return losses


if __name__ == "__main__":
    main(tempfile.mkdtemp(), *sys.argv[1:])
