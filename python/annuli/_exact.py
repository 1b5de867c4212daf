"""The settings of PyTorch's optimizers with which a child trains as its parent does.

A recipe says what a tensor's weights and its gradients are multiplied by, `s` and `g`
(docs/operators.md, "The one formula"): the child's updates must be the parent's, tiled,
times `s`, while its optimizer sees gradients times `g`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

# What the settings of these names are multiplied by; of Adafactor's eps, a pair.
Multipliers = dict[str, Any]

# The key of a group that says what its settings have been multiplied by.
KEY = "growth_multipliers"


def multipliers(
    optimizer: torch.optim.Optimizer,
    group: Mapping[str, Any],
    row: Mapping[str, Any],
    shape: Sequence[int],
) -> Multipliers:
    """Of the child's tensor of `shape`, made by `row`, where the parent's is in `group`."""
    s, g = float(row["lr_multiplier"]), float(row["eps_multiplier"])
    decay = float(row["weight_decay_multiplier"])
    if isinstance(optimizer, torch.optim.SGD):
        # Weight decay is part of the gradient, and the step has the gradient's size.
        return {"lr": s / g, "weight_decay": decay * g}
    if isinstance(optimizer, torch.optim.Adafactor):
        # The rate is relative to the weights. eps[0] bounds second moments of a
        # matrix as a mean of squares, those of a vector as a root.
        first = g if len(shape) < 2 else g * g
        return {"eps": (first, s), "weight_decay": s * decay}
    if is_muon(optimizer):
        return _of_muon(group, row, shape)
    decoupled = isinstance(optimizer, torch.optim.AdamW) or group.get(
        "decoupled_weight_decay", False
    )
    return {"lr": s, "eps": g, "weight_decay": decay if decoupled else decay * g}


def is_muon(optimizer: torch.optim.Optimizer | None) -> bool:
    return type(optimizer).__name__ == "Muon"  # which older torch does not have


def _of_muon(
    group: Mapping[str, Any], row: Mapping[str, Any], shape: Sequence[int]
) -> Multipliers:
    """A matrix that is laid `a` times below and `b` times beside itself has the norm
    times sqrt(a b), and the tile of the orthogonal factor over sqrt(a b). The factor
    that the shape asks for must be that of the repeated matrix. PyTorch multiplies
    weight decay by the rate without it."""
    s, g = float(row["lr_multiplier"]), float(row["eps_multiplier"])
    a, b = int(row["row_copies"]), int(row["column_copies"])
    rows, columns = shape
    repeats = math.sqrt(a * b)
    before = _shape_factor(group, rows / a, columns / b)
    rate = s * repeats * before / _shape_factor(group, rows, columns)
    decay = s * float(row["weight_decay_multiplier"]) / rate
    return {"lr": rate, "eps": g * repeats, "weight_decay": decay}


def _shape_factor(group: Mapping[str, Any], rows: float, columns: float) -> float:
    """As torch.optim.Muon."""
    if group.get("adjust_lr_fn") == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns))


def scaled(
    group: Mapping[str, Any], factors: Multipliers, dtype: torch.dtype
) -> dict[str, Any]:
    """The group with these multipliers, which it says by `KEY`. dtype: of its
    parameters."""
    made = dict(group)
    for key, factor in factors.items():
        if key == "lr":
            for rate in ("lr", "initial_lr"):
                if rate in made:
                    made[rate] = made[rate] * factor
        elif isinstance(factor, tuple):
            made[key] = _pair(made[key], factor, dtype)
        else:
            made[key] = made[key] * factor
    made[KEY] = _product(group.get(KEY, {}), factors)
    return made


def _pair(
    eps: Sequence[float | None], factors: Sequence[float], dtype: torch.dtype
) -> tuple[float | None, float]:
    first, second = eps
    assert second is not None
    if factors[0] != 1:
        first = eps_of_adafactor(eps, dtype) * factors[0]
    return first, second * factors[1]


def eps_of_adafactor(eps: Sequence[float | None], dtype: torch.dtype) -> float:
    """The first of the two, None is torch's default."""
    return torch.finfo(dtype).eps if eps[0] is None else float(eps[0])


def _product(a: Multipliers, b: Multipliers) -> Multipliers:
    """Both of one optimizer, or one of them empty."""
    if not a:
        return dict(b)
    return {
        key: tuple(x * y for x, y in zip(a[key], factor, strict=True))
        if isinstance(factor, tuple)
        else a[key] * factor
        for key, factor in b.items()
    }
