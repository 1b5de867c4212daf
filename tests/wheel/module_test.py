"""Run by wheel_test.py, in an environment where the wheel is installed: the module
against the program that the wheel was made of."""

import contextlib
import inspect
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import annuli
import safetensors.torch

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ["ANNULI_BUILD"]) / "annuli"
sys.path.insert(0, str(ROOT / "tests/interop"))

SHORT = ["threads=1", f"data.text=[{ROOT}/tests/data/village]"]
# Long enough that a run is still in its second phase when it is stopped.
LONG = [*SHORT, "phases.1.train.max_steps=400"]
TIMES = ("tokens_per_second", "peak_memory_bytes", "seconds", "proof_seconds")

folder: Path
parent: Path
plan: Path


def setUpModule():
    global folder, parent, plan
    import families

    # A shell's background job is started with it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(dir="."))
    parent = folder / "parent"
    families.make("llama_tied_gqa").save_pretrained(parent)
    plan = ROOT / "plans/tiny.yaml"


def program(*words):
    return subprocess.run(
        [PROGRAM, *map(str, words)], capture_output=True, text=True)


def contents(path):
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def lasting(records):
    """What a run that was stopped and one that was not have in common."""
    return [{k: v for k, v in r.items() if k not in TIMES} for r in records]


def flags_in_help(*words):
    text = program(*words, "--help").stdout
    return {f.replace("-", "_") for f in re.findall(r"^  --([a-z][a-z-]*)", text, re.M)}


class Operators(unittest.TestCase):
    CASES = {
        "widen": (dict(factor=2, noise_snr_db=10.0, seed=3),
                  ["--factor", "2", "--noise-snr-db", "10", "--seed", "3"]),
        "deepen": (dict(preset="interpose", add_layers=2, dtype="f64"),
                   ["--preset", "interpose", "--add-layers", "2", "--dtype", "f64"]),
        "upcycle": (dict(num_experts=4, num_experts_per_tok=2, router="random"),
                    ["--num-experts", "4", "--num-experts-per-tok", "2",
                     "--router", "random"]),
        "perturb": (dict(tensors=["attention", "embedding"], relative_std=1e-4),
                    ["--tensors", "attention,embedding", "--relative-std", "1e-4"]),
        "untie": (dict(head_state="reset"), ["--head-state", "reset"]),
    }

    def test_same_bytes_as_the_program(self):
        for name, (options, flags) in self.CASES.items():
            with self.subTest(name):
                mine, its = folder / f"{name}-mine", folder / f"{name}-its"
                report = getattr(annuli.grow, name)(parent, out=mine, **options)
                done = program("grow", name, parent, "--out", its, *flags)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(contents(mine), contents(its))
                self.assertEqual(report["operator"], name)
                self.assertTrue(report["verdicts"])
                self.assertTrue(all(v["passed"] for v in report["verdicts"]))

    def test_several_parents_chain_and_replay(self):
        merged = annuli.grow.merge_experts(
            parent, with_=[parent, parent, parent], out=folder / "merged", loss_budget=9.0)
        self.assertEqual(merged["operator"], "merge_experts")
        steps = folder / "steps.yaml"
        steps.write_text("- widen: {factor: 2}\n- deepen: {add_layers: 1}\n")
        annuli.grow.chain(steps, parent, out=folder / "chain")
        annuli.grow.replay(
            parent, replay=folder / "chain/lineage.json", out=folder / "again")
        weights = "model.safetensors"
        self.assertEqual(
            (folder / "chain" / weights).read_bytes(),
            (folder / "again" / weights).read_bytes())

    def test_report_is_kept_where_asked(self):
        kept = folder / "kept.json"
        report = annuli.grow.untie(parent, out=folder / "kept", json=kept)
        self.assertEqual(json.loads(kept.read_text()), report)

    def test_a_path_may_begin_with_a_hyphen(self):
        with contextlib.chdir(folder):
            os.symlink("parent", "-parent")
            annuli.grow.untie("-parent", out="-child")
            self.assertTrue(Path("-child/config.json").is_file())

    def test_every_option_of_the_help(self):
        verbs = {verb: ["grow", verb.replace("_", "-")] for verb in annuli.grow.__all__}
        verbs |= {"replay": ["grow"]} | {verb: [verb] for verb in annuli._verbs.__all__}
        with ThreadPoolExecutor(2) as pool:
            flags = pool.map(lambda words: flags_in_help(*words), verbs.values())
        for (name, words), expected in zip(verbs.items(), flags):
            module = annuli.grow if words[0] == "grow" else annuli
            self.assert_parameters(getattr(module, name), words, expected)

    def assert_parameters(self, function, words, expected):
        signature = inspect.signature(function)
        named = {
            p.name.rstrip("_")
            for p in signature.parameters.values()
            if p.kind is p.KEYWORD_ONLY
        }
        self.assertTrue(expected - {"help_all"} or words[0] in ("env", "completion", "man"), words)
        extra = {"on_record", "quiet"} if words == ["run"] else set()
        # What is always asked for as JSON, and what is a function of its own.
        unneeded = {"help_all", "json", "plan_help"}
        self.assertEqual(named - extra - unneeded, expected - unneeded, words)
        self.assertTrue(inspect.getdoc(function))


