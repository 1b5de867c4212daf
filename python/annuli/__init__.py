"""Annuli grows language models while they train, and proves every step.

This module calls the program `annuli`, which lies beside it: every function is a
process, every option has the name that it has on the command line, and nothing of
torch is imported. (`annuli.torch` and `annuli.transformers`, which are imported by
themselves, grow models in memory.) What the program refuses is raised, with the one
line that it prints: see `Error` and what derives from it.

    import annuli

    annuli.grow.widen("SmolLM2-135M", out="wide", factor=2)
    annuli.run("plan.yaml", out="runs/mine", on_record=print)
    annuli.history("runs/mine")
"""

from . import _verbs, grow
from ._errors import Error, Interrupted, ProgramError, UserError, VerdictError
from ._runs import Record, history, plan_help
from ._verbs import *
from ._versions import VERSION as __version__

__all__ = [
    "Error",
    "Interrupted",
    "ProgramError",
    "Record",
    "UserError",
    "VerdictError",
    "__version__",
    "grow",
    "history",
    "plan_help",
]
__all__ += _verbs.__all__
