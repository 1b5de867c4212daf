"""Run by wheel_test.py, in an environment where the wheel is installed: growth of
models in memory, against growth from disk to disk by the program, and against
PyTorch itself."""

import copy
import inspect
import json
import os
import tempfile
import unittest
from pathlib import Path

import annuli
import annuli._memory
import annuli._models
import annuli.torch as at
import safetensors.torch
import torch
import transformers

import by_program
from training import adamw, families, ids, train

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
WIDEN = dict(factor=2, noise_snr_db=10)
DEEPEN = dict(preset="interpose", add_layers=2)
UPCYCLE = dict(num_experts=4, num_experts_per_tok=2)
# The families by the operators that each can have; the others follow from these,
# tensor by tensor.
CASES = [
    *[(name, "widen", WIDEN) for name in families.MODELS],
    *[(name, "deepen", DEEPEN) for name in families.MODELS],
    ("llama_mqa", "widen", dict(factor=3, noise_snr_db="none")),
    ("llama_tied_gqa", "upcycle", UPCYCLE),
    ("llama", "upcycle", UPCYCLE | dict(drop_ratio=0.5)),
    ("qwen3", "upcycle", UPCYCLE),
    ("mixtral", "expand_experts", dict(factor=2)),
    ("qwen3_moe", "expand_experts", dict(factor=2)),
    ("qwen3_tied", "untie", {}),
    ("llama_biases", "perturb", dict(relative_std=1e-4)),
    ("arcee", "shrink_perturb", {}),
    ("llama", "extend", dict(max_position_embeddings=256, method="theta")),
]
IN_BF16 = [
    ("llama_tied_gqa", "widen", WIDEN),
    ("mixtral", "widen", WIDEN),
    ("qwen2", "deepen", DEEPEN),
]
LOOSE = {"loss_budget": 9.0, "allow": ["router_health"]}

folder: Path


def setUpModule():
    global folder
    folder = Path(tempfile.mkdtemp(dir="."))


def different(name, seed):
    """Models of one shape with other weights."""
    model = families.make(name)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.01 * torch.randn(parameter.shape, generator=generator)
    return model


def save(model, optimizer, path):
    """The model and its optimizer's state as `annuli` reads them. Moments are saved
    as if they were the weights, by the same conversions."""
    model.save_pretrained(path)
    parts, names = {}, None
    for entry, part in (("exp_avg", "m"), ("exp_avg_sq", "v")):
        moments = copy.deepcopy(model)
        with torch.no_grad():
            for own, its in zip(moments.parameters(), model.parameters(), strict=True):
                own.data = optimizer.state[its][entry].clone()
        moments.save_pretrained(path / part)
        saved = safetensors.torch.load_file(path / part / "model.safetensors")
        parts |= {f"{part}.{name}": tensor for name, tensor in saved.items()}
        names = list(saved)
    step = int(next(iter(optimizer.state.values()))["step"])
    safetensors.torch.save_file(parts, path / "optimizer.safetensors")
    row = dict(step=step, lr_multiplier=1, eps_multiplier=1, weight_decay_multiplier=1)
    (path / "optimizer.json").write_text(
        json.dumps({"format_version": 1, "optimizer": "adamw", "tensors": {name: row for name in names}}))


def load(model, path):
    """A model of the same class out of a folder."""
    return type(model).from_pretrained(path, dtype=model.dtype)


def moments_of(model, path, part):
    """The program's grown moments, as a model like `model` holds them."""
    its = safetensors.torch.load_file(path / "optimizer.safetensors")
    own = {n[2:]: t for n, t in its.items() if n.startswith(part + ".")}
    where = path / f"as-weights-{part}"
    where.mkdir()
    (where / "config.json").write_text((path / "config.json").read_text())
    safetensors.torch.save_file(own, where / "model.safetensors", {"format": "pt"})
    return type(model).from_pretrained(where, dtype=model.dtype), set(own)