class Verbs(unittest.TestCase):
    def test_what_they_return(self):
        found = annuli.inspect(parent)
        self.assertEqual(found, json.loads(program("inspect", parent, "--json").stdout))
        self.assertGreater(found["parameters"]["total"], 0)
        self.assertIn("output_dir", annuli.plan_help())
        wrote = annuli.export(parent, out=folder / "exported.pt")
        self.assertEqual(wrote, f"wrote {folder}/exported.pt\n")
        texts = annuli.generate(
            annuli.run(plan, out=folder / "texts", set=SHORT, quiet=True)
            / "checkpoints/dense_model.pt",
            prompt=["a", "b"], tokenizer="bytes", max_new_tokens=2)
        self.assertEqual([t["prompt"] for t in texts], ["a", "b"])


class Errors(unittest.TestCase):
    def test_wrong_input(self):
        with self.assertRaises(annuli.UserError) as raised:
            annuli.grow.widen(folder / "none", out=folder / "child")
        done = program("grow", "widen", folder / "none", "--out", folder / "child")
        self.assertEqual(f"annuli: {raised.exception}\n", done.stderr)
        self.assertEqual(done.returncode, 2)
        with self.assertRaisesRegex(annuli.UserError, "factor.*expected a number"):
            annuli.grow.widen(parent, out=folder / "child", factor="many")
        with self.assertRaisesRegex(annuli.UserError, "expected the folder of a run"):
            annuli.history(folder)

    def test_failed_growth_leaves_nothing(self):
        noisy = folder / "noisy"
        with self.assertRaises(annuli.VerdictError) as raised:
            annuli.grow.perturb(parent, out=noisy, relative_std=1.0, loss_budget=1e-6)
        self.assertIsInstance(raised.exception, annuli.Error)
        self.assertFalse(noisy.exists())

    def test_verdicts_of_a_refuted_child(self):
        wide = folder / "refuted"
        annuli.grow.widen(parent, out=wide)
        weights = safetensors.torch.load_file(wide / "model.safetensors")
        weights["model.norm.weight"] *= 1.01
        metadata = {"format": "pt"}
        safetensors.torch.save_file(weights, wide / "model.safetensors", metadata)
        with self.assertRaises(annuli.VerdictError) as raised:
            annuli.verify(parent, wide)
        failed = [v for v in raised.exception.verdicts if not v["passed"]]
        passed = [v for v in raised.exception.verdicts if v["passed"]]
        self.assertTrue(failed and passed)
        self.assertNotIn("\n", str(raised.exception))

    def test_a_plan_that_does_not_fit(self):
        with self.assertRaises(annuli.VerdictError) as raised:
            annuli.plan(plan, memory_limit="1MB", no_measure=True)
        self.assertGreater(raised.exception.report["peak_memory_bytes"], 1e6)
        self.assertEqual(raised.exception.verdicts, [])

    def test_a_run_that_a_check_stops(self):
        refused = [
            *SHORT, "phases.3.grow={perturb: {relative_std: 1}}",
            "phases.3.boundary_loss_budget=1e-6"]
        out = folder / "stopped-by-check"
        try:
            annuli.run(plan, out=out, set=refused, quiet=True)
        except annuli.VerdictError as error:
            self.assertTrue([v for v in error.verdicts if not v["passed"]])
        else:
            self.fail("the run was not stopped")

    def test_a_bug_and_an_end_by_a_signal(self):
        fake = folder / "fake"
        for script, kind in (
            ("echo 'annuli: a bug: x' >&2; exit 3", annuli.ProgramError),
            ("kill -SEGV $$", annuli.ProgramError),
            ("kill -INT $$", annuli.Interrupted),
            ("exit 9", annuli.Error),
        ):
            fake.write_text(f"#!/bin/sh\n{script}\n")
            fake.chmod(0o755)
            before = annuli._program.program
            annuli._program.program = lambda: str(fake.absolute())
            try:
                with self.assertRaises(kind) as raised:
                    annuli.export("a", out="b")
            finally:
                annuli._program.program = before
            if "bug" in script:
                self.assertEqual(str(raised.exception), "a bug: x")


