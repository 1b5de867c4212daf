"""peak.py [LAYERS [--consume]]: grows a Llama of LAYERS layers (10 MB each; default
100, 1 GB) in memory, to twice its width, and prints as JSON what it took: bytes of the
parent, of the child, and the largest resident memory beyond what the process had
before there was a model. With --consume the parent is let go of as the child is made.
"""

import json
import sys

import torch
import transformers

import annuli.torch as at

MB = 1 << 20


def status(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) << 10


def forget_peak():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def size(model):
    return sum(p.numel() * p.element_size() for p in model.parameters())


def main():
    layers = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    consume = "--consume" in sys.argv
    config = transformers.LlamaConfig(
        vocab_size=1000, hidden_size=512, intermediate_size=1024, num_hidden_layers=layers,
        num_attention_heads=8, num_key_value_heads=8)
    # What the first use of everything costs.
    small = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**(config.to_dict() | {"num_hidden_layers": 1})))
    at.grow(small, None, at.widen(factor=2), consume=consume)
    del small
    before = status("VmRSS")
    model = transformers.LlamaForCausalLM(config)
    parent = size(model)
    forget_peak()
    child, _ = at.grow(model, None, at.widen(factor=2), consume=consume)
    peak = status("VmHWM") - before
    allowed = size(child) + 300 * MB + (0 if consume else parent)
    print(json.dumps({"parent": parent, "child": size(child), "peak": peak,
                      "allowed": allowed, "consume": consume}))
    return 0 if peak <= allowed else 1


torch.set_num_threads(1)
sys.exit(main())