class AsTheProgram(unittest.TestCase):
    """Show 2: the very bytes of `annuli grow` on the saved parent."""

    def grown(self, name, operator, options, dtype):
        model = families.make(name, dtype).train()
        optimizer = adamw(model)
        train(model, optimizer, 2)
        parent = folder / f"{name}-{operator}-{len(list(folder.iterdir()))}"
        save(model, optimizer, parent)
        out = Path(f"{parent}-grown")
        by_program.grow(operator, [parent], out, options)
        growth = getattr(at, operator)(**options)
        before = copy.deepcopy(model.state_dict())
        grown = at.grow(model, optimizer, growth, **LOOSE)
        self.assertEqual(
            [n for n, t in model.state_dict().items() if not torch.equal(t, before[n])], [])
        return model, grown, out

    def check(self, name, operator, options, dtype=torch.float32):
        model, grown, out = self.grown(name, operator, options, dtype)
        child, optimizer = grown
        its = load(child, out)
        mine = child.state_dict()
        for key, tensor in its.state_dict().items():
            self.assertEqual(tensor.dtype, mine[key].dtype, key)
            self.assertTrue(torch.equal(tensor, mine[key]), key)
        self.assertTrue(grown.verdicts)
        self.assertTrue(child.training)
        record = json.loads((out / "lineage.json").read_text())["records"][-1]
        self.assertEqual(grown.lineage["records"][-1]["child"], record["child"])
        self.assertEqual(grown.lineage["records"][-1]["parent"], record["parent"])
        self.check_state(child, optimizer, out)

    def check_state(self, child, optimizer, out):
        names = {id(p): n for n, p in child.named_parameters()}
        for part, entry in (("m", "exp_avg"), ("v", "exp_avg_sq")):
            its, stored = moments_of(child, out, part)
            theirs = dict(its.named_parameters())
            carried = 0
            for parameter, state in optimizer.state.items():
                key = names[id(parameter)]
                self.assertTrue(torch.equal(state[entry], theirs[key]), key)
                self.assertEqual(int(state["step"]), 2)
                carried += 1
            self.assertEqual(carried > 0, bool(stored))
            if len(stored) == len(theirs):  # no experts lie together
                self.assertEqual(carried, len(stored))

    def test_every_family_and_operator(self):
        for name, operator, options in CASES:
            with self.subTest(f"{name}, {operator}"):
                self.check(name, operator, options)

    def same_weights(self, grown, out):
        for key, tensor in load(grown.model, out).state_dict().items():
            self.assertTrue(torch.equal(tensor, grown.model.state_dict()[key]), key)
        record = json.loads((out / "lineage.json").read_text())["records"][-1]
        self.assertEqual(grown.lineage["records"][-1]["child"], record["child"])

    def test_chain(self):
        """Two ways round, and one that ends in another class."""
        widen, deepen, upcycle = at.widen(**WIDEN), at.deepen(**DEEPEN), at.upcycle(**UPCYCLE)
        for number, steps in enumerate([(widen, deepen), (deepen, widen), (widen, upcycle)]):
            with self.subTest(number):
                model = families.make("llama")
                parent, out = folder / f"chained-{number}", folder / f"chain-{number}"
                model.save_pretrained(parent)
                plan = folder / f"chain-{number}.yaml"
                plan.write_text(json.dumps([{s.operator: s.arguments} for s in steps]))
                by_program.grow("chain", [plan, parent], out)
                self.same_weights(at.grow(model, None, at.chain(steps), **LOOSE), out)

    def test_merge(self):
        models = [different("llama", seed) for seed in range(3)]
        folders = [folder / f"merged-{i}" for i in range(3)]
        for model, where in zip(models, folders, strict=True):
            model.save_pretrained(where)
        options = {"num_experts_per_tok": 2, "with": ",".join(map(str, folders[1:]))}
        out = folder / "merge"
        by_program.grow("merge_experts", folders[:1], out, options)
        merge = at.merge_experts(with_=models[1:], num_experts_per_tok=2)
        self.same_weights(at.grow(models[0], None, merge, **LOOSE), out)
        other = at.merge_experts(with_=models[:0:-1], num_experts_per_tok=2)
        with self.assertRaises(AssertionError):  # their order counts
            self.same_weights(at.grow(models[0], None, other, **LOOSE), out)

    def test_bf16(self):
        for name, operator, options in IN_BF16:
            with self.subTest(f"{name}, {operator}"):
                self.check(name, operator, options, torch.bfloat16)

    def test_bf16_that_would_round_is_kept_in_fp32(self):
        model = families.make("llama_mqa", torch.bfloat16)
        grown = at.grow(model, None, at.widen(factor=3, noise_snr_db="none"))
        self.assertEqual(grown.model.dtype, torch.float32)
        self.assertIn("F32", grown.note)

    def test_the_function_is_kept(self):
        """1e-5 of logits about 2, in fp32: docs/numerics.md."""
        for name in families.MODELS:
            model = families.make(name).eval()
            child, _ = at.grow(model, None, at.widen(**WIDEN))
            with torch.no_grad():
                before, after = model(ids()).logits, child(ids()).logits
            self.assertFalse(child.training)
            self.assertLess((before - after).abs().max().item(), 1e-5, name)