class Runs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        told = []
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            cls.whole = annuli.run(
                plan, out=folder / "whole", set=SHORT, on_record=told.append)
        cls.told, cls.printed = told, out.getvalue()

    def test_records_as_they_come(self):
        self.assertEqual(self.told, annuli.history(self.whole))
        self.assertIn("phase 4/4", self.printed)
        self.assertEqual(self.whole, folder / "whole")

    def test_same_bytes_as_the_program(self):
        its = folder / "its-run"
        flags = [word for text in SHORT for word in ("--set", text)]
        done = program("run", plan, "--out", its, *flags)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(
            contents(its / "checkpoints"), contents(self.whole / "checkpoints"))
        self.assertEqual(lasting(annuli.history(its)), lasting(self.told))

    def test_folder_of_the_plan(self):
        where = json.dumps(str(folder / "by-plan"))
        options = [*SHORT, f"output_dir={where}"]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            run = annuli.run(plan, set=options, quiet=True)
        self.assertEqual((run, out.getvalue()), (folder / "by-plan", ""))
        self.assertTrue((run / "summary.json").is_file())

    def stopped(self, name, act, kind):
        out, told = folder / name, []
        acted = []

        def on_record(record):
            told.append(record)
            if record.get("phase") == "moe" and record["type"] == "step" and not acted:
                acted.append(True)
                act()

        with self.assertRaises(kind) as raised:
            annuli.run(plan, out=out, set=LONG, quiet=True, on_record=on_record)
        self.assertFalse((out / "summary.json").exists())
        return out, told, raised.exception

    def test_interrupted_and_resumed(self):
        out, told, error = self.stopped(
            "interrupted", lambda: os.kill(os.getpid(), signal.SIGINT), KeyboardInterrupt)
        self.assertIsInstance(error, annuli.Interrupted)
        self.assertEqual(error.signal, signal.SIGINT)
        self.assertIn("--resume", str(error))
        self.assert_resumed(out, told)

    def test_child_that_gets_a_signal(self):
        def terminate():
            me = f"/proc/self/task/{os.getpid()}/children"
            (child,) = Path(me).read_text().split()
            os.kill(int(child), signal.SIGTERM)

        out, told, error = self.stopped("terminated", terminate, annuli.Interrupted)
        self.assertEqual(error.signal, signal.SIGTERM)
        self.assert_resumed(out, told)

    def test_callback_that_raises(self):
        def fail():
            raise LookupError("enough")

        out, told, error = self.stopped("raised", fail, LookupError)
        self.assertEqual(str(error), "enough")
        self.assert_resumed(out, told)

    def assert_resumed(self, out, told):
        """The run goes on from what it saved, and tells what it adds."""
        kept = annuli.history(out)
        self.assertGreaterEqual(len(kept), len(told))
        self.assertEqual(told, kept[: len(told)])
        more = []
        annuli.run(
            plan, out=out, set=LONG, resume=True, quiet=True, on_record=more.append)
        whole = annuli.history(out)
        self.assertEqual(whole, kept + more)


class History(unittest.TestCase):
    def test_tail(self):
        path = folder / "tail.jsonl"
        line = lambda n, t: json.dumps({"step": n, "t": t}).encode() + b"\n"
        path.write_bytes(line(1, 0) + line(2, 0))
        tail = annuli._runs.Tail(path)
        self.assertEqual(tail.new(), [])
        with open(path, "ab") as file:
            file.write(line(3, 0)[:5])
            file.flush()
            self.assertEqual(tail.new(), [])
            file.write(line(3, 0)[5:])
        self.assertEqual([r["step"] for r in tail.new()], [3])
        path.write_bytes(line(1, 0))  # cut back
        self.assertEqual(tail.new(), [])
        path.write_bytes(line(1, 0) + line(2, 1))
        self.assertEqual(tail.new(), [{"step": 2, "t": 1}])
        # Cut back, and longer than before, between two looks.
        path.write_bytes(line(1, 0) + line(2, 2) + line(3, 2) + line(4, 2))
        self.assertEqual([r["step"] for r in tail.new()], [2, 3, 4])

    def test_torn_line(self):
        run = folder / "torn"
        run.mkdir()
        (run / "training_history.jsonl").write_bytes(b'{"step": 1}\n{"st')
        self.assertEqual(annuli.history(run), [{"step": 1}])


if __name__ == "__main__":
    unittest.main()
