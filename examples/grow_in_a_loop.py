"""Trains a small language model by plain PyTorch, and grows it on the way: wider at
step 20, deeper at step 40. `python grow_in_a_loop.py TEXT...` reads files as bytes.
"""

import sys
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from annuli.torch import deepen, grow, widen

STEPS, BATCH, LENGTH = 60, 8, 64
GROWTHS = {20: widen(factor=2, noise_snr_db=10), 40: deepen(add_layers=2)}

text = b"".join(Path(name).read_bytes() for name in sys.argv[1:])
tokens = torch.tensor(list(text))
torch.manual_seed(0)
model: torch.nn.Module = LlamaForCausalLM(LlamaConfig(
    vocab_size=256, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)


def batch() -> torch.Tensor:
    starts = torch.randint(len(tokens) - LENGTH, (BATCH,))
    return torch.stack([tokens[i : i + LENGTH] for i in starts.tolist()])


for step in range(STEPS):
    if step in GROWTHS:
        grown = grow(model, optimizer, GROWTHS[step], probe=batch())
        model, optimizer = grown
        size = sum(parameter.numel() for parameter in model.parameters())
        print(f"step {step}: {size} parameters, {len(grown.verdicts)} checks passed")
    ids = batch()
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(f"step {step}: loss {loss.item():.4f}")
