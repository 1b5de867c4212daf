"""Run by wheel_test.py, in an environment where the wheel is installed: growth on the
way of transformers' Trainer, and the examples."""

import os
import subprocess
import sys
import tempfile
import types
import unittest
from pathlib import Path
from unittest import mock

import annuli
import torch
import transformers
from annuli.torch import deepen, upcycle, widen
from annuli.transformers import GrowthCallback

from training import norm_in_double

ROOT = Path(__file__).resolve().parents[2]
TEXTS = sorted((ROOT / "tests/data/village").iterdir())
LENGTH = 32

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def windows():
    data = b"".join(path.read_bytes() for path in TEXTS)
    tokens = torch.tensor(list(data[: len(data) // LENGTH * LENGTH])).view(-1, LENGTH)
    return [{"input_ids": window, "labels": window} for window in tokens]


def small():
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=256, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=64,
        bos_token_id=None, eos_token_id=None))


class Seams(transformers.TrainerCallback):
    """The loss on the same windows right before a growth and right after it. It
    stands before and behind the GrowthCallback."""

    def __init__(self, losses):
        self.losses = losses

    def on_step_begin(self, args, state, control, model, **kwargs):
        ids = torch.stack([window["input_ids"] for window in windows()[:4]])
        with torch.no_grad():
            loss = model(input_ids=ids, labels=ids).loss.item()
        self.losses.setdefault(int(state.global_step), []).append(loss)


def loss_of(logits, labels):
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


class After(transformers.TrainerCallback):
    """The loss on the same windows after each step."""

    def __init__(self, found):
        self.found = found

    def on_step_end(self, args, state, control, model, **kwargs):
        ids = torch.stack([window["input_ids"] for window in windows()[:4]])
        with torch.no_grad():
            self.found[state.global_step] = loss_of(model(input_ids=ids).logits, ids).item()


def trainer(model, out, callbacks, steps, loss=None, **options):
    arguments = transformers.TrainingArguments(
        output_dir=str(out), max_steps=steps, per_device_train_batch_size=4,
        learning_rate=1e-3, weight_decay=0.1, warmup_steps=2, logging_steps=1,
        use_cpu=True, report_to=[], disable_tqdm=True, **options)
    made = transformers.Trainer(
        model=model, args=arguments, train_dataset=windows(), callbacks=callbacks,
        compute_loss_func=loss)
    made.remove_callback(transformers.PrinterCallback)
    return made


def losses(made, key="loss"):
    return {e["step"]: e[key] for e in made.state.log_history if key in e}


class InATrainer(unittest.TestCase):
    """Show 3."""

    STEPS, WIDER, DEEPER, SAVED = 300, 100, 200, 250

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(dir="."))

    def growths(self):
        return [
            GrowthCallback(widen(factor=2, noise_snr_db=10), at_step=self.WIDER),
            GrowthCallback(deepen(add_layers=1), at_step=self.DEEPER),
        ]

    def test_grows_and_resumes(self):
        seen = {}
        made = trainer(
            small(), self.folder, [Seams(seen), *self.growths(), Seams(seen)],
            self.STEPS, save_steps=self.SAVED)
        held = made.model
        made.train()
        self.assertIs(made.model, held)
        config = made.model.config
        self.assertEqual((config.hidden_size, config.num_hidden_layers), (32, 3))
        for step in (self.WIDER, self.DEEPER):
            before, after = seen[step]
            self.assertLess(abs(before - after), 1e-4)
        found = losses(made)
        self.assertEqual(len(found), self.STEPS)
        self.assertLess(found[self.STEPS], found[self.WIDER])
        growths = [e for e in made.state.log_history if "growth" in e]
        self.assertEqual([e["step"] for e in growths], [self.WIDER, self.DEEPER])

        checkpoint = self.folder / f"checkpoint-{self.SAVED}"
        model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
        again = trainer(model, self.folder / "again", self.growths(), self.STEPS)
        again.train(resume_from_checkpoint=str(checkpoint))
        self.assertEqual(losses(again), found)
        for key, tensor in made.model.state_dict().items():
            self.assertTrue(torch.equal(tensor, again.model.state_dict()[key]), key)

    def test_a_checkpoint_of_the_step_before(self):
        """Saved at the very step after which it grows: it grows when resumed."""
        growth = [GrowthCallback(widen(factor=2), at_step=4)]
        made = trainer(small(), self.folder, growth, 8, save_steps=4)
        made.train()
        model = transformers.AutoModelForCausalLM.from_pretrained(
            self.folder / "checkpoint-4")
        self.assertEqual(model.config.hidden_size, 16)
        growth = [GrowthCallback(widen(factor=2), at_step=4)]
        again = trainer(model, self.folder / "again", growth, 8)
        again.train(resume_from_checkpoint=str(self.folder / "checkpoint-4"))
        self.assertEqual(losses(again), losses(made))

    def exact_growths(self):
        sizes = {"hidden": 32, "heads": 4, "kv_heads": 4, "ffn": 96}
        return [
            GrowthCallback(at_step=4, growth=widen(
                **sizes, noise_snr_db="none", dynamics="exact")),
            GrowthCallback(at_step=7, growth=widen(
                ffn=192, noise_snr_db="none", dynamics="exact")),
        ]

    def in_double(self, model, callbacks, name, **options):
        """A Trainer in fp64 that does not clip (a norm is of other gradients after a
        growth), and the loss after each of its steps. A log's are in fp32."""
        after = {}
        watch = After(after)
        made = trainer(
            model.double(), self.folder / name, [*callbacks, watch], 12,
            loss=lambda outputs, labels, **_: loss_of(outputs.logits, labels),
            max_grad_norm=0.0, **options)
        return made, after

    def patched_norm(self):
        norm = transformers.models.llama.modeling_llama.LlamaRMSNorm
        return mock.patch.object(norm, "forward", norm_in_double)

    def test_exact_dynamics(self):
        """Two growths that change nothing: losses and rates are the parent's, to the
        rounding of fp64, also from a checkpoint behind them, and not without the
        multipliers."""
        with self.patched_norm():
            plain, expected = self.in_double(small(), [], "plain")
            plain.train()
            made, found = self.in_double(small(), self.exact_growths(), "grown", save_steps=9)
            made.train()
            model = transformers.AutoModelForCausalLM.from_pretrained(
                self.folder / "grown/checkpoint-9", dtype=torch.float64)
            again, resumed = self.in_double(model, self.exact_growths(), "again")
            again.train(resume_from_checkpoint=str(self.folder / "grown/checkpoint-9"))
            with mock.patch("annuli.transformers.split_in_steps"):
                wrong, lost = self.in_double(small(), self.exact_growths(), "wrong")
                wrong.train()
        self.assertEqual(made.model.config.intermediate_size, 192)
        self.assertEqual(len(made.optimizer.param_groups), 2)
        self.assertEqual(set(found), set(range(1, 13)))
        for step, loss in expected.items():
            self.assertAlmostEqual(found[step], loss, delta=1e-12)
        self.assertGreater(abs(lost[12] - expected[12]), 1e-4)
        self.assertEqual(resumed, {step: found[step] for step in (10, 11, 12)})
        rates = losses(plain, "learning_rate")
        for grown in (made, again):
            self.assertEqual(losses(grown, "learning_rate"), rates)
        for key, tensor in made.model.state_dict().items():
            self.assertTrue(torch.equal(tensor, again.model.state_dict()[key]), key)

    def test_exact_and_then_plain(self):
        """The second growth keeps what the first has multiplied."""
        first, _ = self.exact_growths()
        second = GrowthCallback(deepen(add_layers=1), at_step=7)
        made = trainer(small(), self.folder / "both", [first, second], 9)
        made.train()
        decayed = made.optimizer.param_groups[0]
        rates = [factors["lr"] for factors in decayed["growth_multipliers"]]
        self.assertEqual(len(rates), len(decayed["params"]))
        self.assertEqual(set(rates), {1, 1 / 2, 1 / 3})

    def test_another_class_accumulation_and_mixed_precision(self):
        growth = [GrowthCallback(
            upcycle(num_experts=4, num_experts_per_tok=2), at_step=3,
            allow=["router_health"])]
        made = trainer(
            small(), self.folder, growth, 6, gradient_accumulation_steps=2, bf16=True,
            gradient_checkpointing=True)
        made.train()
        self.assertEqual(type(made.model).__name__, "MixtralForCausalLM")
        self.assertTrue(made.model.is_gradient_checkpointing)
        # What accelerate does to a model for mixed precision is there again.
        self.assertIn("forward", made.model.__dict__)
        self.assertEqual(len(losses(made)), 6)

    def test_when_flat(self):
        growth = GrowthCallback(widen(factor=2), patience=3, least_fall=0.5)
        made = trainer(small(), self.folder, [growth], 8)
        made.train()
        (entry,) = [e for e in made.state.log_history if "growth" in e]
        self.assertGreaterEqual(entry["step"], 4)
        self.assertEqual(made.model.config.hidden_size, 32)

    def test_refused(self):
        grow = widen(factor=2)
        for options in ({}, {"at_step": 1, "patience": 1}):
            with self.assertRaisesRegex(annuli.UserError, "one of at_step and patience"):
                GrowthCallback(grow, **options)
        compiled = types.SimpleNamespace(world_size=1, n_gpu=0, torch_compile=True)
        two = types.SimpleNamespace(world_size=2, n_gpu=0, torch_compile=False)
        state = types.SimpleNamespace(global_step=1, log_history=[])
        for args, words in ((compiled, "torch_compile"), (two, "found 2 processes")):
            with self.assertRaisesRegex(annuli.UserError, words):
                GrowthCallback(grow, at_step=1).on_step_begin(args, state, None)
        wrong = GrowthCallback(widen(factor=-1), at_step=1)
        with self.assertRaisesRegex(annuli.UserError, "factor"):
            trainer(small(), self.folder, [wrong], 3).train()


class Examples(unittest.TestCase):
    def run_example(self, name, *words):
        done = subprocess.run(
            [sys.executable, ROOT / "examples" / name, *map(str, words)],
            capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_a_loop(self):
        text = self.run_example("grow_in_a_loop.py", *TEXTS)
        self.assertEqual(text.count("checks passed"), 2)
        self.assertIn("step 59: loss", text)

    def test_a_trainer(self):
        out = Path(tempfile.mkdtemp(dir="."))
        text = self.run_example("grow_in_a_trainer.py", out, *TEXTS)
        self.assertEqual(text.count("'growth'"), 2)
        self.assertIn("'step': 60", self.run_example("grow_in_a_trainer.py", out, *TEXTS))


if __name__ == "__main__":
    unittest.main()
