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

import json
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
import xllamacpp

sys.path.insert(0, str(Path(__file__).resolve().parent))
import families

V = 320  # more than the tokens of `bytes`
STEPS = 64
PROMPT = [5, 90, 14, 200, 77, 31, 8, 120, 3, 64]
# Rows of 48 and 80 do not fill blocks of 32.
ROWS = dict(hidden_size=64, intermediate_size=96, head_dim=16)
LIMITS = {"f32": 1e-4, "f16": 0.05, "bf16": 0.3, "q8_0": 0.5}
TABLE_OF_GELU = {"gpt_neox", "gpt_neox_serial"}
# What llama.cpp does not compute.
REFUSED = {"arcee": "found hidden_act gelu, expected relu2"}
# Beside those of families.py.
families.MODELS |= {
    "mistral": ("Mistral", dict(sliding_window=None)),
    "arcee_relu2": ("Arcee", dict(hidden_act="relu2")),
    # A head of 16 entries: its scores are divided by 4.
    "granite": ("Granite", dict(head_dim=None, logits_scaling=3.0, attention_multiplier=0.25)),
}


def model_of(name):
    families.BASE["vocab_size"] = V
    families.BASE.update(ROWS)
    return families.make(name)


def server_of(path):
    p = xllamacpp.CommonParams()
    p.model.path = str(path)
    p.n_ctx = 256
    p.n_parallel = 1
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
    p.warmup = p.fit_params = False
    p.n_gpu_layers = 0
    p.verbosity = 0
    p.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    p.cache_type_k = p.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    return xllamacpp.Server(p)


def next_token(server, tokens):
    """The token that llama.cpp chooses, and all log probabilities; None where it
    tells none, because the token is an end or part of a character."""
    out = server.handle_completions({
        "prompt": tokens, "n_predict": 1, "temperature": 0, "n_probs": V,
        "cache_prompt": True})
    if isinstance(out, str):
        out = json.loads(out)
    steps = (out["choices"][0].get("logprobs") or {}).get("content") or []
    if not steps:
        return None
    row = torch.full((V,), float("nan"), dtype=torch.float64)
    for one in steps[0]["top_logprobs"]:
        row[one["id"]] = one["logprob"]
    return steps[0]["id"], row


def compare(model, path):
    """Along the text that transformers writes greedily."""
    server = server_of(path)
    tokens = list(PROMPT)
    seen, same, off, worst = 0, 0, 0.0, 0.0
    for _ in range(STEPS):
        with torch.no_grad():
            wanted = torch.log_softmax(model(torch.tensor([tokens])).logits[0, -1].double(), -1)
        found = next_token(server, tokens)
        if found is not None:
            token, row = found
            told = ~row.isnan()
            seen += 1
            same += token == int(wanted.argmax())
            off = max(off, (row - wanted)[told].abs().max().item())
            worst = max(worst, (wanted.max() - wanted[token]).item())
            if told.sum() < V // 2:
                raise RuntimeError(f"{int(told.sum())} log probabilities of {V}")
        tokens.append(int(wanted.argmax()))
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
        same, off, worst, seen = compare(model, out)
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
