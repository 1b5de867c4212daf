"""Growth of a model that is in memory, in anybody's own training loop.

    from annuli.torch import grow, widen

    model, optimizer = grow(model, optimizer, widen(factor=2, noise_snr_db=10))

The recipe, its seeds and the proof are those of `annuli grow`: the child has the
bytes that growing the saved model would give. The optimizer's state follows by the
same recipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch

from . import _memory, _models, _operators, _optimizers
from ._errors import UserError, VerdictError
from ._operators import *

__all__ = ["Grown", "grow"]
__all__ += _operators.__all__

class Grown(tuple[Any, Any]):
    """What `grow` gives back: the pair (child, optimizer), and what is known of it.
    The optimizer is None where none was given.

    verdicts: the checks of the proof, each a dict as in a report of `annuli grow`;
        empty with verify=False.
    lineage: what a lineage.json says, with the record of this growth alone.
    note: why the child is stored in another type than its parent; "" if it is not.
    """

    verdicts: list[dict[str, Any]]
    lineage: dict[str, Any]
    note: str

    @property
    def model(self) -> Any:
        """The child."""
        return self[0]

    @property
    def optimizer(self) -> Any:
        """Its optimizer, or None."""
        return self[1]


def grow(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer | None,
    growth: Growth,
    *,
    seed: int = 0,
    dtype: Literal["f32", "f64", "bf16", "f16"] | None = None,
    probe: torch.Tensor | None = None,
    verify: bool = True,
    allow: Sequence[str] = (),
    loss_budget: float | None = None,
    consume: bool = False,
) -> Grown:
    """Grows a transformers model and its optimizer's state, and proves the child.

    model: a causal language model of transformers, of a family that `annuli grow`
        reads, whole and in the host's memory. Its gradients must be used up.
    optimizer: torch.optim's AdamW, Adam, SGD, Adafactor or Muon over parameters of
        the model; or None.
    growth: what an operator's function makes, such as widen(factor=2).
    seed: of all random numbers; the same seed, the same child.
    dtype: the type to hold weights in (default: the parent's).
    probe: token ids [W, T + 1] of text, on which the child is proved and routers are
        measured (default: random ids, the same every time).
    verify: whether the child is proved.
    allow: names of checks whose failure is let pass.
    loss_budget: nats that the probe's loss may rise by, where the growth does not
        keep the function (default: the operator's).
    consume: let go of the parent's tensors, and its state, as the child is made, so
        that both are never held at once. The parent is of no use afterwards, also
        where the proof fails.

    The child is a model of the same class (of another where the growth needs one)
    whose parameters are the tensors that were made, in training mode if the parent
    is. The new optimizer has the old one's class, hyperparameters and groups: a
    parameter is in the group of the parameter that it comes from, and one that has
    none in the group of the first with as many dimensions; what was not trained is
    not. With dynamics="exact" groups are split, so that their settings can follow the
    recipe; each says by "growth_multipliers" what its own were multiplied by.

    Raises UserError, with nothing changed, where this cannot be done, and
    VerdictError if the child is not what it should be.
    """
    if consume and growth.parents:
        raise UserError(
            "growing in memory: several parents cannot be consumed, for the proof "
            "needs them; expected consume=False"
        )
    source = _models.Source(model)
    keeper = _optimizers.Keeper(optimizer, source, growth.dynamics)
    parents = [source, *(_models.Source(other) for other in growth.parents)]
    opened = _memory.call(
        "open",
        parents=[parent.words() for parent in parents],
        state=keeper.words(),
        operator=growth.operator,
        arguments=growth.arguments,
        seed=seed,
        dtype=dtype or "",
        optimizer=growth.optimizer,
        dynamics=growth.dynamics,
        allow=list(allow),
        prove=verify,
    )
    try:
        return _carry_out(
            opened, source, parents, keeper, probe, verify, allow, loss_budget, consume
        )
    finally:
        _memory.call("close", growth=opened["growth"])


def _carry_out(
    plan: dict[str, Any],
    source: _models.Source,
    parents: Sequence[_models.Source],
    keeper: _optimizers.Keeper,
    probe: torch.Tensor | None,
    verify: bool,
    allow: Sequence[str],
    loss_budget: float | None,
    consume: bool,
) -> Grown:
    def call(verb: str, **order: Any) -> Any:
        return _memory.call(verb, growth=plan["growth"], **order)

    child = _models.skeleton(plan["config"], source.model)
    shapes = _models.tensors_of(child)
    layout = call(
        "lay_out",
        tensors=[{"name": n, "shape": list(t.shape)} for n, t in shapes.items()],
    )
    tensors = {
        name: torch.empty(shape.shape, dtype=_memory.dtype_of(layout["dtypes"][name]))
        for name, shape in shapes.items()
    }
    rows = [row | at for row, at in zip(plan["rows"], layout["rows"], strict=True)]
    keeper.lay_out(rows, tensors)
    call("place", tensors=_memory.all_words(tensors), state=keeper.child_words())
    ids = _ids(probe, source)
    call("look", probe=ids and _memory.words_of("probe", ids[0]), consume=consume)
    freed = _memory.Freed()
    for row in range(len(rows)):
        for number, name in call("make", row=row):
            if consume:
                keeper.release(name)
                freed.add(parents[number].release(name))
    if consume:
        freed.trim()
    verdicts = []
    if verify:
        proof = call("prove", loss_budget=loss_budget, allow=list(allow))
        verdicts = proof["verdicts"]
        if proof["failed"] is not None:
            raise VerdictError(proof["failed"], verdicts, proof)
    lineage = call("record", verdicts=verdicts)
    _models.fill(child, tensors, source, rows)
    grown = Grown((child, keeper.optimizer(child, rows)))
    grown.verdicts, grown.lineage, grown.note = verdicts, lineage, plan["note"]
    return grown


def _ids(
    probe: torch.Tensor | None, source: _models.Source
) -> tuple[torch.Tensor] | None:
    """The probe as the library reads it, in a tuple: a tensor has no truth."""
    if probe is None:
        return None
    vocabulary = int(source.config["vocab_size"])
    if probe.dim() != 2 or probe.shape[1] < 2 or probe.is_floating_point():
        raise UserError(
            f"growing in memory: the probe is {list(probe.shape)} of {probe.dtype}, "
            "expected token ids [W, T + 1]"
        )
    if int(probe.min()) < 0 or int(probe.max()) >= vocabulary:
        raise UserError(
            f"growing in memory: the probe has ids of {int(probe.min())} to "
            f"{int(probe.max())}, expected them in a vocabulary of {vocabulary}"
        )
    return (probe.detach().to("cpu", torch.int64).contiguous(),)
