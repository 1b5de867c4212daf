"""Optimizers of PyTorch besides plain AdamW, for model_reference.py."""

import inspect

import torch
from torch.optim import _muon

# The cases whose blocks have matrices of two dimensions in transformers too.
CASES = ("llama", "arcee_tied", "annuli_moe")
MUON_SCALES = {"keller": "original", "moonlight": "match_rms_adamw"}
GROUPS = {  # by part: (factor on the rate, weight decay)
    "attention": (0.5, 0.1),
    "gains": (1.0, 0.05),
    "embedding": (2.0, 0.01),
}


def part_of(name, parameter):
    if parameter.dim() == 1:
        return "biases" if name.endswith(".bias") else "gains"
    if "embed" in name:
        return "embedding"
    if "lm_head" in name:
        return "head"
    if name.endswith("mlp.gate.weight"):
        return "router"
    return "attention" if "self_attn" in name else "feed-forward"


def others(parameters, settings):
    """(name, optimizers that share the step), made when the weights are set;
    `settings` are AdamW's."""
    parts = {name: part_of(name, tensor) for name, tensor in parameters.items()}

    def adamw(names):
        groups = []
        for name in names:
            decay = settings["weight_decay"] if parameters[name].dim() > 1 else 0.0
            groups.append({"params": [parameters[name]], "weight_decay": decay})
        return groups

    in_blocks = [n for n, part in parts.items() if part in ("attention", "feed-forward")]
    rest = [n for n in parameters if n not in in_blocks]
    multiply_in_float()
    for scale, word in MUON_SCALES.items():
        yield f"muon_{scale}", [
            torch.optim.Muon(
                [parameters[n] for n in in_blocks],
                lr=settings["lr"],
                weight_decay=settings["weight_decay"],
                momentum=0.95,
                adjust_lr_fn=word,
            ),
            torch.optim.AdamW(adamw(rest), **settings),
        ]
    groups = adamw(parameters)
    for group, part in zip(groups, parts.values()):
        if part in GROUPS:
            factor, decay = GROUPS[part]
            group |= {"lr": factor * settings["lr"], "weight_decay": decay}
    yield "groups", [torch.optim.AdamW(groups, **settings)]


def multiply_in_float():
    """PyTorch's own steps, without its rounding to bf16, which moves the update by
    2^-9 of itself and more."""
    if getattr(_muon, "multiplies_in_float", False):
        return
    source = inspect.getsource(_muon._zeropower_via_newtonschulz)
    assert "grad.bfloat16()" in source, "torch.optim.Muon has changed"
    exec(source.replace("grad.bfloat16()", "grad.clone()"), _muon.__dict__)
    _muon.multiplies_in_float = True
