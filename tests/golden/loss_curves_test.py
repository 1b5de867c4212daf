"""The losses of plans/tiny.yaml, step by step through all four phases, beside those
that were kept: a change that should change no result, and does, shows here.

    python3 tests/golden/loss_curves_test.py --write    keeps what is now

ANNULI_PROGRAM is the program, ANNULI_ROOT the root of the sources. A change that is
meant to change results writes them anew, and says so in docs/log.md.
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = Path(os.environ.get("ANNULI_ROOT", HERE.parent.parent))
PROGRAM = os.environ.get("ANNULI_PROGRAM", str(ROOT / "build/annuli"))
FIELDS = ("loss", "grad_norm", "moe_aux_loss", "moe_z_loss", "eval_loss",
          "probe_loss_after")
# The same sums in another order (threads, AVX2 or AVX-512) change a loss of 5 in
# fp32 by some of its 5e-7, and AdamW's first steps, which move each weight by the
# rate whatever its gradient's size, turn that into 1e-5 at most. A step with
# another seed differs by 1e-2.
RELATIVE = 1e-4


def run(plan, *more):
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        subprocess.run([PROGRAM, "run", f"plans/{plan}.yaml", "--out", out,
                        *more], cwd=ROOT, check=True, capture_output=True,
                       env=dict(os.environ, OMP_WAIT_POLICY="passive"))
        lines = (out / "training_history.jsonl").read_text().splitlines()
    curve = []
    for record in map(json.loads, lines):
        numbers = {name: record[name] for name in FIELDS if name in record}
        if numbers:
            curve.append({"type": record["type"], "phase": record["phase"],
                          **numbers})
    return curve


def kept(plan):
    return HERE / f"{plan}.jsonl"


def differences(curve, golden):
    """What differs, one line each."""
    if len(curve) != len(golden):
        return [f"{len(curve)} records, {len(golden)} kept"]
    wrong = []
    for number, (now, then) in enumerate(zip(curve, golden), 1):
        for name in sorted(now.keys() | then.keys()):
            a, b = now.get(name), then.get(name)
            numbers = isinstance(a, float) and isinstance(b, float)
            if a == b or numbers and abs(a - b) <= RELATIVE * abs(b):
                continue
            wrong.append(f"record {number}, {then['phase']}: {name} {a}, {b}")
    return wrong


class LossCurves(unittest.TestCase):
    def check(self, plan):
        golden = list(map(json.loads, kept(plan).read_text().splitlines()))
        self.assertEqual(differences(run(plan), golden), [])

    def test_tiny(self):
        self.check("tiny")

    def test_the_comparison_can_fail(self):
        golden = list(map(json.loads, kept("tiny").read_text().splitlines()))
        other = differences(run("tiny", "--set", "seed=43"), golden)
        self.assertGreater(len(other), len(golden))
        self.assertEqual(differences(golden[1:], golden),
                         [f"{len(golden) - 1} records, {len(golden)} kept"])


if __name__ == "__main__":
    if "--write" in sys.argv:
        kept("tiny").write_text("".join(
            json.dumps(record) + "\n" for record in run("tiny")))
    else:
        unittest.main()