class Refused(unittest.TestCase):
    """One clear line each, and nothing is changed."""

    def refuses(self, model, words, optimizer=None, growth=None, **options):
        with self.assertRaisesRegex(annuli.UserError, words) as raised:
            at.grow(model, optimizer, growth or at.widen(factor=2), **options)
        self.assertNotIn("\n", str(raised.exception))

    def test_models(self):
        llama = families.make("llama")
        self.refuses(torch.nn.Linear(2, 2), "found a Linear, expected a model of tr")
        self.refuses(torch.nn.DataParallel(llama), "give model.module")
        self.refuses(copy.deepcopy(llama).to("meta"), "no data")
        wrong = copy.deepcopy(llama)
        wrong.model.extra = torch.nn.Parameter(torch.ones(3))
        self.refuses(wrong, "'model.extra' .* not part of the model")
        wrong = copy.deepcopy(llama)
        wrong.config.num_key_value_heads = 2
        self.refuses(wrong, "k_proj.weight' is .*, expected")
        config = transformers.GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=50)
        self.refuses(transformers.GPT2LMHeadModel(config), "gpt2")

    def test_tensors(self):
        model = families.make("llama")
        weight = model.lm_head.weight.data

        class Packed(torch.Tensor):  # as torchao's and others' weights are
            pass

        others = {
            "'lm_head.weight' is a Packed": weight.as_subclass(Packed),
            "'lm_head.weight' is torch.sparse_coo": weight.to_sparse(),
            "'lm_head.weight' is torch.int8": weight.to(torch.int8),
        }
        for words, data in others.items():
            model.lm_head.weight = torch.nn.Parameter(data, requires_grad=False)
            self.refuses(model, words)
        # What judges the place, asked of one that there may be none of here.
        fault = annuli._models.fault_of(torch.device("cuda", 1), torch.strided)
        self.assertRegex(fault, r"on cuda:1, expected the host's .*model\.cpu\(\)")
        self.assertEqual(annuli._models.fault_of(torch.device("cpu"), torch.strided), "")

    def test_models_that_others_have_changed(self):
        llama = families.make("llama")
        compiled = type("OptimizedModule", (torch.nn.Module,), {})()  # torch.compile's
        self.refuses(compiled, "compiled")
        quantised = copy.deepcopy(llama)
        quantised.config.quantization_config = {"quant_method": "x"}
        self.refuses(quantised, "quantised")
        quantised = copy.deepcopy(llama)
        quantised.is_quantized = True  # as bitsandbytes' are
        self.refuses(quantised, "quantised")
        adapted = copy.deepcopy(llama)
        adapted._hf_peft_config_loaded = True
        self.refuses(adapted, "adapters")

        class PeftModel(torch.nn.Module):  # what peft makes around a model
            def __init__(self, base):
                super().__init__()
                self.base_model, self.peft_config = base, {"default": {}}

        self.refuses(PeftModel(llama), "found a PeftModel.*merge_and_unload")

    def test_dtensor(self):
        from torch.distributed.tensor import DTensor, init_device_mesh

        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
        store = torch.distributed.HashStore()
        torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
        try:
            mesh = init_device_mesh("cpu", (1,))
            model = families.make("llama")
            weight = DTensor.from_local(model.lm_head.weight.data, mesh)
            model.lm_head.weight = torch.nn.Parameter(weight)
            self.refuses(model, "'lm_head.weight' is a DTensor")
        finally:
            torch.distributed.destroy_process_group()

    def test_optimizers(self):
        model = families.make("llama")
        other = families.make("llama")
        self.refuses(model, "not the model's", torch.optim.AdamW(other.parameters()))
        self.refuses(model, "expected one of", torch.optim.RMSprop(model.parameters()))

        class Mine(torch.optim.AdamW):
            pass

        self.refuses(model, "Mine, expected one of", Mine(model.parameters()))
        amsgrad = torch.optim.AdamW(model.parameters(), amsgrad=True)
        self.refuses(model, "amsgrad", amsgrad)
        away = torch.optim.AdamW(model.parameters())
        away.state[model.lm_head.weight] = {
            entry: torch.zeros_like(model.lm_head.weight, device="meta")
            for entry in ("exp_avg", "exp_avg_sq")}
        self.refuses(model, "state of 'lm_head.weight' is a Tensor on meta", away)

    def test_gradients_that_were_not_used(self):
        model = families.make("llama")
        model(input_ids=ids(), labels=ids()).loss.backward()
        self.refuses(model, "gradient that was not used")
        model.zero_grad(set_to_none=False)
        at.grow(model, None, at.widen(factor=2))

    def test_options(self):
        model = families.make("llama")
        self.refuses(model, "factor", growth=at.widen(factor=-1))
        self.refuses(model, "num_experts_per_tok",
                     growth=at.upcycle(num_experts=2, num_experts_per_tok=3))
        self.refuses(model, "found 1 expert",
                     growth=at.upcycle(num_experts=2, num_experts_per_tok=1))
        self.refuses(families.make("arcee"), "has no class for .*, expected a growth whose",
                     growth=at.upcycle(**UPCYCLE))
        self.refuses(model, "vocabulary of", probe=torch.full((1, 9), families.V))
        self.refuses(model, r"\[W, T", probe=torch.zeros(3))

    def test_nan_of_the_parent(self):
        model = families.make("llama")
        with torch.no_grad():
            model.model.layers[1].mlp.up_proj.weight[0, 0] = float("nan")
        self.refuses(model, "NaN|not finite|nan")

    def test_no_memory_of_other_strides_is_misread(self):
        model = families.make("llama")
        expected, _ = at.grow(model, None, at.widen(**WIDEN))
        weight = model.model.layers[0].mlp.up_proj.weight
        weight.data = weight.data.t().contiguous().t()
        self.assertFalse(weight.is_contiguous())
        found, _ = at.grow(model, None, at.widen(**WIDEN))
        for name, tensor in expected.state_dict().items():
            self.assertTrue(torch.equal(tensor, found.state_dict()[name]), name)

    def test_a_child_that_is_not_what_it_should_be(self):
        """One mutant of each kind: the proof sees what the library has made."""
        mutants = {
            "scale": lambda t: t.mul_(1.01),
            "zero row": lambda t: t[0].zero_(),
            "swapped rows": lambda t: t.copy_(t[torch.randperm(len(t))]),
            "one entry": lambda t: t.view(-1)[5].add_(0.5),
            "nan": lambda t: t.view(-1)[5].fill_(float("nan")),
        }
        for name, spoil in mutants.items():
            for key in ("model.norm.weight", "model.layers.1.mlp.down_proj.weight"):
                with self.subTest(f"{name} of {key}"):
                    self.assert_refused(key, spoil)

    def assert_refused(self, key, spoil):
        call, held = annuli._memory.call, {}
        torch.manual_seed(0)

        def spoiling(verb, **order):
            if verb == "prove":
                spoil(held[key])
            return call(verb, **order)

        words = annuli._memory.all_words

        def watching(tensors):
            held.update(tensors)
            return words(tensors)

        annuli._memory.call, annuli._memory.all_words = spoiling, watching
        try:
            with self.assertRaises(annuli.VerdictError) as raised:
                at.grow(families.make("llama"), None, at.widen(**WIDEN))
        finally:
            annuli._memory.call, annuli._memory.all_words = call, words
        self.assertTrue([v for v in raised.exception.verdicts if not v["passed"]])


