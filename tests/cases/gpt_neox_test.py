"""Pythia and other GPT-NeoX checkpoints as they are published, continued, grown
by every operator, and opened again by transformers."""

import json

import torch
import transformers

from case import Case, edit_config, main, model, weights

# fp32 products in another order: about sqrt(C) * 2^-24 of the rms a layer.
LIMIT = 1e-5
SIZES = dict(family="GPTNeoX", num_key_value_heads=4, hidden_act="gelu")
V4_KEYS = dict(rotary_pct=0.5, rotary_emb_base=5000, torch_dtype="float16")
PLAN = """
name: pythia
seed: 3
output_dir: {out}
tokenizer: bytes
data: {{text: [{text}], sequence_length: 64, validation_fraction: 0.25}}
model: {model}
probe: {{windows: 2, length: 32, router_tokens: 256}}
evaluation: {{windows: 2}}
phases:
  - name: dense
    train: {{max_steps: 3, learning_rate: 1.0e-3, batch_size: 2}}
  - name: moe
    grow: {{upcycle: {{num_experts: 4, num_experts_per_tok: 2, router: random}}}}
    train: {{max_steps: 3, learning_rate: 1.0e-3, batch_size: 2}}
  - name: wide
    grow: {{widen: {{factor: 2, noise_snr_db: 10}}}}
    train: {{max_steps: 3, learning_rate: 1.0e-3, batch_size: 2}}
  - name: deep
    grow: {{deepen: {{preset: copy-last, add_layers: 1, outputs: zero}}}}
    train: {{max_steps: 3, learning_rate: 1.0e-3, batch_size: 2}}
"""


