#!/usr/bin/env python3
"""read_gguf.py ANNULI KIND [NAME...]: GGUF files as models of this program.

KIND is one of
  families    each model (NAME...) in f32, bf16 and f16: exported to GGUF and back to a
              folder, it has the bytes that it has without GGUF, config.json too; without
              the keys of ours, as another converter would have written it, the same
              weights and the same shape
  tokenizers  each kind of gguf_tokenizers.py comes back with the same ids and the chat
              template; what cannot come back is said in one line
  quantised   blocks of every type that is read have the numbers of the `gguf` package,
              bit for bit; what is read computes what llama.cpp does
  verbs       grow, verify, inspect, evaluate, generate, export and a plan's model.from
              take the file; a child has the bytes of the folder's child
  damaged     damaged files, each refused in one line with exit status 2, nothing written

Exit 0 if all hold, else 1.
"""

import json
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import gguf
import numpy
import torch
import transformers
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).resolve().parent))
import export_gguf
import families
import gguf_files
import gguf_tokenizers
import llama_cpp

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
REFUSED = set(export_gguf.REFUSED)
# What the keys of llama.cpp do not tell from a Llama.
SAME_SHAPE = {"mistral": "llama"}
UNTOLD = {  # unread by a forward pass, or said in another way
    "_name_or_path", "initializer_range", "bos_token_id", "eos_token_id", "pad_token_id",
    "model_type", "architectures", "sliding_window", "use_cache", "attention_dropout",
    "transformers_version", "router_aux_loss_coef", "dtype", "torch_dtype",
}


class Program:
    def __init__(self, path, work):
        self.path, self.work, self.faults = path, Path(work), []

    def run(self, *words):
        return subprocess.run([self.path, *map(str, words)], capture_output=True,
                              text=True, errors="surrogateescape")

    def must(self, *words):
        done = self.run(*words)
        if done.returncode != 0:
            raise RuntimeError(f"{words[:3]}: exit {done.returncode}: {done.stderr.strip()}")
        return done

    def check(self, holds, text):
        if not holds:
            self.faults.append(text)


def weights(folder):
    return load_file(folder / "model.safetensors")


def same_weights(a, b):
    """The first difference; nothing where names, types and bits are the same."""
    if a.keys() != b.keys():
        return f"other names: {sorted(a.keys() ^ b.keys())[:3]}"
    for name, x in a.items():
        y = b[name]
        if x.dtype != y.dtype or x.shape != y.shape:
            return f"{name} is {y.dtype} {tuple(y.shape)}, not {x.dtype} {tuple(x.shape)}"
        if not torch.equal(x.view(torch.uint8), y.view(torch.uint8)):
            return f"{name} differs"
    return None


def shape_of(program, path):
    return json.loads(program.must("inspect", path, "--json").stdout)["resolved_config"]


def check_foreign(program, name, own, plain):
    """The same file as another converter writes it."""
    foreign = program.work / "foreign.gguf"

    def keep(key):
        # Other converters leave it out where it is 1.
        unsaid = name == "llama_yarn" and key.endswith("attn_factor")
        return not key.startswith("annuli.") and not unsaid

    gguf_files.rewrite(own, foreign, keep=keep)
    back = program.work / "foreign"
    program.must("export", foreign, "--out", back, "--force")
    expected, found = weights(plain), weights(back)
    # llama.cpp has the table of these twice, and zeros for biases that are not there.
    for key in found.keys() - expected.keys():
        zeros = key.endswith(".bias") and not found[key].any()
        head = key in ("lm_head.weight", "embed_out.weight") and torch.equal(
            found[key], expected[gguf_files.TABLES[key]])
        program.check(zeros or head, f"{name} without our keys: {key} is new")
        del found[key]
    fault = same_weights(expected, found)
    program.check(fault is None, f"{name} without our keys: {fault}")
    a, b = shape_of(program, plain), shape_of(program, back)
    for key in (a.keys() & b.keys()) - UNTOLD:
        if key == "intermediate_size" and "moe" in name:  # of layers without experts
            continue
        own_rules = key in ("tie_word_embeddings", "attention_bias")
        if own_rules and name.startswith(("gpt_neox", "qwen2_moe", "olmo2")):
            continue
        program.check(a[key] == b[key], f"{name} without our keys: {key} {a[key]} is {b[key]}")
    program.check(
        b["model_type"] == SAME_SHAPE.get(name, a["model_type"]), f"{name}: {b['model_type']}")


