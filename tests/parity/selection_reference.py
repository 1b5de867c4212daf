"""Selection biases in plain PyTorch, for model_reference.py: a mixture whose experts
are chosen by probability plus bias, trained by AdamW while the biases move by the
experts' load (2408.15664).

steps.safetensors of the case: tokens, targets [S, B, T]; losses [S]; biases
[S + 1, L, E], those at the start and after each step; loads [S, L, E], slots.
"""

import json
import shutil

import torch

from model_cases import EXPERTS, NULLS, SHAPE, UNGATED

CASE = "selection_bias"
# Its own, whatever other cases there are: with some seeds the steps of two programs part
# sooner, where gradients are of pure rounding (model_parity_test.cpp).
SEED = 25
RATE = 0.02  # large enough to change choices within ten steps
NAME = "model.layers.{}.mlp.gate.e_score_correction_bias"


def write(folder, model_reference):
    m = model_reference
    subject = subject_of(m)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    case = subject.loss_coefficients() | {"adamw": m.ADAMW, "selection_bias_rate": RATE}
    (folder / "case.json").write_text(json.dumps(case, indent=2))
    subject.save(folder)
    batches = m.draw_batches(m.STEPS)
    optimizer = torch.optim.AdamW(groups_of(subject, m.ADAMW), **m.ADAMW)
    losses, loads, biases = [], [], [biases_of(subject)]
    for tokens, targets in zip(*batches):
        losses += m.train(subject, (tokens[None], targets[None]), [optimizer])
        loads.append(loads_of(subject))
        move(subject, loads[-1])
        biases.append(biases_of(subject))
    steps = dict(zip(("tokens", "targets"), batches)) | {
        "losses": torch.stack(losses),
        "biases": torch.stack(biases),
        "loads": torch.stack(loads),
    }
    # What is measured must be there: biases that change choices, loads that move.
    assert (steps["biases"][-1] - steps["biases"][0]).abs().max() >= 4 * RATE
    m.save(folder / "steps.safetensors", steps)
    print(f"{CASE}: {len(subject.weights)} tensors", flush=True)


def subject_of(m):
    class Selected(m.Plain):
        def parameters(self):
            return [t for name, t in self.weights.items() if "e_score" not in name]

    config = SHAPE | UNGATED | EXPERTS | dict(num_experts=5, selection_bias=True)
    subject = Selected({k: v for k, v in config.items() if v is not None or k in NULLS})
    for layer in range(config["num_hidden_layers"]):
        subject.weights[NAME.format(layer)] = 0.1 * torch.randn(5)
    return subject


def groups_of(subject, settings):
    """Decay acts on matrices alone."""
    return [
        {"params": [t], "weight_decay": settings["weight_decay"] if t.dim() > 1 else 0.0}
        for t in subject.parameters()
    ]


def biases_of(subject):
    layers = subject.config["num_hidden_layers"]
    return torch.stack([subject.weights[NAME.format(i)].clone() for i in range(layers)])


def loads_of(subject):
    experts = subject.config["num_experts"]
    counts = [r.experts.flatten().bincount(minlength=experts) for r in subject.reference.routings]
    return torch.stack(counts)


def move(subject, loads):
    for layer, load in enumerate(loads):
        load = load.double()
        subject.weights[NAME.format(layer)] += RATE * (load.mean() - load).sign().float()