class GptNeox(Case):
    def published(self):
        """A folder as EleutherAI's are: a pickle of fp16 with the masks of older
        classes, and a config.json of transformers 4; and its model."""
        folder = self.saved(
            **SIZES, rope_parameters=dict(rope_theta=5000.0, rope_type="default",
                                          partial_rotary_factor=0.5))
        made = transformers.AutoModelForCausalLM.from_pretrained(folder).half()
        state = {name.replace("lm_head.", "embed_out."): value
                 for name, value in made.state_dict().items()}
        for layer in range(2):
            at = f"gpt_neox.layers.{layer}.attention."
            ones = torch.ones(1, 1, 64, 64, dtype=torch.bool)
            state[at + "bias"] = ones.tril() if layer else ones.tril().byte()
            state[at + "masked_bias"] = torch.tensor(-1e9)
            state[at + "rotary_emb.inv_freq"] = torch.ones(4)
        torch.save(state, folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
        edit_config(folder, drop=("rope_parameters", "attention_bias", "dtype",
                                  "num_key_value_heads"), **V4_KEYS)
        return folder, made.float()

    def test_as_it_is_published(self):
        folder, made = self.published()
        self.assertLess(self.logits_error(folder, made), LIMIT)

    def test_what_steers_it(self):
        for number, changes in enumerate([
            dict(use_parallel_residual=False),
            dict(attention_bias=False, tie_word_embeddings=True),
            dict(layer_norm_eps=1e-2, hidden_act="silu"),
            dict(rope_parameters=dict(rope_type="linear", factor=2.0,
                                      rope_theta=100.0,
                                      partial_rotary_factor=1.0)),
        ]):
            folder = self.saved(f"parent{number}", **SIZES | changes)
            self.assertLess(self.logits_error(folder), LIMIT, changes)

    def test_the_class_without_a_head(self):
        folder = self.folder / "base"
        whole = model(**SIZES, tie_word_embeddings=True)
        whole.gpt_neox.save_pretrained(folder)
        edit_config(folder, tie_word_embeddings=True)
        self.assertLess(self.logits_error(folder, whole), LIMIT)

    def test_a_state_dict_of_transformers_5(self):
        folder = self.saved(**SIZES)
        (folder / "model.safetensors").unlink()
        torch.save(model(**SIZES).state_dict(), folder / "pytorch_model.bin")
        self.assertLess(self.logits_error(folder, model(**SIZES)), LIMIT)

    def test_what_is_not_computed(self):
        folder = self.saved(**SIZES)
        edit_config(folder, hidden_act="gelu_fast")
        self.refused("inspect", folder, says="hidden_act 'gelu_fast'")
        edit_config(folder, hidden_act="gelu", num_key_value_heads=2)
        self.refused("inspect", folder, says="expected 4, as its class forms it")
        edit_config(folder, num_key_value_heads=4)
        grow = "grow", "widen", folder, "--out", self.folder / "child"
        self.refused(*grow, "--hidden", 96, says="LayerNorm subtracts the mean")
        self.refused(*grow, "--heads", 8, "--kv-heads", 4,
                     says="q, k and v are one tensor")

    def test_children_open_in_transformers(self):
        folder, made = self.published()
        wide, deep = self.folder / "wide", self.folder / "deep"
        self.done("grow", "widen", folder, "--out", wide, "--factor", 2,
                  "--noise-snr-db", 10)
        self.done("grow", "deepen", wide, "--out", deep, "--add-layers", 1)
        for child in wide, deep:
            opened = transformers.AutoModelForCausalLM.from_pretrained(
                child, dtype=torch.float32)
            self.assertEqual(type(opened).__name__, "GPTNeoXForCausalLM")
            self.assertLess(self.logits_error(child), LIMIT)
            tokens = torch.arange(40)[None]
            with torch.no_grad():
                expected, found = (m(tokens).logits for m in (made, opened))
            error = float((expected - found).norm() / expected.norm())
            self.assertLess(error, LIMIT, child)
        self.assertIn("gpt_neox.layers.2.attention.query_key_value.weight",
                      weights(deep))

    def test_experts(self):
        folder, _ = self.published()
        other = self.saved("other", **SIZES, seed=1,
                           rope_parameters=dict(rope_theta=5000.0,
                                                rope_type="default",
                                                partial_rotary_factor=0.5))
        moe, more = self.folder / "moe", self.folder / "more"
        result = self.done("grow", "upcycle", folder, "--out", moe,
                           "--num-experts", 4, "--num-experts-per-tok", 2)
        self.assertIn("transformers has no class", result.stderr)
        config = json.loads((moe / "config.json").read_text())
        self.assertEqual((config["model_type"], config["norm_type"]),
                         ("annuli_moe", "layer"))
        self.done("grow", "expand-experts", moe, "--out", more, "--factor", 2)
        self.done("grow", "upcycle", folder, "--out", self.folder / "dropped",
                  "--num-experts", 4, "--num-experts-per-tok", 2,
                  "--drop-ratio", 0.5, "--loss-budget", 100)
        self.done("grow", "merge-experts", other, "--with", other, "--out",
                  self.folder / "merged", "--loss-budget", 100)
        for parent, child in (folder, moe), (moe, more), (folder, more):
            self.done("verify", parent, child)

    def test_generation_is_that_of_transformers(self):
        folder, made = self.published()
        prompt = "The moon rose over a small "
        result = self.done("generate", folder, "--tokenizer", "bytes", "--prompt",
                           prompt, "--max-new-tokens", 12, "--json", "--dtype",
                           "f32", "--begin-token", "none", "--end-token", "none")
        ids = torch.tensor([list(prompt.encode())])
        theirs = made.generate(ids, max_new_tokens=12, do_sample=False,
                               eos_token_id=None, pad_token_id=0)
        self.assertEqual(json.loads(result.stdout)["tokens"],
                         theirs[0, ids.shape[1]:].tolist())

    def test_a_run_that_grows_it(self):
        folder, _ = self.published()
        text = self.folder / "text.txt"
        text.write_text("\n\n".join(
            f"The moon rose over hill {i} where two old dogs slept." * 8
            for i in range(40)))
        family = ("{family: gpt_neox, hidden_size: 32, intermediate_size: 64, "
                  "num_hidden_layers: 2, num_attention_heads: 4, "
                  "tie_word_embeddings: false, max_position_embeddings: 128}")
        for name, of in ("from", f"{{from: {folder}}}"), ("new", family):
            plan = self.folder / f"{name}.yaml"
            plan.write_text(PLAN.format(out=self.folder / name, text=text, model=of))
            self.done("plan", plan)
            self.done("run", plan)
            last = self.folder / name / "checkpoints" / "deep.pt"
            self.done("inspect", last)
            lines = (self.folder / name / "training_history.jsonl").read_text()
            steps = [line for line in map(json.loads, lines.splitlines())
                     if line["type"] == "step"]
            self.assertEqual(len(steps), 12, name)


if __name__ == "__main__":
    main()
