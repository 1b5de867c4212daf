"""Models as they lie on people's disks: another program's names, half a tied
pair, pickles, caches with links, quantised weights, adapters, a Trainer's
folder. What can be read is read as transformers reads it; the rest is refused
with what to do."""

import hashlib
import json
import os
import shutil
import struct

import torch

from case import (
    SIZES,
    Case,
    annuli,
    edit_config,
    main,
    model,
    put_weights,
    weights,
)

# fp32 products in another order: about sqrt(C) * 2^-24 of the rms a layer.
LIMIT = 1e-5

MIXTURE = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32)


class ModelCase(Case):
    def refused(self, *arguments, says=(), **environment):
        """Runs what must be refused: status 2 and one line with each of the
        words of `says`, after nothing but notes."""
        result = annuli(*arguments, **environment)
        self.assertEqual(result.returncode, 2, result.stdout + result.stderr)
        *notes, line = result.stderr.strip().splitlines()
        for note in notes:
            self.assertTrue(note.startswith("note: "), result.stderr)
        for words in [says] if isinstance(says, str) else says:
            self.assertIn(words, line)
        return result


class Names(ModelCase):
    """Another program's names, and tied pairs."""

    def renamed(self, rename, **changes):
        """A folder whose tensors are called otherwise, and its model."""
        folder = self.saved(**changes)
        tensors = {rename(k): v for k, v in weights(folder).items()}
        put_weights(folder, tensors)
        return folder, model(**changes)

    def test_prefixes_that_all_names_share_are_taken_off(self):
        def infix(name):
            return "_fsdp_wrapped_module." + name.replace(
                ".self_attn.", "._fsdp_wrapped_module.self_attn.")

        for rename, note in [
            (lambda n: "_orig_mod." + n, "'_orig_mod.' are left out"),
            (lambda n: "base_model.model." + n,
             "'base_model.model.', which is taken off"),
            (infix, "'_fsdp_wrapped_module.' are left out"),
        ]:
            folder, reference = self.renamed(rename)
            self.assertLess(self.logits_error(folder, reference), LIMIT, note)
            self.assertIn(note, annuli("inspect", folder).stderr)

    def test_the_class_without_a_head(self):
        folder = self.folder / "base"
        whole = model(tie_word_embeddings=True)
        whole.model.save_pretrained(folder)
        edit_config(folder, tie_word_embeddings=True)
        self.assertLess(self.logits_error(folder, whole), LIMIT)
        edit_config(folder, tie_word_embeddings=False)
        self.refused("generate", folder, "--prompt", "x", "--tokenizer", "bytes",
                     says=["'lm_head.weight' is missing", "tie_word_embeddings"])

    def test_half_of_a_prefix_is_no_prefix(self):
        folder, _ = self.renamed(
            lambda n: n if "layers.1" in n else "_x." + n)
        self.refused("generate", folder, "--prompt", "x", "--tokenizer", "bytes",
                     says="is missing")

    def test_only_the_head_of_a_tied_pair(self):
        folder = self.saved(tie_word_embeddings=True)
        tensors = weights(folder)
        tensors["lm_head.weight"] = tensors.pop("model.embed_tokens.weight")
        put_weights(folder, tensors)
        self.assertLess(self.logits_error(folder), LIMIT)
        self.done("grow", "widen", folder, "--out", self.folder / "child",
                  "--factor", 2)

    def test_a_head_that_is_stored_twice(self):
        folder = self.saved(dtype=torch.bfloat16, tie_word_embeddings=True)
        tensors = weights(folder)
        table = tensors["model.embed_tokens.weight"]
        tensors["lm_head.weight"] = table.float()
        put_weights(folder, tensors)
        self.assertLess(self.logits_error(folder), LIMIT)
        # Numbers of the wider type that the narrower one rounds to the table's.
        tensors["lm_head.weight"] = table.float() * (1 + 2.0**-12)
        put_weights(folder, tensors)
        self.assertLess(self.logits_error(folder), 2.0**-9)
        tensors["lm_head.weight"][7, 3] *= 1.01
        put_weights(folder, tensors)
        self.refused("grow", "deepen", folder, "--out", self.folder / "c",
                     "--add-layers", 1,
                     says=["first in row 7", "'tie_word_embeddings' to false"])

    def test_another_head_than_the_table_it_is_tied_to(self):
        folder = self.saved(tie_word_embeddings=False)
        edit_config(folder, tie_word_embeddings=True)
        self.refused("grow", "deepen", folder, "--out", self.folder / "c",
                     "--add-layers", 1,
                     says=["differs from the embedding",
                           "'tie_word_embeddings' to false"])
        edit_config(folder, tie_word_embeddings=False)
        self.assertLess(self.logits_error(folder), LIMIT)

    def test_tensors_that_change_nothing(self):
        folder = self.saved()
        tensors = weights(folder)
        tensors["lm_head.bias"] = torch.zeros(SIZES["vocab_size"])
        tensors["model.layers.1.self_attn.q_proj.bias"] = torch.zeros(64)
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
        tensors["model.rotary_emb.inv_freq"] = torch.ones(8)
        put_weights(folder, tensors)
        self.assertLess(self.logits_error(folder), LIMIT)
        tensors["lm_head.bias"][5] = 1
        put_weights(folder, tensors)
        self.refused("generate", folder, "--prompt", "x", "--tokenizer", "bytes",
                     says="'lm_head.bias' [300] is not part of the model")


