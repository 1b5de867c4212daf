#!/usr/bin/env python3
"""llama_cpp.py MODEL.gguf < REQUEST > ANSWER: what llama.cpp says of a model.

REQUEST is JSON: {"tokens": [[1, 2], ...], "top": N} asks for the next token of each
list and the N largest log probabilities; {"texts": [...]} for the ids of texts. The
answer is a list: {"id", "logprobs": {id: x}} or null (the token is an end or part of a
character, of which llama.cpp tells nothing), or ids.

`ask` of this file runs it as a process of its own: xllamacpp's server can hang when it
begins or ends, so it has a time limit and a second chance, and ends without a farewell.
"""

import json
import os
import subprocess
import sys
import urllib.request

SECONDS = 120
TRIES = 3


def ask(model, request):
    for attempt in range(TRIES):
        try:
            done = subprocess.run(
                [sys.executable, __file__, str(model)], input=json.dumps(request),
                capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            continue
        if done.returncode == 0:
            return json.loads(done.stdout.splitlines()[-1])
        raise RuntimeError(f"llama.cpp and {model}: {done.stderr[-300:]}")
    raise RuntimeError(f"llama.cpp and {model}: {TRIES} times no answer in {SECONDS} s")


def server_of(path):
    import xllamacpp

    p = xllamacpp.CommonParams()
    p.model.path = path
    p.n_ctx = 512
    p.n_parallel = 1
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
    p.warmup = p.fit_params = False
    p.n_gpu_layers = 0
    p.verbosity = 0
    p.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    p.cache_type_k = p.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    return xllamacpp.Server(p)


def next_token(server, tokens, top):
    out = server.handle_completions({
        "prompt": tokens, "n_predict": 1, "temperature": 0, "n_probs": top,
        "cache_prompt": True})
    out = json.loads(out) if isinstance(out, str) else out
    steps = (out["choices"][0].get("logprobs") or {}).get("content") or []
    if not steps:
        return None
    return {"id": steps[0]["id"],
            "logprobs": {one["id"]: one["logprob"] for one in steps[0]["top_logprobs"]}}


def ids_of(server, text):
    request = urllib.request.Request(
        server.listening_address + "/tokenize",
        json.dumps({"content": text, "add_special": False}).encode(),
        {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["tokens"]


def main():
    request = json.load(sys.stdin)
    server = server_of(sys.argv[1])
    if "texts" in request:
        answer = [ids_of(server, text) for text in request["texts"]]
    else:
        answer = [next_token(server, tokens, request["top"]) for tokens in request["tokens"]]
    print(flush=True)
    print(json.dumps(answer), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
