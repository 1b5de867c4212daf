"""Run by wheel_test.py, in an environment where the wheel is installed: what becomes of
PyTorch's optimizers when a model grows in memory."""

import json
import tempfile
import unittest
from pathlib import Path

import annuli
import annuli.torch as at
import safetensors.torch
import torch
import transformers

import by_program
from training import adamw, families, train

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
WIDEN = dict(factor=2, noise_snr_db=10)
UPCYCLE = dict(num_experts=4, num_experts_per_tok=2)


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def adafactor(model):
    return torch.optim.Adafactor(model.parameters(), lr=1e-3)


def muon(model):
    held = [p for n, p in model.named_parameters() if "proj" in n and p.dim() == 2]
    return torch.optim.Muon(held, lr=1e-3)


# make, the program's word, and its part of each entry; of Adafactor's factors the
# dimension of 1 that PyTorch's have.
MOMENTUM = {"momentum_buffer": ("m", None)}
KINDS = {
    "sgd": (sgd, MOMENTUM),
    "adafactor": (
        adafactor,
        {"variance": ("v", None), "row_var": ("v_rows", -1), "col_var": ("v_columns", -2)},
    ),
}
if hasattr(torch.optim, "Muon"):
    KINDS["muon"] = (muon, MOMENTUM)


def parts_of(model, optimizer, entries):
    """The state as `optimizer.safetensors` has it. The names are those of the weights,
    in a model without experts."""
    parts = {}
    for name, parameter in model.named_parameters():
        for entry, (part, dimension) in entries.items():
            held = optimizer.state.get(parameter, {}).get(entry)
            if held is not None:
                held = held if dimension is None else held.squeeze(dimension)
                parts[f"{part}.{name}"] = held.clone()
    return parts


def save(model, optimizer, kind, entries, path):
    model.save_pretrained(path)
    parts = parts_of(model, optimizer, entries)
    safetensors.torch.save_file(parts, path / "optimizer.safetensors")
    row = dict(step=2, lr_multiplier=1, eps_multiplier=1, weight_decay_multiplier=1)
    names = {key.split(".", 1)[1] for key in parts}
    (path / "optimizer.json").write_text(json.dumps({
        "format_version": 1, "optimizer": kind, "tensors": {name: row for name in names}}))


class StateAsTheProgram(unittest.TestCase):
    """The very numbers that `annuli grow` writes from the same state on disk."""

    CASES = [
        ("llama", "widen", WIDEN),
        ("llama_tied_gqa", "widen", dict(factor=1.5, noise_snr_db="none")),
        ("qwen2", "deepen", dict(preset="interpose", add_layers=2)),
        ("qwen3", "widen", dict(ffn=200)),
    ]

    def check(self, kind, name, operator, options):
        make, entries = KINDS[kind]
        model = families.make(name).train()
        optimizer = make(model)
        train(model, optimizer, 2)
        parent = Path(tempfile.mkdtemp(dir="."))
        save(model, optimizer, kind, entries, parent)
        by_program.grow(operator, [parent], parent / "grown", options)
        expected = safetensors.torch.load_file(parent / "grown/optimizer.safetensors")
        child, grown = at.grow(model, optimizer, getattr(at, operator)(**options))
        found = parts_of(child, grown, entries)
        self.assertTrue(expected)
        self.assertEqual(set(found), set(expected))
        for key, tensor in expected.items():
            self.assertTrue(torch.equal(found[key], tensor), key)
        if kind == "adafactor":
            self.assertEqual({int(state["step"]) for state in grown.state.values()}, {2})
        train(child, grown, 1)

    def test_every_optimizer(self):
        for kind in KINDS:
            for case in self.CASES:
                with self.subTest(f"{kind}, {case}"):
                    self.check(kind, *case)


class Optimizers(unittest.TestCase):
    def grown(self, make, name="llama_tied_gqa", growth=None):
        model = families.make(name).train()
        optimizer = make(model)
        train(model, optimizer, 2)
        return model, optimizer, at.grow(model, optimizer, growth or at.widen(**WIDEN))

    def test_groups_follow(self):
        model, optimizer, (child, grown) = self.grown(adamw)
        self.assertIsInstance(grown, torch.optim.AdamW)
        self.assertEqual([g["weight_decay"] for g in grown.param_groups], [0.1, 0.0])
        for group, dims in zip(grown.param_groups, (2, 1), strict=True):
            self.assertEqual({p.dim() for p in group["params"]}, {dims})
            self.assertEqual(group["eps"], 1e-6)
        own = {id(p) for p in child.parameters()}
        held = [id(p) for g in grown.param_groups for p in g["params"]]
        self.assertEqual(own, set(held))
        self.assertEqual(len(held), len(own))

    def test_what_was_frozen_stays_so(self):
        model = families.make("llama").train()
        model.model.embed_tokens.weight.requires_grad = False
        optimizer = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
        train(model, optimizer, 1)
        child, grown = at.grow(model, optimizer, at.upcycle(**UPCYCLE))
        embedding = child.model.embed_tokens.weight
        self.assertFalse(embedding.requires_grad)
        held = {id(p) for g in grown.param_groups for p in g["params"]}
        own = {id(p) for p in child.parameters()}
        self.assertEqual(own - held, {id(embedding)})  # routers are trained
        train(child, grown, 2)

    def test_reset(self):
        _, _, (child, grown) = self.grown(
            adamw, growth=at.widen(factor=2, optimizer="reset"))
        self.assertFalse(grown.state)
        train(child, grown, 1)

    def test_what_cannot_follow(self):
        with self.assertRaisesRegex(annuli.UserError, "Adafactor.*optimizer='reset'"):
            self.grown(adafactor, "mixtral")

    @unittest.skipUnless(hasattr(torch.optim, "Muon"), "this torch has no Muon")
    def test_muon_takes_matrices_alone(self):
        with self.assertRaisesRegex(annuli.UserError, r"Muon, and .*experts.* \[4, .*matrix"):
            self.grown(muon, growth=at.upcycle(**UPCYCLE))

    def test_adafactor_with_an_eps_that_bounds_single_moments(self):
        def make(model):
            return torch.optim.Adafactor(model.parameters(), lr=1e-3, eps=(1e-2, 1e-3))

        exact = at.widen(factor=2, noise_snr_db="none", dynamics="exact")
        with self.assertRaisesRegex(annuli.UserError, r"eps\[0\] below .*dynamics='plain'"):
            self.grown(make, growth=exact)
        self.grown(adafactor, growth=exact)


if __name__ == "__main__":
    unittest.main()
