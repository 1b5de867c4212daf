"""Growth from disk to disk by the program, which growth in memory is held against."""

import os
import subprocess
from pathlib import Path

PROGRAM = Path(os.environ["ANNULI_BUILD"]) / "annuli"


def flags(options):
    words = []
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}={value}"]
    return words


def grow(operator, parents, out, options=()):
    """parents: what stands before the options, a folder or a plan and a folder."""
    verb = operator.replace("_", "-")
    done = subprocess.run(
        [PROGRAM, "grow", verb, *parents, "--out", out, *flags(dict(options)), "--no-verify"],
        capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
