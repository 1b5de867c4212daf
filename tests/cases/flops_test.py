"""Operations that a run's budget counts, beside PyTorch's own count of them."""

import json
import unittest

import torch
from case import SIZES, ProgramCase, annuli, main, model
from torch.utils.flop_counter import FlopCounterMode

LENGTH = 64
PLAN = """
name: flops
tokenizer: bytes
data: {{text: [x.txt], sequence_length: {length}}}
model: {{from: {folder}}}
phases:
  - {{name: one, train: {{max_steps: 1, learning_rate: 1e-3, batch_size: 2}}}}
"""


def counted_by_torch(made):
    """Of a forward pass over two windows; attention, which multiplies the whole
    square, counts half."""
    tokens = torch.randint(0, SIZES["vocab_size"], (2, LENGTH))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        made(tokens)
    flops = 0
    for operation, count in counter.get_flop_counts()["Global"].items():
        name = str(operation)
        whole_square = "bmm" in name or "attention" in name
        flops += count / 2 if whole_square else count
    return flops


class Flops(ProgramCase):
    def check(self, family, **changes):
        made = model(family, **changes)
        made.set_attn_implementation("eager")
        if hasattr(made, "set_experts_implementation"):
            made.set_experts_implementation("eager")
        folder = self.folder / family
        made.save_pretrained(folder)
        plan = self.folder / "plan.yaml"
        plan.write_text(PLAN.format(folder=folder, length=LENGTH))
        done = annuli("plan", plan, "--json", "--no-measure")
        self.assertEqual(done.returncode, 0, done.stderr)
        ours = json.loads(done.stdout)["phases"][0]["counted_flops"]
        theirs = 3 * counted_by_torch(made)
        self.assertLess(abs(ours / theirs - 1), 0.01, (family, ours, theirs))

    def test_dense(self):
        self.check("Llama")
        self.check("Qwen3", head_dim=32)

    def test_mixture(self):
        self.check("Mixtral", num_local_experts=4, num_experts_per_tok=2)


if __name__ == "__main__":
    main()