class Files(ModelCase):
    """Which files are read."""

    def pickled(self, **save):
        folder = self.saved()
        (folder / "model.safetensors").unlink()
        torch.save(model().state_dict(), folder / "pytorch_model.bin", **save)
        return folder

    def test_a_state_dict(self):
        folder = self.pickled()
        for given in folder, folder / "pytorch_model.bin":
            self.assertLess(self.logits_error(given, folder), LIMIT)
        child = self.folder / "child"
        self.done("grow", "deepen", folder, "--out", child, "--add-layers", 1)
        self.assertFalse((child / "pytorch_model.bin").exists())

    def test_a_state_dict_of_parameters_in_shards(self):
        folder = self.pickled()
        (folder / "pytorch_model.bin").unlink()
        names = {0: {}, 1: {}}
        for i, (name, value) in enumerate(model().named_parameters()):
            names[i % 2][name] = value
        index = {}
        for i, tensors in names.items():
            shard = f"pytorch_model-{i + 1:05}-of-00002.bin"
            torch.save(tensors, folder / shard)
            index |= {name: shard for name in tensors}
        path = folder / "pytorch_model.bin.index.json"
        path.write_text(json.dumps({"weight_map": index}))
        self.assertLess(self.logits_error(folder, model()), LIMIT)

    def test_the_format_before_1_6(self):
        folder = self.pickled(_use_new_zipfile_serialization=False)
        self.refused("evaluate", folder, "--text", __file__,
                     says=["before 1.6", "torch.save(torch.load("])

    def test_a_pickle_that_calls(self):
        folder = self.pickled()
        torch.save({"a": self.folder}, folder / "pytorch_model.bin")
        self.refused("inspect", folder, says=["calls pathlib", "not allowed"])

    def test_a_state_dict_without_its_config(self):
        folder = self.pickled()
        (folder / "config.json").unlink()
        self.refused("inspect", folder / "pytorch_model.bin",
                     says=["no dict 'model'", "beside its config.json"])

    def test_files_of_the_folder_stand_for_it(self):
        folder = self.saved()
        for name in "config.json", "model.safetensors":
            result = self.done("export", folder / name, "--out",
                               self.folder / "m.pt", "--force")
            self.assertIn("is a part of the model in", result.stderr)
        self.done("inspect", folder / "config.json")

    def test_shards_without_their_index(self):
        folder = self.folder / "parent"
        model().save_pretrained(folder, max_shard_size="120KB")
        (folder / "model.safetensors.index.json").unlink()
        self.assertLess(self.logits_error(folder, model()), LIMIT)
        next(folder.glob("model-00002-*")).unlink()
        self.refused("inspect", folder, says=["model-00002-of", "neither"])

    def test_a_shard_that_is_missing(self):
        folder = self.folder / "parent"
        model().save_pretrained(folder, max_shard_size="120KB")
        next(folder.glob("model-00002-*")).unlink()
        self.refused("inspect", folder, says=["model-00002-of", "is missing"])

    def test_what_is_no_model(self):
        folder = self.folder / "m"
        for make, words in [
            ({"model_index.json": "{}"}, ["diffusers"]),
            ({"x-q4.gguf": "GGUF"}, ["'x-q4.gguf' of llama.cpp", "give that file"]),
            ({"params.json": "{}", "consolidated.safetensors": ""},
             ["format of the model's maker"]),
            ({"zero_to_fp32.py": ""}, ["DeepSpeed", "zero_to_fp32.py"]),
            ({"modules.json": "[]"}, ["sentence-transformers"]),
            ({"checkpoint-500/config.json": "{}"}, ["Trainer", "checkpoint-500"]),
            ({"config.json": None, "consolidated.safetensors": ""},
             ["holds 'consolidated.safetensors'", "rename it to model.safetensors"]),
            ({"config.json": None, "tf_model.h5": ""}, ["TensorFlow"]),
            ({"config.json": None, "model.pth": ""}, ["'model.pth'",
                                                      "pytorch_model.bin"]),
            ({"config.json": None, "model.safetensors":
              "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"},
             ["Git LFS", "git lfs pull"]),
        ]:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for name, text in make.items():
                (folder / name).parent.mkdir(exist_ok=True)
                if text is None:
                    model().config.save_pretrained(folder)
                else:
                    (folder / name).write_text(text)
            self.refused("inspect", folder, says=words)
        gguf = self.folder / "tiny.gguf"
        gguf.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
        self.refused("inspect", gguf, says=["the architecture ''", "one of llama"])


