#!/usr/bin/env python3
"""Keys of config.json that are absent or null: each has the value of its class
in transformers, whatever the class. The walk takes families from the program and
attributes and defaults from transformers, so that nothing is remembered here.
"""

import dataclasses
import inspect
import json
import os
import re
import subprocess
import sys
import warnings

import torch
import transformers
from transformers.activations import ACT2CLS, ACT2FN

import case

warnings.simplefilter("ignore")
transformers.utils.logging.disable_progress_bar()
OF_ALL = {field.name for field in dataclasses.fields(transformers.PreTrainedConfig)}
# Defaults of the classes go with them: 8 and 32 key/value heads, 8 experts a token.
SIZES = dict(
    vocab_size=151936,
    hidden_size=1024,
    intermediate_size=96,
    moe_intermediate_size=40,
    shared_expert_intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=64,
    num_key_value_heads=16,
    head_dim=16,  # a quarter of it, which GPT-NeoX turns, is even
    max_position_embeddings=512,
    num_experts=16,
    num_local_experts=16,
    num_experts_per_tok=2,
    sliding_window=None,
    attention_multiplier=0.25,
)
WINDOW = dict(use_sliding_window=True, sliding_window=600, max_window_layers=1)


def understood(configs):
    """What the program makes of each."""
    lines = "".join(json.dumps(config) + "\n" for config in configs)
    result = subprocess.run([os.environ["ANNULI_RESOLVE_CONFIGS"]], input=lines,
                            capture_output=True, text=True, check=True)
    return [json.loads(line) for line in result.stdout.splitlines()]


def classes():
    """The classes of transformers that the program says it knows."""
    [answer] = understood([{"model_type": "no such type"}])
    known = answer["error"].split("expected one of ")[1].split(", ")
    mapping = transformers.models.auto.configuration_auto.CONFIG_MAPPING
    return {name: mapping[name] for name in known if not name.startswith("annuli")}


def attributes(cls):
    """The attributes of the class itself, with their defaults."""
    return {field.name: field.default for field in dataclasses.fields(cls)
            if field.name not in OF_ALL}


def stated(cls, **changes):
    """A config.json that states every attribute, off its default where the walk's
    sizes say so."""
    own = attributes(cls)
    sizes = {key: value for key, value in (SIZES | changes).items()
             if key in own or key == "head_dim"}  # their code reads it anyway
    config = cls(**sizes)
    result = {key: getattr(config, key) for key in own} | sizes
    result.pop("layer_types", None)  # one that is stated must fit the layers
    return result | {"model_type": cls.model_type}


def theirs(cls, config):
    """The class's object, or None where it refuses."""
    try:
        return cls(**{k: v for k, v in config.items() if k != "model_type"})
    except Exception:
        return None


