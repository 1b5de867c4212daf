"""A run read back from TensorBoard's event files, by TensorBoard: every value."""

import json
import struct
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "build/tensorboard"))

from program import ProgramCase, main  # noqa: E402
from tensorboard.backend.event_processing.event_accumulator import (  # noqa: E402
    EventAccumulator)
from tensorboard.plugins.hparams import plugin_data_pb2  # noqa: E402

TAGS = {"loss": "train/loss", "grad_norm": "train/grad_norm",
        "learning_rate": "train/learning_rate",
        "tokens_per_second": "throughput(tps)"}
HISTORY = "training_history.jsonl"


def in_float32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def read_events(folder):
    """All of them, and not a sample as TensorBoard shows it."""
    events = EventAccumulator(str(folder), size_guidance={
        "scalars": 0, "histograms": 0, "tensors": 0})
    events.Reload()
    return events


class TensorBoard(ProgramCase):
    def setUp(self):
        super().setUp()
        self.run_folder = self.folder / "run"
        self.done("run", "plans/tiny.yaml", "--out", self.run_folder, "--set",
                  f"data.cache_dir={self.folder / 'tokens'}", cwd=ROOT)
        self.lines = [json.loads(line) for line in
                      (self.run_folder / HISTORY).read_text().splitlines()]

    def events(self):
        out = self.folder / "events"
        self.done("report", self.run_folder, "--tensorboard", out)
        return read_events(out)

    def lines_of(self, kind):
        return [line for line in self.lines if line["type"] == kind]

    def scalars(self, events, tag):
        return [(event.step, event.value) for event in events.Scalars(tag)]

    def test_every_value_of_every_step_is_there(self):
        events = self.events()
        steps = list(enumerate(self.lines_of("step"), 1))
        keys = {key for _, line in steps for key, value in line.items()
                if isinstance(value, (int, float))}
        for key in keys - {"step", "tokens", "peak_memory_bytes"}:
            wanted = [(number, in_float32(line[key]))
                      for number, line in steps if key in line]
            self.assertEqual(
                self.scalars(events, TAGS.get(key, f"train/{key}")), wanted)
        seen = total = 0
        for number, line in steps:
            total += line["tokens"]
            seen += (number, in_float32(total)) in self.scalars(
                events, "train/num_input_tokens_seen")
        self.assertEqual(seen, len(steps))
        self.assertEqual(
            self.scalars(events, "memory/max_active(GiB)"),
            [(number, in_float32(line["peak_memory_bytes"] / 2**30))
             for number, line in steps])

    def test_times_rise_by_what_the_run_took(self):
        events = self.events().Scalars("train/loss")
        for (before, after), line in zip(zip(events, events[1:]),
                                         self.lines_of("step")[1:]):
            took = line["tokens"] / line["tokens_per_second"]
            self.assertGreaterEqual(after.wall_time - before.wall_time,
                                    took - 1e-5)

    def test_growth_and_evaluations_stand_where_they_happened(self):
        events = self.events()
        steps = 0
        jumps, losses = [], []
        for line in self.lines:
            steps += line["type"] == "step"
            if line["type"] == "boundary":
                jumps.append((steps, in_float32(line["jump"])))
            if line["type"] == "evaluation":
                losses.append((steps, in_float32(line["eval_loss"])))
        self.assertEqual(len(jumps), 3)
        self.assertEqual(self.scalars(events, "growth/jump"), jumps)
        self.assertEqual(self.scalars(events, "eval/loss"), losses)
        words = [text.tensor_proto.string_val[0].decode()
                 for text in events.Tensors("growth")]
        self.assertEqual([word.split()[2] for word in words],
                         [line["operator"] for line in self.lines_of("boundary")])

    def test_expert_load_is_a_bar_for_each_expert(self):
        events = self.events()
        steps = list(enumerate(self.lines_of("step"), 1))
        wanted = [(number, line["expert_load"][0]) for number, line in steps
                  if "expert_load" in line and line["step"] % 10 == 1]
        self.assertTrue(wanted)
        found = [(event.step, [int(count) for count in
                               event.histogram_value.bucket])
                 for event in events.Histograms("expert_load/layer 0")]
        self.assertEqual(found, wanted)

    def test_samples_and_settings(self):
        events = self.events()
        texts = events.Tensors("samples/1 greedy")
        self.assertEqual(len(texts), len(self.lines_of("phase")))
        sample = (self.run_folder / "samples/dense.txt").read_text(
            errors="ignore")
        first = texts[0].tensor_proto.string_val[0].decode()
        code = "".join(line.removeprefix("    ") for line in
                       first.replace("\ufffd", "").split("\n"))
        prompt, _, rest = sample.removeprefix("=== ").partition("\n")
        self.assertTrue(code.startswith(prompt))
        self.assertIn(code.removeprefix(prompt), rest.replace("\n", ""))
        content = events.SummaryMetadata(
            "_hparams_/session_start_info").plugin_data.content
        settings = plugin_data_pb2.HParamsPluginData.FromString(
            content).session_start_info.hparams
        self.assertEqual(settings["optimizer.type"].string_value, "adamw")
        self.assertEqual(settings["model.hidden_size"].number_value,
                         32)
        self.assertFalse(settings["model.gated"].bool_value)

    def test_a_history_that_is_none_leaves_nothing(self):
        out = self.folder / "events"
        history = self.run_folder / HISTORY
        step = self.lines_of("step")[0]
        for line in ("[]", "7", '{"type": 3}', "{}", "nonsense",
                     json.dumps(step | {"tokens": "many"}),
                     json.dumps(step | {"expert_load": [["x"]]}),
                     json.dumps({"type": "boundary", "phase": "moe"}),
                     json.dumps({"type": "phase", "phase": None})):
            with self.subTest(line=line):
                history.write_text(json.dumps(step) + "\n" + line + "\n")
                self.refused("report", self.run_folder, "--tensorboard", out,
                             says="reading the history")
                self.assertFalse(out.exists())
        self.refused("report", self.folder, "--tensorboard", out,
                     says=[str(self.folder), "no training_history.jsonl"])
        self.refused("report", self.run_folder, says="--tensorboard")

    def test_what_stands_there_is_not_written_over(self):
        out = self.folder / "events"
        self.done("report", self.run_folder, "--tensorboard", out)
        before = {path: path.read_bytes() for path in out.iterdir()}
        self.assertEqual(len(before), 1)
        self.refused("report", self.run_folder, "--tensorboard", out,
                     says=[str(out), "not empty"])
        self.assertEqual({path: path.read_bytes() for path in out.iterdir()},
                         before)


if __name__ == "__main__":
    main()
