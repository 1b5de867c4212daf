"""PyTorch's optimizers: their state as the library is told it, and a new one of the
same kind for the child."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from . import _exact, _memory
from ._errors import UserError
from ._models import Source, refuse_gradient, tensors_of

_DOING = "growing in memory"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class _Kind:
    """Which entries of a parameter's state are which parts of the library's.

    factors: Adafactor's, each with its dimension of 1, which the library's have not.
    """

    parts: Mapping[str, str]
    factors: Mapping[str, int] = field(default_factory=dict)


_KINDS: dict[str, _Kind] = {
    "AdamW": _Kind({"exp_avg": "m", "exp_avg_sq": "v"}),
    "Adam": _Kind({"exp_avg": "m", "exp_avg_sq": "v"}),
    "SGD": _Kind({"momentum_buffer": "m"}),
    "Adafactor": _Kind(
        {"variance": "v", "row_var": "v_rows", "col_var": "v_columns"},
        {"row_var": -1, "col_var": -2},
    ),
    "Muon": _Kind({"momentum_buffer": "m"}),
}


def _kind_of(optimizer: torch.optim.Optimizer) -> _Kind:
    name = type(optimizer).__name__
    if type(optimizer) is not getattr(torch.optim, name, None) or name not in _KINDS:
        raise UserError(
            f"{_DOING}: the optimizer is a {type(optimizer).__qualname__}, expected "
            f"one of torch.optim's {', '.join(_KINDS)}"
        )
    if any(group.get("amsgrad") for group in optimizer.param_groups):
        raise UserError(
            f"{_DOING}: found amsgrad, whose largest moments do not follow a growth, "
            "expected an optimizer without it"
        )
    return _KINDS[name]


class Keeper:
    """The state of a parent's optimizer, and the child's that is made of it.

    Without an optimizer it holds nothing.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer | None,
        source: Source,
        dynamics: str,
    ) -> None:
        self._optimizer = optimizer
        self._exact = dynamics == "exact"
        self._source = source
        self._tensors = dict(source.tensors)
        self._group: dict[str, int] = {}
        self._states: dict[str, dict[str, Any]] = {}
        self._steps: dict[str, torch.Tensor] = {}
        self._made: dict[str, dict[str, Any]] = {}
        if optimizer is None:
            for name, tensor in source.tensors.items():
                refuse_gradient(name, tensor)
            return
        self._kind = _kind_of(optimizer)
        self._find_groups(optimizer)
        for name in self._group:
            refuse_gradient(name, self._tensors[name])
            state = optimizer.state.get(self._tensors[name], {})
            entries = [state.get(entry) for entry in self._kind.parts]
            if any(isinstance(held, torch.Tensor) for held in entries):
                self._states[name] = state
                if "step" in state:
                    self._steps[name] = state["step"]

    def _find_groups(self, optimizer: torch.optim.Optimizer) -> None:
        names = {id(tensor): name for name, tensor in self._tensors.items()}
        for number, group in enumerate(optimizer.param_groups):
            for parameter in group["params"]:
                name = names.get(id(parameter))
                if name is None:
                    raise UserError(
                        f"{_DOING}: the optimizer holds a parameter of "
                        f"{list(parameter.shape)} that is not the model's, expected "
                        "only the model's"
                    )
                self._group[name] = number

    def _part(self, entry: str, tensor: torch.Tensor) -> torch.Tensor:
        if entry not in self._kind.factors:
            return tensor
        return tensor.squeeze(self._kind.factors[entry])

    def _words(self, states: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        words: dict[str, list[Any]] = {}
        for name, state in states.items():
            for entry, part in self._kind.parts.items():
                held = state.get(entry)
                if not isinstance(held, torch.Tensor):
                    continue
                if type(held) is not torch.Tensor or held.device.type != "cpu":
                    raise UserError(
                        f"{_DOING}: the optimizer's state of '{name}' is a "
                        f"{type(held).__name__} on {held.device}, expected a plain "
                        "tensor in the host's memory"
                    )
                told = _memory.words_of(name, self._part(entry, held))
                words.setdefault(part, []).append(told)
        return words

    def words(self) -> dict[str, Any]:
        return self._words(self._states)

    def child_words(self) -> dict[str, Any]:
        return self._words(self._made)

    def release(self, name: str) -> None:
        """Lets go of the state of a parent's tensor."""
        self._states.pop(name, None)
        tensor = self._tensors.pop(name)
        if self._optimizer is not None:
            self._optimizer.state.pop(tensor, None)

    def lay_out(self, rows: Sequence[Row], tensors: Mapping[str, torch.Tensor]) -> None:
        """Makes room for the state of each child's tensor whose rows all carry one.
        PyTorch counts steps by tensor: one that is new in part starts anew."""
        parents: dict[str, list[str]] = {}
        rows_of = {row["tensor"]: row for row in rows}
        for row in rows:
            parent = row["parent"] if row["carries"] else ""
            parents.setdefault(row["tensor"], []).append(parent)
        self._refuse_shapes(rows, tensors)
        whole = {row["tensor"]: row["whole"] for row in rows}
        for name, sources in parents.items():
            if any(source not in self._states for source in sources):
                continue
            if self._kind.factors and not (whole[name] and len(sources) == 1):
                raise UserError(
                    f"{_DOING}: the factors of Adafactor's state of '{name}', in which "
                    "experts lie together, cannot follow; expected optimizer='reset'"
                )
            if self._exact:
                self._refuse_bounded(name, rows_of[name])
            self._made[name] = self._room(tensors[name], self._states[sources[0]])
            steps = [self._steps[s] for s in sources if s in self._steps]
            if steps:
                self._made[name]["step"] = max(steps, key=float).clone()

    def _refuse_shapes(
        self, rows: Sequence[Row], tensors: Mapping[str, torch.Tensor]
    ) -> None:
        if not _exact.is_muon(self._optimizer):
            return
        for row in rows:
            tensor = tensors[row["tensor"]]
            if tensor.dim() != 2 and self._number_of([row], tensor) is not None:
                raise UserError(
                    f"{_DOING}: the optimizer is Muon, and '{row['tensor']}' of the "
                    f"child is {list(tensor.shape)}, expected a matrix; grow with "
                    "another optimizer, or none"
                )

    def _refuse_bounded(self, name: str, row: Row) -> None:
        """Adafactor's eps[0] bounds the mean of a matrix' second moments, and, squared,
        each of them. One setting cannot follow a gradient of another scale in both;
        it follows in the first."""
        state = self._states[row["parent"]]
        change = float(row["eps_multiplier"])
        if "row_var" not in state or change == 1:
            return
        assert self._optimizer is not None
        group = self._optimizer.param_groups[self._group[row["parent"]]]
        rows, columns = state["row_var"], state["col_var"]
        eps = _exact.eps_of_adafactor(group["eps"], self._tensors[row["parent"]].dtype)
        seen = [float(x[x > 0].min()) for x in (rows, columns) if bool((x > 0).any())]
        if len(seen) < 2:
            return
        least = seen[0] * seen[1] / max(float(rows.mean()), eps)
        if least < (eps * max(1.0, change)) ** 2:
            raise UserError(
                f"{_DOING}: dynamics is 'exact', and '{name}' has second moments of "
                f"{least:.1e}, below the square of Adafactor's eps[0], {eps:.1e}, which "
                "then cannot follow the gradients' scale; expected an eps[0] below "
                f"{math.sqrt(least) / max(1.0, change):.1e}, or dynamics='plain'"
            )

    def _room(
        self, tensor: torch.Tensor, state: Mapping[str, Any]
    ) -> dict[str, Any]:
        room: dict[str, Any] = {}
        for entry in self._kind.parts:
            held = state.get(entry)
            if not isinstance(held, torch.Tensor):
                continue
            shape = list(tensor.shape)
            if entry in self._kind.factors:
                shape[self._kind.factors[entry]] = 1
            room[entry] = torch.empty(shape, dtype=held.dtype)
        return room

    def _groups_of(
        self, child: torch.nn.Module, rows: Sequence[Row]
    ) -> list[dict[str, Any]]:
        assert self._optimizer is not None
        lines: dict[str, list[Row]] = {}
        for row in rows:
            lines.setdefault(row["tensor"], []).append(row)
        groups: dict[tuple[Any, ...], dict[str, Any]] = {}
        old = self._optimizer.param_groups
        for number, group in enumerate(old):  # also one that stays empty
            if not self._exact:
                groups[(number,)] = _settings(group)
        for name, parameter in tensors_of(child).items():
            place = self._number_of(lines[name], parameter)
            if place is None or not parameter.requires_grad:
                continue
            factors = self._multipliers(name, lines[name], parameter, old[place])
            key = (place, *factors.values())
            if key not in groups:
                settings = _settings(old[place])
                if self._exact:
                    settings = _exact.scaled(settings, factors, parameter.dtype)
                groups[key] = settings
            groups[key]["params"].append(parameter)
        ordered = sorted(groups.items(), key=lambda item: item[0][0])
        return [group for _, group in ordered]

    def _number_of(self, lines: Sequence[Row], parameter: torch.Tensor) -> int | None:
        """The group of what it comes from; None if that is not trained."""
        for row in lines:
            parent = row["parent"] or row["settings_from"]
            if parent:
                return self._group.get(parent)
        alike = [
            number
            for name, number in self._group.items()
            if self._source.dimensions[name] == parameter.dim()
        ]
        return alike[0] if alike else 0

    def _multipliers(
        self,
        name: str,
        lines: Sequence[Row],
        parameter: torch.Tensor,
        group: Mapping[str, Any],
    ) -> _exact.Multipliers:
        """What the settings of a child's parameter are multiplied by."""
        if not self._exact:
            return {}
        assert self._optimizer is not None
        first, *others = (
            _exact.multipliers(self._optimizer, group, row, parameter.shape)
            for row in lines
        )
        if any(other != first for other in others):
            raise UserError(
                f"{_DOING}: parts of '{name}' need different settings for "
                "dynamics='exact', which PyTorch cannot give them; expected "
                "dynamics='plain'"
            )
        return first

    def optimizer(self, child: torch.nn.Module, rows: Sequence[Row]) -> Any:
        """The child's optimizer, with what was carried; None without one."""
        if self._optimizer is None:
            return None
        groups = self._groups_of(child, rows)
        make: Any = type(self._optimizer)
        made = make(groups, lr=self._optimizer.defaults["lr"])
        made.defaults.update(self._optimizer.defaults)
        parameters = tensors_of(child)
        trained = {id(p) for group in groups for p in group["params"]}
        for name, state in self._made.items():
            if id(parameters[name]) in trained:
                made.state[parameters[name]] = state
        return made


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    return {**group, "params": []}