class Consumed(unittest.TestCase):
    def test_the_same_child(self):
        for name, growth in (("llama_tied_gqa", at.widen(**WIDEN)),
                             ("qwen3", at.upcycle(**UPCYCLE)),
                             ("mixtral", at.deepen(**DEEPEN))):
            with self.subTest(name):
                model = families.make(name).train()
                optimizer = adamw(model)
                train(model, optimizer, 2)
                kept = at.grow(model, optimizer, growth, allow=["router_health"])
                gone = at.grow(
                    model, optimizer, growth, allow=["router_health"], consume=True)
                self.assertTrue(gone.verdicts)
                for key, tensor in kept.model.state_dict().items():
                    self.assertTrue(torch.equal(tensor, gone.model.state_dict()[key]), key)
                for mine, its in zip(kept.optimizer.state.values(),
                                     gone.optimizer.state.values(), strict=True):
                    self.assertTrue(torch.equal(mine["exp_avg"], its["exp_avg"]))
                self.assertEqual(sum(p.numel() for p in model.parameters()), 0)
                self.assertFalse(optimizer.state)
                self.assertEqual(kept.lineage["records"][-1]["child"], gone.lineage["records"][-1]["child"])


class Operators(unittest.TestCase):
    def test_every_operator_with_its_options(self):
        names = set(annuli.grow.__all__) - {"replay"}
        self.assertEqual(set(at.__all__) - {"Grown", "Growth", "grow"}, names)
        common = set.intersection(*(
            set(inspect.signature(getattr(annuli.grow, name)).parameters)
            for name in names))
        for name in names - {"chain"}:
            own = set(inspect.signature(getattr(at, name)).parameters)
            its = set(inspect.signature(getattr(annuli.grow, name)).parameters)
            self.assertEqual(own, (its - common) | {"optimizer", "dynamics"})

    def test_a_chain_is_one_growth(self):
        model = families.make("llama")
        chain = at.chain([at.widen(**WIDEN), at.deepen(**DEEPEN)])
        child, _ = at.grow(model, None, chain)
        self.assertEqual((child.config.hidden_size, child.config.num_hidden_layers), (96, 5))

    def test_merge(self):
        models = [families.make("llama") for _ in range(3)]
        merge = at.merge_experts(with_=models[1:], num_experts_per_tok=2)
        child, _ = at.grow(models[0], None, merge, loss_budget=9.0)
        self.assertEqual(child.config.num_local_experts, 3)

    def test_the_generator_of_random_numbers_stays(self):
        model = families.make("qwen2_moe")
        before = torch.get_rng_state()
        at.grow(model, None, at.widen(**WIDEN))
        self.assertTrue(torch.equal(before, torch.get_rng_state()))

    def test_seed_and_dtype(self):
        model = families.make("llama")
        first, again, other = (
            at.grow(model, None, at.widen(**WIDEN), seed=seed).model.model.layers[0].mlp.up_proj.weight
            for seed in (1, 1, 2))
        self.assertTrue(torch.equal(first, again))
        self.assertFalse(torch.equal(first, other))
        wide, _ = at.grow(model, None, at.widen(**WIDEN), dtype="f64")
        self.assertEqual(wide.dtype, torch.float64)


if __name__ == "__main__":
    unittest.main()
