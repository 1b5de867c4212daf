#!/usr/bin/env python3
"""The training benchmark from start to end on a tiny shape: a dense model and a
mixture beside transformers, and a peer that is given other batches, which must
fail it."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
from training import cases, rounds
from training.contestant import ContestantError

TINY = [
    "tokenizer=bytes", "data.text=[tests/data/village]",
    "data.sequence_length=32", "model.vocab_size=257", "model.hidden_size=64",
    "model.intermediate_size=128", "model.num_hidden_layers=2",
    "model.num_attention_heads=2", "probe.length=32", "probe.router_tokens=128",
    "phases.0.train.batch_size=2",
]


class Whole(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.folder = Path(self.scratch.name)
        self.addCleanup(self.scratch.cleanup)

    def test_tables_and_files(self):
        command = [sys.executable, "benchmarks/bench.py", "fp32", "--rounds", "2",
                   "--peers", "transformers", "--work", str(self.folder / "work"),
                   "--out", str(self.folder / "out")]
        for text in TINY:
            command += ["--set", text]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        written = json.loads((self.folder / "out/training.json").read_text())
        self.assertGreater(written["machine"]["cores"], 0)
        for result in written["cases"]:
            members = result["groups"][0]["contestants"]
            self.assertEqual(set(members), {"ours", "speed of light", "transformers"})
            self.assertLess(result["groups"][0]["loss_differences"]["transformers"],
                            rounds.LOSS_LIMIT)
            self.assertEqual(members["ours"]["steps"], 2)
            # Both saw the same four batches: losses agree in every step.
            for mine, theirs in zip(members["ours"]["all_steps"],
                                    members["transformers"]["all_steps"]):
                self.assertAlmostEqual(mine["loss"], theirs["loss"], places=3)
                self.assertAlmostEqual(mine["grad_norm"], theirs["grad_norm"], places=2)
        self.assertIn("## mixture fp32", (self.folder / "out/training.md").read_text())

    def test_other_batches_fail(self):
        case = cases.Case("dense", "fp32")
        places = cases.Places(self.folder, TINY)
        rounds.make_start(case, places, 2)
        batches = places.start(case) / "batches.i64"
        batches.write_bytes(bytes(len(batches.read_bytes())))
        group = rounds.Group(case, [cases.OURS, cases.LIGHT, "transformers"], places,
                             lambda text: None)
        with self.assertRaisesRegex(ContestantError, "first loss of ours"):
            group.run(1)

    def test_a_plan_that_does_not_load_is_one_line(self):
        done = subprocess.run(
            [sys.executable, "benchmarks/bench.py", "dense-fp32", "--no-peers",
             "--work", str(self.folder), "--set", "model.hidden_size=none"],
            cwd=ROOT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("model.hidden_size", done.stderr)
        self.assertNotIn("Traceback", done.stderr)


if __name__ == "__main__":
    unittest.main()
