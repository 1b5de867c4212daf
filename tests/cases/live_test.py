"""What a run records beside its results: sessions, measures of some steps, and
TensorBoard's event files while it runs. Read back as users do."""

import json
import os
import signal
import subprocess
import time

from program import ANNULI, ProgramCase, main
from tensorboard_test import (HISTORY, ROOT, TAGS, EventAccumulator, in_float32,
                              read_events)
from tensorboard.backend.event_processing.plugin_event_accumulator import (
    EventAccumulator as PluginEventAccumulator)

LIVE = ("--set", "report_to=[tensorboard]")
SLOW = ("--set", "phases.dense.train.max_steps=3000",
        "--set", "measure_steps=20", "--set", "save_steps=40")
MEASURES = {"update_ratio", "weight_rms", "stream_rms", "copies_apart",
            "update_apart"}
ENVIRONMENT = dict(os.environ, OMP_NUM_THREADS="1")


class Live(ProgramCase):
    def setUp(self):
        super().setUp()
        self.out = self.folder / "run"
        self.events = self.out / "tensorboard"

    def words(self, *more, out=None):
        return ("run", "plans/tiny.yaml", "--out", out or self.out, "--set",
                f"data.cache_dir={self.folder / 'tokens'}", "--set",
                "threads=1", *more)

    def finish(self, *more, out=None):
        return self.done(*self.words(*more, out=out), cwd=ROOT)

    def start(self, *more):
        """A run that is at work."""
        child = subprocess.Popen(
            [ANNULI, *map(str, self.words(*more))], cwd=ROOT,
            env=ENVIRONMENT, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        return child

    def lines(self, out=None):
        text = ((out or self.out) / HISTORY).read_text()
        return [json.loads(line) for line in text.splitlines(True)
                if line.endswith("\n")]

    def steps(self, out=None):
        return [line for line in self.lines(out) if line["type"] == "step"]

    def wait_for(self, child, steps):
        for _ in range(6000):
            if (self.out / HISTORY).exists() and len(self.steps()) >= steps:
                return
            self.assertIsNone(child.poll(), "it has ended")
            time.sleep(0.01)
        self.fail("no steps")

    def scalars(self, events, tag):
        return [(event.step, event.value) for event in events.Scalars(tag)]

    def assertTells(self, events, lines, at_most=False):
        """Every number of every step, boundary and evaluation: all of them or,
        `at_most`, those up to some step that the events have reached."""
        total = 0
        wanted = {}
        for line in lines:
            total += line["type"] == "step"
            if line["type"] == "step":
                for key, value in line.items():
                    if key in ("step", "tokens", "peak_memory_bytes"):
                        continue
                    if isinstance(value, (int, float)):
                        tag = TAGS.get(key, f"train/{key}")
                        wanted.setdefault(tag, []).append((total, value))
                for key in ("weight_rms", "stream_rms"):
                    for layer, value in enumerate(line.get(key, [])):
                        wanted.setdefault(f"{key}/layer {layer}", []).append(
                            (total, value))
            if line["type"] == "boundary":
                wanted.setdefault("growth/jump", []).append(
                    (total, line["jump"]))
            if line["type"] == "evaluation":
                wanted.setdefault("eval/loss", []).append(
                    (total, line["eval_loss"]))
        reached = self.scalars(events, "train/loss")[-1][0]
        if not at_most:
            self.assertEqual(reached, total)
        for tag, values in wanted.items():
            expected = [(step, in_float32(value)) for step, value in values
                        if step <= reached]
            if expected:
                found = [one for one in self.scalars(events, tag)
                         if one[0] <= reached]
                self.assertEqual(found, expected, tag)

    def files(self):
        return sorted(path.name for path in self.events.iterdir())

    def test_events_come_while_it_runs(self):
        child = self.start(*LIVE, *SLOW)
        self.wait_for(child, 5)
        events = EventAccumulator(str(self.events),
                                  size_guidance={"scalars": 0})
        before = 0
        for more in (5, 60, 120):
            self.wait_for(child, more)
            events.Reload()
            self.assertIsNone(child.poll())
            reached = self.scalars(events, "train/loss")[-1][0]
            # A line is told right after it is written.
            self.assertGreaterEqual(reached, more - 1)
            self.assertGreater(reached, before)
            before = reached
            self.assertTells(events, self.lines(), at_most=True)
            seconds = events.Scalars("train/loss")[-1].wall_time
            self.assertLess(abs(time.time() - seconds), 60)

    def test_a_finished_run_tells_what_report_tells(self):
        self.finish(*LIVE)
        live = read_events(self.events)
        self.assertTells(live, self.lines())
        self.done("report", self.out, "--tensorboard", self.folder / "after")
        after = read_events(self.folder / "after")
        self.assertEqual(live.Tags(), after.Tags())
        for tag in after.Tags()["scalars"]:
            self.assertEqual(self.scalars(live, tag), self.scalars(after, tag))
        for tag in after.Tags()["tensors"]:
            self.assertEqual([(one.step, one.tensor_proto)
                              for one in live.Tensors(tag)],
                             [(one.step, one.tensor_proto)
                              for one in after.Tensors(tag)], tag)
        self.assertEqual(len(live.Tensors("samples/1 greedy")), 4)
        self.assertIn("growth/copies_apart", live.Tags()["scalars"])

    def test_what_a_killed_run_told_too_much_is_void(self):
        child = self.start(*LIVE, *SLOW)
        self.wait_for(child, 50)
        along = EventAccumulator(str(self.events), size_guidance={"scalars": 0})
        along.Reload()
        child.send_signal(signal.SIGKILL)
        child.wait()
        (first,) = self.files()
        # Killed within a record, and steps that a saved state does not have.
        with open(self.events / first, "ab") as file:
            file.write(b"\x18\0\0\0")
        told = len(self.steps())
        (self.events / "notes.txt").write_text("mine")
        again = self.start(*LIVE, *SLOW, "--resume")
        for _ in range(6000):
            if len(self.files()) == 3:
                break
            time.sleep(0.01)
        self.wait_for(again, told + 20)
        again.send_signal(signal.SIGINT)
        again.wait()
        self.assertEqual(self.files()[0], first)
        self.assertEqual(self.files()[2], "notes.txt")
        lines = self.lines()
        self.assertTells(read_events(self.events), lines)
        along.Reload()
        self.assertTells(along, lines)

    def test_a_rollback_takes_back_what_was_told(self):
        self.finish(*LIVE, "--set", "phases.moe.train.learning_rate=1e+30",
                    "--set", "on_failure=rollback", "--set",
                    "rollback_lr_factor=1e-33")
        self.assertIn("rollback", [line["type"] for line in self.lines()])
        events = read_events(self.events)
        self.assertTells(events, self.lines())
        # Texts as TensorBoard's server holds them, and not as scripts read them,
        # where a restart leaves texts alone.
        shown = PluginEventAccumulator(str(self.events))
        shown.Reload()
        self.assertEqual(len(shown.Tensors("growth")), 3)
        self.assertEqual(len(self.files()), 2)

    def test_of_many_sessions_the_last_files_stay(self):
        names = []
        for steps in range(1, 9):
            self.finish(*LIVE, "--resume", "--set",
                        f"phases.large.train.max_steps={steps}")
            names.append(self.files()[-1])
        self.assertEqual(names, sorted(set(names)))
        self.assertEqual(self.files(), names[-5:])
        self.assertTells(read_events(self.events), self.lines())

    def test_without_the_field_nothing_is_written(self):
        self.finish()
        self.assertFalse(self.events.exists())
        other = self.folder / "other"
        self.finish(*LIVE, out=other)
        same = [path.relative_to(self.out) for path in
                sorted((self.out / "checkpoints").iterdir())]
        self.assertTrue(same)
        for path in same:
            self.assertEqual((self.out / path).read_bytes(),
                             (other / path).read_bytes(), path)
        times = {"tokens_per_second", "peak_memory_bytes", "seconds",
                 "proof_seconds"}
        self.assertEqual(*([{k: v for k, v in line.items() if k not in times}
                            for line in self.lines(out)]
                           for out in (self.out, other)))

    def test_force_removes_our_files_and_leaves_others(self):
        self.finish(*LIVE)
        (self.events / "events.out.tfevents.1.host.2.0").write_bytes(b"mine")
        (old,) = [name for name in self.files() if name.endswith(".annuli")]
        self.finish("--force", "--set", "measure_steps=0")
        self.assertEqual(self.files(), ["events.out.tfevents.1.host.2.0"])
        self.finish("--force", *LIVE)
        self.assertEqual(len(self.files()), 2)
        (self.events / "events.out.tfevents.1.host.2.0").unlink()
        self.finish("--force")
        self.assertFalse(self.events.exists(), old)

    def test_a_misspelt_format_is_refused(self):
        self.refused(*self.words("--set", "report_to=[tensorbord]"), cwd=ROOT,
                     says=["report_to", "'tensorbord'", "tensorboard"])
        self.assertFalse(self.out.exists())

    def test_sessions_say_what_made_a_run(self):
        child = self.start(*SLOW)
        self.wait_for(child, 45)
        child.send_signal(signal.SIGINT)
        child.wait()
        stopped_after = len(self.steps())
        self.finish("--resume", *SLOW[2:], "--set",
                    f"phases.dense.train.max_steps={stopped_after + 2}")
        first, second = map(json.loads, (self.out / "sessions.jsonl")
                            .read_text().splitlines())
        self.assertEqual((first["phase"], first["after_step"]), ("dense", 0))
        self.assertEqual((second["phase"], second["after_step"]),
                         ("dense", stopped_after))
        env = json.loads(self.done("env", "--json").stdout)
        for session in (first, second):
            self.assertRegex(session["started"],
                             r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
            program = session["program"]
            self.assertEqual(program["annuli"], env["annuli"])
            self.assertEqual(program.get("commit", ""), env["commit"])
            self.assertEqual((session["processes"], session["threads"]), (1, 1))
            (machine,) = session["machines"]
            self.assertEqual(machine["processor"], env["cpu"]["model"])
            self.assertEqual(machine["memory_bytes"], env["memory_bytes"])
            self.assertIn(machine["kernels"], ("AVX-512", "AVX2", "plain"))
        self.assertNotIn(os.uname().nodename,
                         (self.out / "sessions.jsonl").read_text().split('"'))

    def test_two_processes_are_one_machine(self):
        self.finish("--processes", 2, *[
            word for phase in ("dense", "moe", "medium", "large")
            for word in ("--set", f"phases.{phase}.train.batch_size=2", "--set",
                         f"phases.{phase}.train.micro_batch_size=1")])
        session = json.loads((self.out / "sessions.jsonl").read_text())
        self.assertEqual(session["processes"], 2)
        self.assertEqual([one["processes"] for one in session["machines"]], [2])

    def test_some_steps_are_measured(self):
        self.finish("--set", "phases.dense.train.max_steps=12", "--set",
                    "measure_steps=5")
        steps = [line for line in self.steps() if line["phase"] == "dense"]
        measured = [line for line in steps if "update_ratio" in line]
        self.assertEqual([line["step"] for line in measured],
                         [1, 2, 4, 5, 8, 10])
        for line in self.steps():
            if "update_ratio" not in line:
                self.assertFalse(MEASURES & line.keys())
                continue
            layers = 3 if line["phase"] == "large" else 2
            self.assertEqual(len(line["weight_rms"]), layers)
            self.assertEqual(len(line["stream_rms"]), layers)
            self.assertTrue(0 < line["update_ratio"] < 0.5, line)
            grown = line["phase"] != "dense"
            self.assertEqual("copies_apart" in line, grown)
        boundaries = {line["phase"]: line["copies_apart"]
                      for line in self.lines() if line["type"] == "boundary"}
        self.assertEqual(boundaries["moe"], 0)
        self.assertEqual(boundaries["large"], 0)
        # 10 dB of noise: a tenth of the copies' energy.
        self.assertAlmostEqual(boundaries["medium"], 0.1 / 1.1, delta=0.005)
        off = self.folder / "off"
        self.finish("--set", "measure_steps=0", out=off)
        self.assertFalse(any(MEASURES & line.keys() for line in self.lines(off)))


if __name__ == "__main__":
    main()
