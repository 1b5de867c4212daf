"""Trains a small language model by transformers' Trainer, and grows it on the way:
wider at step 20, deeper at step 40. `python grow_in_a_trainer.py OUT TEXT...` reads
files as bytes; called again, it goes on from the newest checkpoint in OUT.
"""

import sys
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments)

from annuli.torch import deepen, widen
from annuli.transformers import GrowthCallback

LENGTH = 64
out = Path(sys.argv[1])
text = b"".join(Path(name).read_bytes() for name in sys.argv[2:])
windows = torch.tensor(list(text))[: len(text) // LENGTH * LENGTH].view(-1, LENGTH)
data = [{"input_ids": window, "labels": window} for window in windows]

saved = sorted(out.glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
last = str(saved[-1]) if saved else None
torch.manual_seed(0)
model: torch.nn.Module
if last is None:
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=256, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256))
else:  # as large as it was then
    model = AutoModelForCausalLM.from_pretrained(last)

trainer = Trainer(
    model=model,
    args=TrainingArguments(
        output_dir=str(out), max_steps=60, per_device_train_batch_size=8,
        learning_rate=3e-3, weight_decay=0.1, logging_steps=1, save_steps=10,
        use_cpu=True, report_to=[], disable_tqdm=True),
    train_dataset=data,
    callbacks=[
        GrowthCallback(widen(factor=2, noise_snr_db=10), at_step=20),
        GrowthCallback(deepen(add_layers=2), at_step=40),
    ],
)
trainer.train(resume_from_checkpoint=last)
for entry in trainer.state.log_history:
    print({key: entry[key] for key in ("step", "loss", "growth") if key in entry})
