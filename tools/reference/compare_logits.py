#!/usr/bin/env python3
"""compare_logits.py CHECKPOINT.pt LOGITS.safetensors

Recomputes, in plain PyTorch, the logits that `annuli evaluate --logits` wrote:
"tokens" [N, T] int64 and "logits" [N, T, V] float32. Prints the relative error
(norm over norm) and the largest difference. Exit 0 up to 1e-5, 1 above it, 2 if
the files do not fit. Windows are computed one at a time.
"""

import argparse
import math
import sys

import torch
from safetensors import safe_open

from annuli_reference import Reference, load_checkpoint

LIMIT = 1e-5


class Difference:
    """Running sums over windows."""

    def __init__(self):
        self.squares = self.reference_squares = self.largest = 0.0
        self.largest_logit, self.margin = 0.0, math.inf

    def add(self, found, expected):
        difference = (found - expected).double()
        self.squares += difference.square().sum().item()
        self.reference_squares += expected.double().square().sum().item()
        self.largest = max(self.largest, difference.abs().max().item())
        self.largest_logit = max(self.largest_logit, expected.abs().max().item())

    def relative(self):
        return math.sqrt(self.squares / self.reference_squares)


def compare(checkpoint, logits_path):
    config, weights = load_checkpoint(checkpoint)
    model = Reference(config, weights)
    difference = Difference()
    with safe_open(logits_path, framework="pt") as file, torch.inference_mode():
        tokens, logits = file.get_tensor("tokens"), file.get_slice("logits")
        expected_shape = [*tokens.shape, config["vocab_size"]]
        if logits.get_shape() != expected_shape:
            raise ValueError(f"logits are {logits.get_shape()}, expected {expected_shape}")
        for n in range(len(tokens)):
            difference.add(logits[n], model.logits(tokens[n : n + 1])[0])
            margins = [routing.margin() for routing in model.routings]
            difference.margin = min([difference.margin, *margins])
    return tokens.numel(), difference


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    parser.add_argument("checkpoint", metavar="CHECKPOINT.pt")
    parser.add_argument("logits", metavar="LOGITS.safetensors")
    arguments = parser.parse_args()
    try:
        tokens, difference = compare(arguments.checkpoint, arguments.logits)
    except Exception as error:  # whatever the files hold, one line
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        print(f"comparing {arguments.logits} with {arguments.checkpoint}: {reason}", file=sys.stderr)
        return 2
    relative = difference.relative()
    passed = relative <= LIMIT  # not so for NaN
    line = (
        f"{'PASS' if passed else 'FAIL'}  relative error {relative:.3g} (limit {LIMIT:g}), "
        f"largest difference {difference.largest:.3g} at logits up to "
        f"{difference.largest_logit:.3g}, {tokens} tokens"
    )
    if math.isfinite(difference.margin):
        line += f", smallest router margin {difference.margin:.3g}"
    print(line)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