class Cache(ModelCase):
    """The cache of huggingface_hub."""

    REVISION = "0123456789abcdef0123456789abcdef01234567"

    def setUp(self):
        super().setUp()
        self.repository = self.folder / "home/hub/models--acme--tiny-llama"
        self.snapshot = self.repository / "snapshots" / self.REVISION
        blobs = self.repository / "blobs"
        for path in self.snapshot, blobs, self.repository / "refs":
            path.mkdir(parents=True)
        (self.repository / "refs/main").write_text(self.REVISION)
        model().save_pretrained(self.folder / "source", max_shard_size="120KB")
        for file in (self.folder / "source").iterdir():
            blob = blobs / hashlib.sha256(file.read_bytes()).hexdigest()
            shutil.copy(file, blob)
            (self.snapshot / file.name).symlink_to(
                os.path.relpath(blob, self.snapshot))
        self.home = {"HF_HOME": str(self.folder / "home")}

    def child(self, given, **options):
        out = self.folder / "child"
        result = self.done("grow", "deepen", given, "--out", out, "--add-layers",
                           1, "--force", "--no-verify", **options)
        lineage = json.loads((out / "lineage.json").read_text())
        return result, lineage["records"][-1]["parent"]

    def test_an_id_is_its_snapshot(self):
        _, expected = self.child(self.folder / "source")
        hub = str(self.folder / "home/hub")
        for given, environment in [
            ("acme/tiny-llama", self.home),
            ("acme/tiny-llama", {"HF_HUB_CACHE": hub}),
            ("acme/tiny-llama", {"HUGGINGFACE_HUB_CACHE": hub}),
            ("https://huggingface.co/acme/tiny-llama", self.home),
            ("hf://acme/tiny-llama", self.home),
            (self.repository, {}),
            (self.snapshot, {}),
        ]:
            result, parent = self.child(given, **environment)
            self.assertEqual(parent, expected, given)
            self.assertEqual("note: " in result.stderr, given != self.snapshot)
        self.assertFalse(any(p.is_symlink()
                             for p in (self.folder / "child").iterdir()))

    def test_every_verb_takes_an_id(self):
        text = self.folder / "t.txt"
        text.write_text("moon " * 500)
        child = self.folder / "c"
        self.done("grow", "deepen", "acme/tiny-llama", "--out", child,
                  "--add-layers", 1, **self.home)
        for arguments in [
            ("inspect", "acme/tiny-llama"),
            ("inspect", "acme/tiny-llama", child),
            ("verify", "acme/tiny-llama", child),
            ("grow", "--replay", child / "lineage.json", "acme/tiny-llama",
             "--out", self.folder / "again"),
            ("export", "acme/tiny-llama", "--out", self.folder / "e.pt"),
            ("generate", "acme/tiny-llama", "--prompt", "x", "--tokenizer",
             "bytes", "--max-new-tokens", 2),
            ("evaluate", "acme/tiny-llama", "--text", text, "--tokenizer",
             "bytes", "--sequence-length", 16),
        ]:
            self.done(*arguments, **self.home)
        plan = self.folder / "plan.yaml"
        plan.write_text(f"""
name: p
tokenizer: bytes
output_dir: {self.folder / "run"}
data: {{text: [{text}], sequence_length: 8, cache_dir: {self.folder / "k"}}}
model: {{from: acme/tiny-llama}}
evaluation: {{windows: 1}}
probe: {{windows: 1, length: 8}}
phases:
  - name: one
    grow: {{deepen: {{add_layers: 1}}}}
    train: {{max_steps: 1, learning_rate: 1e-4, batch_size: 1}}
""")
        self.done("run", plan, **self.home)
        records = json.loads((self.folder / "run/lineage.json").read_text())
        self.assertIn("acme/tiny-llama", json.dumps(records["records"][0]))

    def test_what_is_not_in_the_cache(self):
        for given in ["acme/other", "https://huggingface.co/acme/other",
                      "hf://acme/other"]:
            self.refused("inspect", given, **self.home,
                         says=["no such file or folder",
                               "`hf download acme/other`"])
        self.refused("grow", "deepen", "~/model", "--out", self.folder / "c",
                     "--add-layers", 1, says="outside quotes")

    def test_what_is_here_comes_first(self):
        model(num_hidden_layers=1).save_pretrained(
            self.folder / "acme/tiny-llama")
        found = self.done("inspect", "--json", "acme/tiny-llama",
                          cwd=self.folder, **self.home)
        self.assertEqual(
            json.loads(found.stdout)["config"]["num_hidden_layers"], 1)

    def test_a_download_that_was_broken_off(self):
        link = next(self.snapshot.glob("model-00002-*"))
        link.resolve().unlink()
        for given in "acme/tiny-llama", self.snapshot:
            self.refused("inspect", given, **self.home,
                         says=[link.name, "not whole",
                               "`hf download acme/tiny-llama`"])


