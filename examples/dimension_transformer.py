"""How many numbers does a small GPT-2 need to learn to repeat the first token?

subspace-bench dimension examples/dimension_transformer.py --threshold 0.9
"""

import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel


def build(seed):
    config = GPT2Config(vocab_size=16, n_positions=8, n_embd=32, n_layer=1, n_head=2,
                        bos_token_id=0, eos_token_id=0)  # fmt: skip
    return GPT2LMHeadModel(config)


def train(net, seed):
    tokens = torch.randint(16, (4_096, 8), generator=torch.Generator().manual_seed(seed))
    fit, test = tokens[:3_072], tokens[3_072:]
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=200)
    for step in range(200):
        batch = fit[torch.arange(64 * step, 64 * step + 64) % len(fit)]
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(batch).logits[:, -1], batch[:, 0]).backward()
        optimizer.step()
        schedule.step()
    net.eval()
    with torch.no_grad():
        return (net(test).logits[:, -1].argmax(1) == test[:, 0]).float().mean().item()
