"""Run by wheel_test.py, in an environment where the wheel is installed: growth of
models in memory, against growth from disk to disk by the program, and against
PyTorch itself."""

import copy
import inspect
import json
import os
import subprocess
import sys
import tempfile
import types
import unittest
from pathlib import Path

import annuli
import annuli._memory
import annuli.torch as at
import safetensors.torch
import torch
import transformers

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ["ANNULI_BUILD"]) / "annuli"
sys.path.insert(0, str(ROOT / "tests/interop"))
import families  # noqa: E402

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


def ids(rows=4, length=16, seed=7):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, families.V, (rows, length), generator=generator)


def norm_in_double(self, x):
    """RMSNorm in the type of its input; transformers' own is in fp32."""
    mean = x.square().mean(-1, keepdim=True)
    return self.weight * x * torch.rsqrt(mean + self.variance_epsilon)


def in_double(model):
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = types.MethodType(norm_in_double, module)
    return model


def train(model, optimizer, steps, seed=11):
    """The loss of each step."""
    losses = []
    for step in range(steps):
        batch = ids(seed=seed + step)
        logits = model(input_ids=batch, use_cache=False).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    optimizer.zero_grad()
    return losses


def adamw(model, lr=1e-3):
    decay = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() < 2]
    return torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
        lr=lr, eps=1e-6)


def flags(options):
    words = []
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}={value}"]
    return words


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


def by_program(operator, parent, out, options):
    verb = operator.replace("_", "-")
    done = subprocess.run(
        [PROGRAM, "grow", verb, parent, "--out", out, *flags(options), "--no-verify"],
        capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(done.stderr)


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
        by_program(operator, parent, out, options)
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


class ExactDynamics(unittest.TestCase):
    """Without noise and with dynamics="exact" the child trains as its parent does:
    fp64 rounding, with a factor of a thousand for what 100 steps amplify."""

    STEPS, LIMIT = 100, 1e-12

    def losses(self, make_optimizer, growth, spoil=lambda optimizer: None):
        model = in_double(families.make("llama", torch.float64).train())
        optimizer = make_optimizer(model)
        train(model, optimizer, 3)
        child, grown = at.grow(model, optimizer, growth)
        in_double(child)
        spoil(grown)
        expected = train(model, optimizer, self.STEPS, seed=50)
        found = train(child, grown, self.STEPS, seed=50)
        return max(abs(a - b) for a, b in zip(expected, found, strict=True))

    def widened(self):
        return at.widen(factor=2, noise_snr_db="none", dynamics="exact")

    def test_adamw(self):
        self.assertLess(self.losses(adamw, self.widened()), self.LIMIT)

    def test_sgd(self):
        def sgd(model):
            return torch.optim.SGD(
                model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)

        self.assertLess(self.losses(sgd, self.widened()), self.LIMIT)

    def test_each_part_is_needed(self):
        def reset(key):
            def spoil(optimizer):
                plain = {"lr": 1e-3, "eps": 1e-6}
                for group in optimizer.param_groups:
                    group[key] = plain.get(key, 0.1 if group[key] else 0.0)
            return spoil

        def forget(optimizer):
            optimizer.state.clear()

        self.STEPS = 10
        for spoil in (reset("lr"), reset("eps"), reset("weight_decay"), forget):
            with self.subTest():
                self.assertGreater(
                    self.losses(adamw, self.widened(), spoil), 1e3 * self.LIMIT)


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

    def test_sgd(self):
        def sgd(model):
            return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        model, optimizer, (child, grown) = self.grown(sgd)
        _, _, (_, adam) = self.grown(adamw)
        self.assertEqual(len(grown.state), len(adam.state))
        train(child, grown, 1)

    def test_adafactor(self):
        """The child's second moments are the parent's, copied: v of widened rows and
        columns, times the square of what the gradient changes by."""
        def make(model):
            return torch.optim.Adafactor(model.parameters(), lr=1e-3)

        def second(state):
            rows, columns = state["row_var"], state["col_var"]
            return rows @ columns / rows.mean(dim=-2, keepdim=True)

        model, optimizer, (child, grown) = self.grown(make)
        key = "model.layers.1.mlp.up_proj.weight"
        before = second(optimizer.state[dict(model.named_parameters())[key]])
        after = second(grown.state[dict(child.named_parameters())[key]])
        ratio = after[: before.shape[0], : before.shape[1]] / before
        self.assertLess((ratio / ratio.mean() - 1).abs().max().item(), 1e-4)
        self.assertEqual(after.shape, (2 * before.shape[0], 2 * before.shape[1]))
        train(child, grown, 1)
        with self.assertRaisesRegex(annuli.UserError, "Adafactor.*optimizer='reset'"):
            self.grown(make, "mixtral")

    @unittest.skipUnless(hasattr(torch.optim, "Muon"), "this torch has no Muon")
    def test_muon(self):
        def muon(model):
            held = [p for n, p in model.named_parameters() if "proj" in n]
            return torch.optim.Muon(held, lr=1e-3)

        model, optimizer, (child, grown) = self.grown(muon)
        self.assertEqual(len(grown.state), len(optimizer.state))
        train(child, grown, 1)


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
        quantised = copy.deepcopy(llama)
        quantised.config.quantization_config = {"quant_method": "x"}
        self.refuses(quantised, "quantised")
        adapted = copy.deepcopy(llama)
        adapted._hf_peft_config_loaded = True
        self.refuses(adapted, "adapters")

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
        exact = at.widen(factor=2, dynamics="exact")
        self.refuses(model, "exact", torch.optim.Adam(model.parameters()), exact)

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
