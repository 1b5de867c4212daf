"""What the cases share: tiny models as transformers writes them, the program as
a user runs it (program.py), and the logits of both.

A case is a `unittest` test of one kind of input that people really have. The
module of a kind is `<kind>_test.py`; each makes what it needs in a folder of its
own, from seeds, and asks for the right value, not for today's.
"""

import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.utils import logging

from program import ANNULI, ProgramCase, annuli, main  # noqa: F401

logging.set_verbosity_error()
logging.disable_progress_bar()
torch.set_num_threads(1)

SIZES = dict(
    vocab_size=300,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
)
PROSE = "The moon rose over a small green hill where two old dogs slept. " * 300


def model(family="Llama", dtype=torch.float32, seed=0, **changes):
    """A random model of a class of transformers, gains off their default."""
    config = getattr(transformers, family + "Config")(**{**SIZES, **changes})
    made = getattr(transformers, family + "ForCausalLM")(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            draw = torch.randn(weight.shape, generator=generator)
            gain = weight.ndim == 1 and "norm" in name
            weight.copy_(1 + 0.2 * draw if gain else 0.08 * draw)
    return made.to(dtype).eval()


def edit_config(folder, drop=(), **changes):
    path = Path(folder) / "config.json"
    config = json.loads(path.read_text())
    for key in drop:
        config.pop(key, None)
    path.write_text(json.dumps(config | changes, indent=1))


def weights(folder):
    return load_file(str(Path(folder) / "model.safetensors"))


def put_weights(folder, tensors, name="model.safetensors"):
    tensors = {key: value.contiguous() for key, value in tensors.items()}
    save_file(tensors, str(Path(folder) / name), metadata={"format": "pt"})


class Case(ProgramCase):
    """A ProgramCase that makes models."""

    def saved(self, name="parent", family="Llama", **changes):
        """A model's folder as `save_pretrained` writes it."""
        folder = self.folder / name
        model(family, **changes).save_pretrained(folder)
        return folder

    def logits_error(self, folder, reference=None):
        """How far the program's logits of `folder` are from those that
        transformers has of it (or of the folder or model `reference`), relative
        to their norm, on a fixed text in bytes."""
        text, out = self.folder / "prose.txt", self.folder / "logits.safetensors"
        text.write_text(PROSE)
        self.done("evaluate", folder, "--text", text, "--tokenizer", "bytes",
                  "--windows", 2, "--sequence-length", 48, "--logits", out)
        ours = load_file(str(out))
        if not isinstance(reference, torch.nn.Module):
            reference = transformers.AutoModelForCausalLM.from_pretrained(
                reference or folder, dtype=torch.float32)
        with torch.no_grad():
            theirs = reference.eval()(ours["tokens"]).logits.double()
        return float((theirs - ours["logits"].double()).norm() / theirs.norm())
