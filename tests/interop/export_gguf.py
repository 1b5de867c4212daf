#!/usr/bin/env python3
"""export_gguf.py ANNULI [NAME...]: every family as GGUF, run by llama.cpp.

Each model of families.py is saved, exported, and continued greedily by llama.cpp
(xllamacpp's wheel has it); transformers computes the same positions. Of each type:

  steps     how many of the 64 tokens are transformers' first choice too
  off       the largest difference of a log probability over all positions and tokens

f32 must choose as transformers does, and stay within LIMITS, which are measured
ones with room: llama.cpp computes attention and the feed-forward in other orders,
and gelu from a table of fp16. Files of q8_0 are held against the numbers of the
`gguf` package's own quantiser, byte by byte.

NAME limits the run to models of those names. Exit 0 if all hold, else 1.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import gguf
import numpy
import torch
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parent))
import families
import llama_cpp

V = 320  # more than the tokens of `bytes`
STEPS = 64
PROMPT = [5, 90, 14, 200, 77, 31, 8, 120, 3, 64]
# Rows of 48 and 80 do not fill blocks of 32.
ROWS = dict(hidden_size=64, intermediate_size=96, head_dim=16)
LIMITS = {"f32": 1e-4, "f16": 0.05, "bf16": 0.3, "q8_0": 0.5}
TABLE_OF_GELU = {"gpt_neox", "gpt_neox_serial", "gpt_neox_yarn"}
# What llama.cpp does not compute.
REFUSED = {
    "arcee": "found hidden_act gelu, expected relu2",
    "llama_yarn_ramp": "found beta_fast 16 of rope_type yarn, expected 32",
}
# The prompt and what follows are longer than the original length, and the ramp lies
# within a head.
YARN = dict(
    rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=32)
# Another attention factor than that of its factor.
YARN_AS_STATED = YARN | dict(attention_factor=0.75)
# Beside those of families.py.
families.MODELS |= {
    "llama_yarn": ("Llama", dict(rope_parameters=YARN)),
    "llama_yarn_ramp": ("Llama", dict(rope_parameters=YARN | dict(beta_fast=16.0))),
    "qwen3_yarn": ("Qwen3", families.QWEN3 | dict(rope_parameters=YARN_AS_STATED)),
    "gpt_neox_yarn": (
        "GPTNeoX",
        families.NEOX | dict(rope_parameters=YARN | dict(partial_rotary_factor=0.5)),
    ),
    "mistral": ("Mistral", dict(sliding_window=None)),
    "arcee_relu2": ("Arcee", dict(hidden_act="relu2")),
    # A head of 16 entries: its scores are divided by 4.
    "granite": ("Granite", dict(head_dim=None, logits_scaling=3.0, attention_multiplier=0.25)),
}


def model_of(name):
    families.BASE["vocab_size"] = V
    families.BASE.update(ROWS)
    return families.make(name)


def greedy(model):
    """The beginnings of the text that transformers writes, and the log probabilities
    of what follows each."""
    tokens, beginnings, wanted = list(PROMPT), [], []
    for _ in range(STEPS):
        beginnings.append(list(tokens))
        with torch.no_grad():
            logits = model(torch.tensor([tokens])).logits[0, -1].double()
        wanted.append(torch.log_softmax(logits, -1))
        tokens.append(int(wanted[-1].argmax()))
    return beginnings, wanted


def compare(path, beginnings, wanted):
    seen, same, off, worst = 0, 0, 0.0, 0.0
    answers = llama_cpp.ask(path, {"tokens": beginnings, "top": V})
    for row, answer in zip(wanted, answers):
        if answer is None:
            continue
        told = {int(i): x for i, x in answer["logprobs"].items() if x > -1e30}
        if len(told) < V // 2:
            raise RuntimeError(f"{len(told)} log probabilities of {V}")
        seen += 1
        same += answer["id"] == int(row.argmax())
        off = max(off, max(abs(x - row[i].item()) for i, x in told.items()))
        worst = max(worst, (row.max() - row[answer["id"]]).item())
    return same, off, worst, seen


def same_blocks(f32, q8_0):
    """Whether the package's quantiser makes of one file's numbers the other's."""
    numbers = {t.name: t.data for t in gguf.GGUFReader(f32).tensors}
    count = 0
    for tensor in gguf.GGUFReader(q8_0).tensors:
        if tensor.tensor_type != gguf.GGMLQuantizationType.Q8_0:
            continue
        blocks = gguf.quants.quantize(
            numpy.array(numbers[tensor.name]), gguf.GGMLQuantizationType.Q8_0)
        if blocks.tobytes() != tensor.data.tobytes():
            return f"{tensor.name} has other blocks than gguf's"
        count += 1
    return None if count else "no tensor in blocks"


def check(program, name, work):
    model = model_of(name)
    folder = work / name
    model.save_pretrained(folder)
    beginnings, wanted = greedy(model)
    faults = []
    for kind, limit in LIMITS.items():
        out = work / f"{name}-{kind}.gguf"
        done = subprocess.run(
            [program, "export", folder, "--out", out, "--dtype", kind, "--tokenizer", "bytes"],
            capture_output=True, text=True)
        if done.returncode != 0:
            expected = REFUSED.get(name)
            if done.returncode == 2 and expected and expected in done.stderr:
                print(f"{name:<18} refused, as it must be: {expected}")
                return []
            return [f"{name} {kind}: {done.stderr.strip()}"]
        same, off, worst, seen = compare(out, beginnings, wanted)
        if kind == "f32" and name in TABLE_OF_GELU:
            limit = 0.01
        print(f"{name:<18} {kind:<5} same {same} of {seen}  off {off:.2e}")
        if seen < STEPS // 4:
            faults.append(f"{name} {kind}: {seen} positions of {STEPS} were told")
        if not off <= limit:
            faults.append(f"{name} {kind}: off by {off:.2e}, limit {limit}")
        if worst > 2 * limit:
            faults.append(f"{name} {kind}: chose a token {worst:.2e} below the first")
    fault = same_blocks(work / f"{name}-f32.gguf", work / f"{name}-q8_0.gguf")
    return faults + ([f"{name} q8_0: {fault}"] if fault else [])


def main():
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    program, names = sys.argv[1], sys.argv[2:] or list(families.MODELS)
    faults = []
    with tempfile.TemporaryDirectory() as work:
        for name in names:
            faults += check(program, name, Path(work))
    for fault in faults:
        print("FAULT", fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