def says(value, line):
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value in map(float, re.findall(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?", line))
    return json.dumps(value) in line


def value_in(config, key):
    value = getattr(config, key, None)  # not of every class
    if key == "head_dim" and value is None:  # as their modelling code forms it
        return config.hidden_size // config.num_attention_heads
    return value


class Walk(case.Case):
    """`count` is what was compared, `differences` what was not equal."""

    def setUp(self):
        super().setUp()
        self.maxDiff = None
        self.count = self.refusals = 0
        self.differences = []

    def compare(self, cls, key, config, ours):
        """All attributes, after `key` was left out or made null."""
        what = f"{cls.model_type}, {key}: {config.get(key, 'left out')}"
        reference = theirs(cls, config)
        if "error" in ours:
            # It names the key and the value that the class has, which the class
            # refuses, or has no use for, or which nothing here computes.
            self.refusals += 1
            held = reference and value_in(reference, key)
            value = config.get(key, held)
            right = held is None or "which no model here computes" in ours["error"]
            if not right or key not in ours["error"] or not says(value, ours["error"]):
                self.differences.append(f"{what}: {ours['error']}")
            return
        if reference is None:
            # What is not looked at may stay null, but is never guessed.
            self.count += 1
            if ours[key] is not None:
                self.differences.append(f"{what}: refused by transformers, ours {ours[key]}")
            return
        for name in attributes(cls):
            self.count += 1
            if ours.get(name, "not there") != value_in(reference, name):
                self.differences.append(
                    f"{what}: {name} is {value_in(reference, name)}, ours {ours.get(name)}")

    def compare_all(self, questions):
        """Of (class, key, config)."""
        answers = understood([config for _, _, config in questions])
        for (cls, key, config), ours in zip(questions, answers, strict=True):
            self.compare(cls, key, config, ours)
        print(f"\n  {self.count} attributes compared over {len(questions)} configs, "
              f"{self.refusals} refused by name, {len(self.differences)} differences",
              file=sys.stderr)
        self.assertEqual(self.differences, [])
        self.assertGreater(self.count, 0)

    def test_every_attribute_of_every_class_left_out_and_null(self):
        self.assertEqual(len(classes()), 11)
        questions = []
        for cls in classes().values():
            own = attributes(cls)
            bases = [stated(cls)]
            if "use_sliding_window" in own:
                bases.append(stated(cls, **WINDOW))
            for base in bases:
                questions.append((cls, "model_type", base))
                for key in own | {"head_dim": None}:
                    absent = {k: v for k, v in base.items() if k != key}
                    questions += [(cls, key, absent), (cls, key, base | {key: None})]
        self.compare_all(questions)

    def test_a_config_that_states_nothing(self):
        # The whole class; Granite's and Mistral's are refused, by name.
        questions = [(cls, {"granite": "attention_multiplier", "mistral": "sliding_window"}
                      .get(name, "model_type"), {"model_type": name})
                     for name, cls in classes().items()]
        self.compare_all(questions)
        self.assertEqual(self.refusals, 2)

    def test_rotary_positions_in_the_words_of_4_and_5(self):
        linear = dict(rope_type="linear", factor=2.0)
        forms = [
            dict(rope_theta=7e4),
            dict(rope_theta=7e4, rope_scaling=None),
            dict(rope_scaling=dict(type="linear", factor=2.0)),
            dict(rope_theta=7e4, rope_scaling=linear),
            dict(rope_parameters=linear),
            dict(rope_parameters=linear | dict(rope_theta=5e3)),
            dict(rope_theta=7e4, rope_parameters=dict(rope_type="default")),
            dict(rope_theta=7e4, rope_scaling={}, rope_parameters=dict(rope_theta=9.0)),
            dict(rope_scaling=linear, rope_parameters=dict(rope_theta=9.0)),
            dict(rope_parameters=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0,
                                      high_freq_factor=4.0)),
        ]
        questions = []
        for cls in classes().values():
            base = stated(cls)
            base.pop("rope_parameters")
            questions += [(cls, "rope_parameters", base | form) for form in forms]
        answers = understood([config for _, _, config in questions])
        for (cls, _, config), ours in zip(questions, answers, strict=True):
            copy = json.loads(json.dumps(config))  # the class changes what it is given
            reference = dict(theirs(cls, copy).rope_parameters)
            reference.pop("type", None)
            self.assertEqual(ours.get("rope_parameters"), reference, (ours, config))

    def test_other_names_of_an_attribute(self):
        questions = []
        for cls in classes().values():
            for alias, key in cls.attribute_map.items():
                for key, alias in [(key, alias), (alias, key)]:
                    base = stated(cls)
                    value = base.pop(key, None) or base.pop(alias)
                    questions.append((cls, key, base | {alias: value + 1}))
        self.assertGreaterEqual(len(questions), 4)
        self.compare_all(questions)

    def test_nothing_that_their_code_reads_is_unknown_here(self):
        for name, cls in classes().items():
            [ours] = understood([stated(cls)])
            modelling = inspect.getsource(sys.modules[transformers.AutoModelForCausalLM
                                          ._model_mapping[cls].__module__])
            read = set(re.findall(r"\bconfig\.([a-z]\w*)", modelling))
            read |= set(re.findall(r"getattr\((?:self\.)?config, \"([a-z]\w*)\"", modelling))
            self.assertGreater(len(read), 10)
            # Of heads for classes of documents; formed where it is no attribute.
            read -= {"num_labels", "head_dim"}
            self.assertEqual(read - ours.keys(), set(), name)

    def test_activations_are_read_where_they_are_the_same_function(self):
        x = torch.linspace(-20, 20, 2001, dtype=torch.float64)
        llama = classes()["llama"]
        names = [name for name in ACT2CLS if not list(ACT2FN[name].parameters())]
        answers = understood([stated(llama) | {"hidden_act": name} for name in names])
        # The program's own words stand in what it says of any other.
        refusal = next(ours["error"] for ours in answers if "expected " in ours.get("error", ""))
        words = re.search(r"expected ([a-z0-9_, ]+)", refusal).group(1).split(", ")
        self.assertGreaterEqual(len(words), 3)
        known = {name: ACT2FN[name](x) for name in words}
        read = 0
        for name, ours in zip(names, answers, strict=True):
            values = ACT2FN[name](x)
            same = [key for key, value in known.items() if (values - value).abs().max() < 1e-12]
            if same:
                read += 1
                self.assertEqual(ours.get("hidden_act"), same[0], (name, ours))
            else:
                self.assertIn(f"found hidden_act '{name}', expected", ours["error"])
        self.assertGreaterEqual(read, 5)

    def test_what_changes_the_function_is_refused_by_name(self):
        llama, qwen = classes()["llama"], classes()["qwen3"]
        for cls, changes, says in [
            (llama, dict(is_causal=False), "'is_causal' is 'false'"),
            (llama, dict(per_layer_config={"0": {"rms_norm_eps": 1e-2}}), "'per_layer_config'"),
            (llama, dict(rope_theta=None, rope_parameters=None), "'rope_theta' is 'null'"),
            (llama, dict(quantization_config=dict(bits=4)), "'quantization_config'"),
            (qwen, dict(layer_types=["full_attention"]), "has 1 entries, expected one for each"),
            (qwen, dict(layer_types=["full_attention", "linear_attention"]), "'linear_attention'"),
        ]:
            [ours] = understood([stated(cls) | changes])
            self.assertIn(says, ours.get("error", str(ours)))
        # And what does not is read: nothing here is their default.
        [ours] = understood([stated(llama) | dict(
            is_causal=True, per_layer_config={}, quantization_config=None, sliding_window=16,
            router_jitter_noise=0.5, num_experts=3, attention_dropout=0.1)])
        self.assertNotIn("error", ours)


class Folders(case.Case):
    """The same through the program, with weights."""

    LIMIT = 1e-5  # of logits in fp32

    def rewritten(self, folder, change):
        path = folder / "config.json"
        path.write_bytes(change(path.read_text()))

    def stripped(self, name, family, **sizes):
        """A folder whose config.json states only what is not the class's default."""
        folder = self.saved(name, family, **sizes)
        cls = getattr(transformers, family + "Config")
        path = folder / "config.json"
        config = json.loads(path.read_text())
        own = attributes(cls)
        kept = {key: value for key, value in config.items()
                if key == "model_type" or (key in own and value != own[key])}
        kept.pop("rope_parameters", None)
        kept.pop("layer_types", None)
        path.write_text(json.dumps(kept))
        return folder

    def test_windows_that_no_layer_has_are_read(self):
        window = dict(sliding_window=16, max_window_layers=0)
        for family, changes in [
            ("Qwen2", dict(window, use_sliding_window=False)),
            ("Qwen2", dict(window, use_sliding_window=True, max_window_layers=2)),
            ("Mistral", dict(sliding_window=512)),
            ("Llama", dict(sliding_window=16)),
            ("Qwen3", dict(window, head_dim=16)),
        ]:
            sizes = dict(head_dim=16) if family == "Qwen3" else {}
            folder = self.saved("-".join([family, *map(str, changes.values())]), family, **sizes)
            case.edit_config(folder, drop=["layer_types", "use_sliding_window"], **changes)
            self.assertLess(self.logits_error(folder), self.LIMIT, (family, changes))

    def test_windows_in_use_are_refused_by_name(self):
        for family, changes, says in [
            ("qwen2", dict(use_sliding_window=True, sliding_window=16, max_window_layers=0),
             "sliding_window is 16, below max_position_embeddings 512"),
            ("qwen2", dict(use_sliding_window=True, max_window_layers=0,
                           max_position_embeddings=8192),
             "sliding_window is 4096, below max_position_embeddings 8192"),
            ("mistral", dict(), "sliding_window is 4096, below max_position_embeddings 131072"),
            ("qwen3", dict(use_sliding_window=False, sliding_window=16,
                           layer_types=["sliding_attention"] * 2), "switched off"),
            ("qwen3_moe", dict(use_sliding_window=True, sliding_window=16), "sliding_window is 16"),
            ("qwen2_moe", dict(use_sliding_window=True, sliding_window=16), "sliding_window is 16"),
        ]:
            base = stated(classes()[family])
            for key in ["use_sliding_window", "sliding_window", "max_window_layers"]:
                base.pop(key, None)
            if family == "mistral":
                base.pop("max_position_embeddings")
            [ours] = understood([base | changes])
            self.assertIn(says, ours.get("error", str(ours)))

    def test_layers_that_are_added_have_no_window_either(self):
        folder = self.saved(family="Qwen2")
        case.edit_config(folder, drop=["layer_types"], use_sliding_window=True,
                         sliding_window=16, max_window_layers=2)
        child = self.folder / "child"
        self.done("grow", "deepen", folder, "--out", child, "--preset", "zero-output",
                  "--add-layers", 2)
        self.assertLess(self.logits_error(child, folder), self.LIMIT)

    def test_mixtures_as_published(self):
        experts = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32)
        folder = self.saved("a", "Qwen3Moe", head_dim=16, **experts)
        case.edit_config(folder, drop=["norm_topk_prob"])
        self.assertLess(self.logits_error(folder), self.LIMIT)
        folder = self.saved("b", "Mixtral", num_local_experts=4, num_experts_per_tok=2,
                            router_jitter_noise=0.1, sliding_window=None)
        self.assertLess(self.logits_error(folder), self.LIMIT)
        folder = self.saved("c", "Qwen2Moe", shared_expert_intermediate_size=64, **experts)
        case.edit_config(folder, drop=["norm_topk_prob", "qkv_bias", "mlp_only_layers"])
        self.assertLess(self.logits_error(folder), self.LIMIT)

    def test_a_child_of_another_class_keeps_what_its_parents_class_meant(self):
        upcycle = ["upcycle", "--num-experts", 4, "--num-experts-per-tok", 2,
                   "--router", "random"]
        for family, child_type, sizes, operator in [
            ("Llama", "mixtral", dict(num_key_value_heads=4, rms_norm_eps=1e-6), upcycle),
            ("Mistral", "mixtral", dict(num_attention_heads=8, num_key_value_heads=8), upcycle),
            ("Qwen2", "qwen2_moe", {}, [*upcycle, "--shared-expert"]),
            ("Qwen3", "qwen3_moe", dict(head_dim=128), upcycle),
            ("Llama", "granite", dict(num_key_value_heads=4, tie_word_embeddings=True),
             ["widen", "--head", "multiplier", "--noise-snr-db", "null"]),
        ]:
            folder = self.stripped(f"{family} to {child_type}", family, **sizes)
            child = self.folder / f"{child_type} of {family}"
            result = self.done("grow", *operator, folder, "--out", child)
            self.assertNotIn("transformers has no class", result.stderr)
            before = transformers.AutoConfig.from_pretrained(folder)
            after = transformers.AutoConfig.from_pretrained(child)
            self.assertEqual(after.model_type, child_type)
            both = attributes(type(before)).keys() & attributes(type(after)).keys()
            grown = {"hidden_size", "intermediate_size", "num_attention_heads",
                     "num_key_value_heads", "head_dim", "tie_word_embeddings"}
            if operator[0] == "upcycle":
                grown = set()
            for key in both - grown - {"sliding_window"}:
                self.assertEqual(value_in(after, key), value_in(before, key), (family, key))
            self.assertLess(self.logits_error(child, folder), self.LIMIT)

    def test_sizes_left_out_are_named_where_the_weights_are_of_others(self):
        folder = self.saved()
        case.edit_config(folder, drop=["intermediate_size"])
        result = self.refused("grow", "deepen", folder, "--out", self.folder / "child", says=[
            "not stated by config.json, and taken from a llama: intermediate_size 11008"])
        self.assertIn("mlp", result.stderr)

    def test_json_as_python_writes_and_reads_it(self):
        folder = self.saved()
        odd = ('{"router_jitter_noise": NaN, "time_step_limit": [0.0, -Infinity], '
               '"hidden_size": 32, "suppress_tokens": [7, 9], "labels_seen": ["a", "b"],')
        self.rewritten(folder, lambda text: b"\xef\xbb\xbf" + text.replace("{", odd, 1).encode())
        child = self.folder / "child"
        self.done("grow", "deepen", folder, "--out", child, "--preset", "zero-output",
                  "--add-layers", 1)
        config = transformers.AutoConfig.from_pretrained(child)
        self.assertEqual((config.hidden_size, config.num_hidden_layers), (64, 3))
        self.assertNotEqual(config.router_jitter_noise, config.router_jitter_noise)  # NaN
        self.assertEqual(config.time_step_limit, [0.0, float("-inf")])
        # As long as the parent's layers by accident only.
        written = json.loads((child / "config.json").read_text())
        self.assertEqual(written["suppress_tokens"], [7, 9])
        self.assertEqual(written["labels_seen"], ["a", "b"])
        for name, change in [("comma", lambda text: text.rstrip()[:-1] + ",}"),
                             ("comment", lambda text: "// my model\n" + text),
                             ("number", lambda text: text.replace('"rms_norm_eps": 1e-06',
                                                                  '"rms_norm_eps": NaN'))]:
            folder = self.saved(name)
            self.rewritten(folder, lambda text: change(text).encode())
            self.refused("inspect", folder,
                         says="'rms_norm_eps' is 'NaN'" if name == "number" else "line")

    def test_a_growth_that_leaves_transformers_says_so_before_it_starts(self):
        upcycle = ["grow", "upcycle", "--dry-run"]
        note = "transformers has no class for a mixture with"
        qwen = self.saved("qwen", "Qwen2")
        self.assertIn("--shared-expert makes a qwen2_moe, which transformers reads",
                      self.done(*upcycle, qwen).stderr)
        self.assertNotIn(note, self.done(*upcycle, qwen, "--shared-expert").stderr)
        self.assertIn(f"{note} norms behind attention and feed-forward",
                      self.done(*upcycle, self.saved("olmo", "Olmo2")).stderr)
        self.assertNotIn(note, self.done(*upcycle, self.saved("llama")).stderr)


if __name__ == "__main__":
    case.main()
