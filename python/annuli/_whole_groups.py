"""Groups that are split by what growth has multiplied their settings by for no longer
than a step of the optimizer: whoever holds groups, a scheduler or a Trainer, sees those
that it made, and a checkpoint has them.

A whole group has, under `_exact.KEY`, a list: the multipliers of each parameter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from . import _exact

Group = dict[str, Any]

_NUMBER = "whole_group"


def parts_of(wholes: Sequence[Group]) -> list[Group]:
    """Groups whose settings are their parameters', each with its whole's number."""
    parts: list[Group] = []
    for number, whole in enumerate(wholes):
        parts += _parts(whole, number)
    return parts


def _parts(whole: Group, number: int) -> list[Group]:
    settings = {**whole, "params": [], _NUMBER: number}
    of_each = settings.pop(_exact.KEY, None)
    if of_each is None:
        return [{**settings, "params": whole["params"]}]
    parts: dict[tuple[Any, ...], Group] = {}
    for parameter, factors in zip(whole["params"], of_each, strict=True):
        key = tuple(factors.values())
        if key not in parts:
            made = _exact.scaled(settings, factors, parameter.dtype)
            parts[key] = {**made, "params": []}
        parts[key]["params"].append(parameter)
    return list(parts.values())


def join(
    optimizer: torch.optim.Optimizer,
    wholes: Sequence[Group],
    model: torch.nn.Module,
) -> None:
    """Makes the optimizer's groups, which are parts of `wholes`, whole ones again, with
    their parameters in the order of the model's."""
    place = {id(p): i for i, p in enumerate(model.parameters())}
    found: list[list[tuple[int, Any, Any]]] = [[] for _ in wholes]
    for part in optimizer.param_groups:
        for parameter in part["params"]:
            found[part[_NUMBER]].append(
                (place[id(parameter)], parameter, part.get(_exact.KEY, {}))
            )
    optimizer.param_groups = [
        _whole(settings, sorted(entries, key=lambda entry: entry[0]))
        for settings, entries in zip(wholes, found, strict=True)
    ]


def _whole(settings: Mapping[str, Any], entries: Sequence[Any]) -> Group:
    whole = {**settings, "params": [parameter for _, parameter, _ in entries]}
    whole.pop(_exact.KEY, None)
    multipliers = [factors for _, _, factors in entries]
    if any(multipliers):
        whole[_exact.KEY] = multipliers
    return whole


class _Splitter:
    """Splits the groups of one optimizer before a step, and puts them back behind it."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._wholes: list[Group] = []
        self._parts: list[Group] = []
        optimizer.register_step_pre_hook(self._split)
        optimizer.register_step_post_hook(self._put_back)

    def _split(self, optimizer: Any, *_: Any) -> None:
        if optimizer.param_groups is not self._parts:  # as after a step that failed
            self._wholes = optimizer.param_groups
        self._parts = optimizer.param_groups = parts_of(self._wholes)

    def _put_back(self, optimizer: Any, *_: Any) -> None:
        optimizer.param_groups = self._wholes


def split_in_steps(optimizer: torch.optim.Optimizer) -> None:
    """From now on, if any of its groups has multipliers and it is not so yet."""
    held: Any = optimizer
    if any(_exact.KEY in group for group in held.param_groups):
        if not hasattr(held, "_annuli_splitter"):
            held._annuli_splitter = _Splitter(held)