class Weights(ModelCase):
    """What the weights are."""

    def test_adapters(self):
        folder = self.saved()
        (folder / "model.safetensors").unlink()
        (folder / "adapter_config.json").write_text(json.dumps(
            {"peft_type": "LORA", "base_model_name_or_path": "someone/base"}))
        lora = {f"base_model.model.model.layers.0.self_attn.q_proj.lora_{x}"
                ".weight": torch.zeros(4, 4) for x in "AB"}
        put_weights(folder, lora, "adapter_model.safetensors")
        says = ["an adapter of 'someone/base'", "merge_and_unload()"]
        self.refused("inspect", folder, says=says)
        (folder / "config.json").unlink()
        self.refused("grow", "deepen", folder, "--out", self.folder / "c",
                     "--add-layers", 1, says=says)

    def test_an_adapter_that_was_saved_beside_the_weights(self):
        folder = self.saved()
        tensors = {}
        for name, value in weights(folder).items():
            name = "base_model.model." + name
            if "q_proj" in name:
                for x in "AB":
                    lora = name.replace("weight", f"lora_{x}.default.weight")
                    tensors[lora] = torch.zeros(4, 4)
                name = name.replace("weight", "base_layer.weight")
            tensors[name] = value
        put_weights(folder, tensors)
        self.refused("generate", folder, "--prompt", "x", "--tokenizer", "bytes",
                     says=["an adapter was saved beside", "merge"])

    def test_quantised(self):
        for dtype, scale, method, word in [
            (torch.float8_e4m3fn, "_scale_inv", "fp8",
             "FineGrainedFP8Config(dequantize=True)"),
            (torch.float8_e4m3fn, "_scale_inv", None, "is F8_E4M3"),
            (torch.int8, "_scale", "compressed-tensors", "'compressed-tensors'"),
            (torch.int8, "_scale", None, "is I8"),
            (torch.uint8, ".absmax", "bitsandbytes", "model.dequantize()"),
            (torch.uint8, ".absmax", None, ".absmax"),
        ]:
            folder = self.saved()
            tensors = weights(folder)
            for name in [n for n in tensors if n.endswith("proj.weight")]:
                tensors[name] = tensors[name].to(dtype)
                tensors[name + scale] = torch.ones(1)
            put_weights(folder, tensors)
            if method:
                edit_config(folder, quantization_config={"quant_method": method})
            self.refused("generate", folder, "--prompt", "x", "--tokenizer",
                         "bytes", says=["the weights are quantised", word,
                               "give the model that they were made from"])

    def test_not_finite(self):
        folder = self.saved(tie_word_embeddings=True)
        tensors = weights(folder)
        tensors["model.embed_tokens.weight"][280:] = float("nan")
        put_weights(folder, tensors)
        fault = "tensor 'model.embed_tokens.weight' holds NaN in row 280"
        self.assertIn(fault, self.done("inspect", folder).stdout)
        self.refused("grow", "deepen", folder, "--out", self.folder / "c",
                     "--add-layers", 1, says=[str(folder), fault])
        self.refused("grow", "deepen", folder, "--out", self.folder / "c",
                     "--no-verify", says=[str(folder), fault])
        self.assertFalse((self.folder / "c").exists())
        tensors = weights(self.saved())
        tensors["model.layers.1.mlp.down_proj.weight"][3, 5] = float("inf")
        put_weights(folder, tensors)
        edit_config(folder, tie_word_embeddings=False)
        self.assertIn("'model.layers.1.mlp.down_proj.weight' holds an infinity "
                      "in row 3", self.done("inspect", folder).stdout)

    def test_huge_rows_are_no_fault(self):
        folder = self.saved(tie_word_embeddings=True)
        tensors = weights(folder)
        tensors["model.embed_tokens.weight"][280:] = 3e4
        put_weights(folder, tensors)
        self.done("grow", "widen", folder, "--out", self.folder / "child",
                  "--factor", 2, "--noise-snr-db", 10)

    def test_fused_experts_whose_width_is_half_of_the_residual(self):
        for family, changes in [
            ("Qwen3Moe", MIXTURE | dict(head_dim=16)),
            ("Qwen2Moe", MIXTURE | dict(shared_expert_intermediate_size=64)),
            ("Mixtral", dict(num_local_experts=4, num_experts_per_tok=2,
                             intermediate_size=32)),
        ]:
            folder = self.folder / family
            model(family, **changes).save_pretrained(
                folder, save_original_format=False)
            self.assertTrue(any(k.endswith("experts.gate_up_proj")
                                for k in weights(folder)), family)
            self.assertLess(self.logits_error(folder, model(family, **changes)),
                            LIMIT, family)

    def test_a_trainers_folder(self):
        folder = self.saved()
        left = ["trainer_state.json", "training_args.bin", "optimizer.pt",
                "rng_state.pth", "scheduler.pt", "adapter_config.json",
                "modeling_x.py", "train.log", "all_results.json", "README.md",
                "events.out.tfevents.1", "runs/x", ".gitattributes",
                "optimizer.bin", "global_step5/x", "model.onnx"]
        taken = ["generation_config.json", "chat_template.jinja", "LICENSE.txt",
                 "tokenizer.json", "tokenizer_config.json", "tokenizer.model",
                 "special_tokens_map.json", "vocab.json", "merges.txt",
                 "added_tokens.json", "x.tiktoken"]
        for name in left + taken:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("{}")
        child = self.folder / "child"
        self.done("grow", "deepen", folder, "--out", child, "--add-layers", 1,
                  "--no-verify")
        made = [".annuli-files.json", "README.md", "config.json", "lineage.json",
                "model.safetensors"]
        self.assertEqual(sorted(p.name for p in child.iterdir()),
                         sorted(taken + made))


if __name__ == "__main__":
    main()
