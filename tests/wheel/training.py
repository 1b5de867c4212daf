"""Tiny models of every family in a training loop, for the tests of the package."""

import sys
import types
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "interop"))
import families  # noqa: E402


def ids(rows=4, length=16, seed=7):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, families.V, (rows, length), generator=generator)


def norm_in_double(self, x):
    """RMSNorm in the type of its input; transformers' own is in fp32."""
    mean = x.square().mean(-1, keepdim=True)
    return self.weight * x * torch.rsqrt(mean + self.variance_epsilon)


def in_double(model):
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = types.MethodType(norm_in_double, module)
    return model


def train(model, optimizer, steps, seed=11):
    """The loss of each step."""
    losses = []
    for step in range(steps):
        batch = ids(seed=seed + step)
        logits = model(input_ids=batch, use_cache=False).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    optimizer.zero_grad()
    return losses


def adamw(model, lr=1e-3):
    decay = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() < 2]
    return torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
        lr=lr, eps=1e-6)