def check_family(program, name):
    for kind, dtype in TYPES.items():
        folder = program.work / f"{name}-{kind}"
        model = export_gguf.model_of(name).to(dtype)
        model.save_pretrained(folder)
        own = program.work / f"{name}-{kind}.gguf"
        program.must(
            "export", folder, "--out", own, "--dtype", kind, "--tokenizer", "bytes")
        plain, back = program.work / f"{name}-plain", program.work / f"{name}-back"
        program.must("export", folder, "--out", plain, "--force")
        program.must("export", own, "--out", back, "--force")
        fault = same_weights(weights(plain), weights(back))
        program.check(fault is None, f"{name} {kind}: {fault}")
        for file in ("model.safetensors", "config.json"):
            program.check((plain / file).read_bytes() == (back / file).read_bytes(),
                          f"{name} {kind}: {file} is another")
        if kind == "f32":
            check_foreign(program, name, own, plain)
    print(f"{name:<18} comes back in {', '.join(TYPES)}")


def families_kind(program, names):
    for name in names or export_gguf.families.MODELS:
        if name not in REFUSED:
            check_family(program, name)


def token_ids(program, text, tokenizer):
    out = program.work / "tokens"
    out.unlink(missing_ok=True)
    program.must("tokenize", text, "--tokenizer", tokenizer, "--out", out)
    listed = json.loads(program.must("inspect", out, "--json").stdout)
    return out.read_bytes()[-2 * listed["tokens"]:], listed["tokens"]


