"""Growth on the way of a transformers `Trainer`.

    from annuli.torch import widen
    from annuli.transformers import GrowthCallback

    trainer.add_callback(GrowthCallback(widen(factor=2), at_step=1000))
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
import transformers

from ._errors import UserError
from ._operators import Growth
from ._whole_groups import join, parts_of, split_in_steps
from .torch import grow

__all__ = ["GrowthCallback"]

_DOING = "growing in a Trainer"


class GrowthCallback(transformers.TrainerCallback):
    """Grows the model of a Trainer before the step that follows `at_step` steps, or
    once the loss has stopped to fall.

    growth: what an operator's function makes. With dynamics="exact" the groups stay
        those that the Trainer made, for its scheduler and its checkpoints: they are
        split for each step alone.
    at_step: after how many steps of the optimizer.
    patience: with how many losses of the log, one after the other, none of which is
        below the lowest before by `least_fall`, the model grows. They count anew
        after each growth. Either this or at_step is given.
    least_fall: nats.
    options: of `annuli.torch.grow`: seed, probe, allow, ...

    The model grows in its place: it stays the same object, so that whoever holds it
    sees the child, whose class may be another; so do the Trainer's optimizer and its
    scheduler. Hooks on the model itself are lost. A growth is an entry of the
    Trainer's log_history, {"step": 1000, "growth": "widen", "growth_verdicts": 12},
    which checkpoints keep: one that was done is not done again.

    To go on from a checkpoint give the Trainer the model that the checkpoint holds,
    `AutoModelForCausalLM.from_pretrained(checkpoint)`, and the same callbacks.

    Raises UserError, before anything is changed, where the Trainer has several
    processes or devices, or compiles, and for what `annuli.torch.grow` refuses;
    VerdictError for a child that is not what it should be. Both come out of
    `Trainer.train`.
    """

    def __init__(
        self,
        growth: Growth,
        *,
        at_step: int | None = None,
        patience: int | None = None,
        least_fall: float = 0.0,
        **options: Any,
    ) -> None:
        if (at_step is None) == (patience is None):
            raise UserError(f"{_DOING}: expected one of at_step and patience")
        if growth.parents:
            raise UserError(f"{_DOING}: found several parents, expected one")
        self.growth = growth
        self.at_step = at_step
        self.patience = patience
        self.least_fall = least_fall
        self.options = options

    def on_train_begin(
        self, args: Any, state: Any, control: Any, **kwargs: Any
    ) -> None:
        """Called by the Trainer, when it has loaded what it resumes from."""
        split_in_steps(kwargs["optimizer"].optimizer)

    def on_step_begin(
        self, args: Any, state: Any, control: Any, **kwargs: Any
    ) -> None:
        """Called by the Trainer, when the last step's gradients are gone."""
        if self._is_done(state.log_history) or not self._is_time(state):
            return
        _refuse_wrapped(args)
        verdicts = self._grow(
            kwargs["model"], kwargs["optimizer"], int(state.global_step)
        )
        state.log_history.append(
            {
                "step": state.global_step,
                "growth": self._name(),
                "growth_verdicts": verdicts,
            }
        )

    def _name(self) -> str:
        when = f"at {self.at_step}" if self.patience is None else "when flat"
        return f"{self.growth.operator} {when}"

    def _is_done(self, history: list[dict[str, Any]]) -> bool:
        return any(entry.get("growth") == self._name() for entry in history)

    def _is_time(self, state: Any) -> bool:
        if self.at_step is not None:
            return bool(state.global_step >= self.at_step)
        assert self.patience is not None
        losses: list[float] = []
        for entry in state.log_history:
            if "growth" in entry:
                losses = []
            elif "loss" in entry:
                losses.append(float(entry["loss"]))
        before, since = losses[: -self.patience], losses[-self.patience :]
        return bool(before) and min(since) > min(before) - self.least_fall

    def _grow(self, model: Any, wrapped: Any, step: int) -> int:
        if getattr(wrapped, "scaler", None) is not None:
            raise UserError(
                f"{_DOING}: found a gradient scaler (fp16), expected fp32 or bf16"
            )
        optimizer = wrapped.optimizer
        wholes = optimizer.param_groups
        optimizer.param_groups = parts_of(wholes)
        try:
            grown = grow(model, optimizer, self.growth, **self.options)
        finally:
            optimizer.param_groups = wholes
        forward = model.__dict__.get("forward")
        _become(model, grown.model)
        join(grown.optimizer, wholes, model)
        split_in_steps(grown.optimizer)
        if forward is not None:
            _wrap_forward_again(model)
        wrapped.__init__(grown.optimizer, device_placement=False, scaler=None)
        return len(grown.verdicts)


def _refuse_wrapped(args: Any) -> None:
    """Whoever wraps the model keeps its parameters, which are new after a growth."""
    several = max(int(args.world_size), int(args.n_gpu))
    if several > 1:
        raise UserError(
            f"{_DOING}: found {several} processes or devices, expected one"
        )
    if args.torch_compile:
        raise UserError(f"{_DOING}: found torch_compile, expected a plain model")


def _become(model: torch.nn.Module, child: torch.nn.Module) -> None:
    model.__class__ = child.__class__
    model.__dict__.clear()
    model.__dict__.update(child.__dict__)


def _wrap_forward_again(model: Any) -> None:
    """As accelerate does it once, where training is in mixed precision."""
    accelerate = importlib.import_module("accelerate")
    accelerate.Accelerator().prepare_model(model, device_placement=False)
