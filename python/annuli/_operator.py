"""What an operator's function makes: a growth that is named, but not carried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Growth:
    """An operator with its options, as `annuli.torch.widen(factor=2)` gives it.

    `optimizer` and `dynamics` are the two options that every operator has: what
    becomes of the optimizer's state, and whether learning rates follow the growth.
    `parents` are the further models of a merge.
    """

    operator: str
    arguments: Any
    optimizer: str = "carry"
    dynamics: str = "plain"
    parents: Sequence[torch.nn.Module] = field(default=(), repr=False)


def growth(
    operator: str,
    options: Mapping[str, Any],
    optimizer: str | None,
    dynamics: str | None,
    parents: Sequence[torch.nn.Module] = (),
) -> Growth:
    """Options that are None or False are not given; "none" is no value."""
    arguments = {
        name: None if value == "none" else _plain(value)
        for name, value in options.items()
        if value is not None and value is not False
    }
    return Growth(
        operator,
        arguments,
        optimizer or "carry",
        dynamics or "plain",
        parents,
    )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


def chain(
    steps: Sequence[Growth],
    *,
    optimizer: str | None = None,
    dynamics: str | None = None,
) -> Growth:
    """Several operators that count as one growth, in this order.

    optimizer, dynamics: of the whole chain; those of its steps are not looked at.
    """
    return Growth(
        "chain",
        [{step.operator: step.arguments} for step in steps],
        optimizer or "carry",
        dynamics or "plain",
        steps[0].parents if steps else (),
    )