def tokenizers_kind(program, names):
    text = program.work / "text.txt"
    text.write_text("\n".join(gguf_tokenizers.TEXTS))
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    for name, make in gguf_tokenizers.KINDS.items():
        as_model = name == "tokenizer.model"
        folder = program.work / name.replace(" ", "-")
        gguf_tokenizers.save(make(), folder, as_model=as_model)
        (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
        file = program.work / f"{folder.name}.gguf"
        program.must("export", folder, "--out", file, "--dtype", "f32")
        back = program.work / f"{folder.name}-back"
        program.must("export", file, "--out", back)
        wanted = token_ids(program, text, folder)
        for place in (file, back):
            program.check(token_ids(program, text, place) == wanted,
                          f"{name}: other ids by {place.name}")
        config = json.loads((back / "tokenizer_config.json").read_text())
        program.check(config.get("chat_template") == template, f"{name}: the template is lost")
        if (back / "tokenizer.json").exists():
            python = gguf_tokenizers.tokenizers.Tokenizer.from_file(str(back / "tokenizer.json"))
            first = gguf_tokenizers.tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
            for line in gguf_tokenizers.TEXTS:
                a = first.encode(line, add_special_tokens=False).ids
                b = python.encode(line, add_special_tokens=False).ids
                program.check(a == b, f"{name}: {line[:30]!r} has other ids in Python")
        again = program.work / "again.gguf"
        program.must("export", file, "--out", again, "--dtype", "f32", "--force")
        a, b = gguf_files.keys(file), gguf_files.keys(again)
        for key in a:
            if key.startswith("tokenizer."):
                program.check(a[key] == b.get(key), f"{name}: {key} is another in GGUF again")
        print(f"{name:<18} comes back, {wanted[1]} tokens")
    foreign = program.work / "foreign.gguf"
    gguf_files.rewrite(program.work / "gpt-2.gguf", foreign,
                       change={"tokenizer.ggml.pre": "deepseek-coder"})
    done = program.run("evaluate", foreign, "--text", text)
    program.check(done.returncode == 2 and "--tokenizer" in done.stderr,
                  f"an unknown split: {done.stderr}")
    lost = program.work / "lost.gguf"
    gguf_files.rewrite(program.work / "gpt-2.gguf", lost,
                       change={"annuli.tokenizer_hash": "0" * 64})
    done = program.run("export", lost, "--out", program.work / "lost")
    program.check(done.returncode == 0 and "has no tokenizer" in done.stderr
                  and not (program.work / "lost/tokenizer.json").exists(),
                  f"a tokenizer that lost something: {done.stderr}")


def model_of_blocks():
    torch.manual_seed(5)
    config = transformers.LlamaConfig(
        vocab_size=320, hidden_size=256, intermediate_size=512, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
        tie_word_embeddings=False, initializer_range=0.05, bos_token_id=None, eos_token_id=None)
    return transformers.LlamaForCausalLM(config)


def quantised_kind(program, names):
    folder, plain = program.work / "blocks", program.work / "blocks.gguf"
    model_of_blocks().save_pretrained(folder)
    program.must("export", folder, "--out", plain, "--dtype", "f32", "--tokenizer", "bytes")
    kinds = ["Q4_0", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
    for kind in kinds:
        file, back = program.work / f"{kind}.gguf", program.work / kind
        numbers = gguf_files.quantise(plain, file, [kind])
        done = program.must("export", file, "--out", back)
        program.check("dequantised, and the weights are f32" in done.stderr,
                      f"{kind}: nothing is said: {done.stderr}")
        compare_numbers(program, kind, numbers, weights(back))
    # As a file is in practice: several types.
    file, back = program.work / "mix.gguf", program.work / "mix"
    compare_numbers(
        program, "mix", gguf_files.quantise(plain, file, ["Q4_K", "Q6_K", "F16", "BF16"]),
        weights(export(program, file, back)))
    model = transformers.LlamaForCausalLM.from_pretrained(back).eval()
    prompts = [[5, 90, 14], [200, 77, 31, 8, 120], [3, 64, 1, 2, 7, 9, 11]]
    answers = llama_cpp.ask(file, {"tokens": prompts, "top": 320})
    off, seen = 0.0, 0
    for prompt, answer in zip(prompts, answers):
        if answer is None:
            continue
        with torch.no_grad():
            row = torch.log_softmax(model(torch.tensor([prompt])).logits[0, -1].double(), -1)
        seen += 1
        off = max(off, max(abs(x - row[int(i)].item())
                           for i, x in answer["logprobs"].items() if x > -1e30))
    print(f"llama.cpp           off {off:.2e} in {seen} places")
    # It rounds what a matrix reads to 8 bits: 1/254 of the largest of 32 numbers.
    program.check(seen > 0 and off < 0.1, f"llama.cpp: off by {off}")


def export(program, file, back):
    program.must("export", file, "--out", back)
    return back


def compare_numbers(program, kind, numbers, found):
    count = 0
    for name, wanted in numbers.items():
        table, heads = gguf_files.table_name(name), gguf_files.heads_of(name)
        if heads:  # halves of a head, put together entry by entry
            rows = wanted.reshape(heads, -1, 2, *wanted.shape[1:])
            wanted = rows.swapaxes(1, 2).reshape(wanted.shape)
        same = found[table].numpy().tobytes() == numpy.ascontiguousarray(wanted).tobytes()
        program.check(same, f"{kind}: {name} has other numbers than gguf's")
        count += 1
    program.check(count == 21, f"{kind}: {count} tensors")
    print(f"{kind:<18} {count} tensors have gguf's numbers")


def verbs_kind(program, names):
    folder, file = program.work / "model", program.work / "model.gguf"
    export_gguf.model_of("qwen3_tied").save_pretrained(folder)
    program.must("export", folder, "--out", file, "--dtype", "f32", "--tokenizer", "bytes")
    text = export_gguf.Path(__file__).resolve().parents[1] / "data/village"
    for place, out in ((folder, "a"), (file, "b")):
        program.must("grow", "widen", place, "--out", program.work / out, "--factor", "2",
                     "--text", text, "--tokenizer", "bytes")
    for name in ("model.safetensors", "config.json"):
        program.check((program.work / "a" / name).read_bytes()
                      == (program.work / "b" / name).read_bytes(), f"a child's {name}")
    program.check((program.work / "b/tokenizer.json").exists(), "the child has no tokenizer")
    program.must("verify", file, program.work / "b", "--text", text)
    shown = program.must("inspect", file).stdout
    program.check("model (GGUF file)" in shown, f"inspect: {shown[:80]}")
    a = program.must("evaluate", folder, "--text", text, "--tokenizer", "bytes", "--json")
    b = program.must("evaluate", file, "--text", text, "--json")
    program.check(json.loads(a.stdout)["loss"] == json.loads(b.stdout)["loss"], "evaluate")
    words = ("--prompt", "The miller", "--max-new-tokens", "8", "--temperature", "0")
    a = program.must("generate", folder, *words, "--tokenizer", "bytes")
    b = program.must("generate", file, *words)
    program.check(a.stdout == b.stdout, f"generate: {a.stdout!r} {b.stdout!r}")
    program.must("export", file, "--out", program.work / "model.pt")
    program.must("export", file, "--out", program.work / "small.gguf", "--dtype", "q8_0")
    losses = []
    for place in (folder, file):
        plan = program.work / "plan.yaml"
        plan.write_text(f"""
name: from
threads: 1
{"tokenizer: bytes" if place == folder else ""}
data: {{text: ["{text}"], sequence_length: 32}}
probe: {{windows: 2, length: 32, router_tokens: 64}}
model: {{from: "{place}"}}
phases:
  - {{name: a, train: {{max_steps: 2, learning_rate: 0.001, batch_size: 1}}}}
""")
        out = program.work / f"run-{place.name}"
        program.must("run", plan, "--out", out)
        lines = (out / "training_history.jsonl").read_text().splitlines()
        steps = [line for line in map(json.loads, lines) if line["type"] == "step"]
        losses.append([step["loss"] for step in steps])
    program.check(losses[0] == losses[1] and len(losses[0]) == 2, f"model.from: {losses}")


def damaged_kind(program, names):
    folder, file = program.work / "model", program.work / "model.gguf"
    export_gguf.model_of("llama_biases").save_pretrained(folder)
    program.must("export", folder, "--out", file, "--dtype", "f32", "--tokenizer", "bytes")
    good = file.read_bytes()
    out = program.work / "child"
    damages = gguf_files.damages(good)
    for name, (content, words) in damages.items():
        bad = program.work / "bad.gguf"
        bad.write_bytes(content)
        done = program.run("grow", "widen", bad, "--out", out, "--factor", "2",
                           "--tokenizer", "bytes")
        line = done.stderr.strip()
        print(f"{name:<28} exit {done.returncode}  {line[:150]}")
        program.check(done.returncode == 2 and line.count("\n") == 0 and words in line
                      and "bad.gguf" in line, f"{name}: exit {done.returncode}: {line}")
        program.check(not out.exists(), f"{name}: something was written")
    program.check(len(damages) >= 30, f"{len(damages)} damaged files")


def main():
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    path, kind, names = sys.argv[1], sys.argv[2], sys.argv[3:]
    with tempfile.TemporaryDirectory() as work:
        program = Program(path, work)
        {"families": families_kind, "tokenizers": tokenizers_kind, "quantised": quantised_kind,
         "verbs": verbs_kind, "damaged": damaged_kind}[kind](program, names)
    for fault in program.faults:
        print("FAULT", fault)
    return 1 if program.faults else 0


if __name__ == "__main__":
    sys.exit(main())
