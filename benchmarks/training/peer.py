#!/usr/bin/env python3
"""peer.py FOLDER [--dtype fp32|bf16] [--compile] [--experts NAME|fastest]
                [--share ddp|fsdp]

transformers as a contestant (see contestant.py): loads FOLDER/model, then does
a training step over the next batch of FOLDER/batches.i64 for each line "step":
forward, backward, norm of the gradient, fused AdamW; or, if the plan says muon,
torch.optim.Muon for the matrices of the blocks. bf16 is autocast over fp32 weights.
What torch.compile compiles is compiled before "ready".

--experts fastest: transformers has a loop over experts and a grouped product;
the one that is faster in a trial step is kept. Without it, its default.

--share: one of WORLD_SIZE processes, each with its part of the batch: by
DistributedDataParallel, or by FSDP2, a block a unit. The first (RANK) is told
when to step, the others step when it does.
"""

import argparse
import json
import os
import sys
import time
from contextlib import nullcontext

import torch
import torch.distributed as dist
from transformers import AutoModelForCausalLM
from transformers.utils import logging


class Peer:
    def __init__(self, arguments, plan):
        self.model = AutoModelForCausalLM.from_pretrained(
            f"{arguments.folder}/model", dtype=torch.float32,
            attn_implementation="sdpa").train()
        self.bf16 = arguments.dtype == "bf16"
        self.compile = arguments.compile
        self.share = arguments.share
        self.rank, self.size = 0, 1
        if self.share:
            dist.init_process_group("gloo")
            self.rank, self.size = dist.get_rank(), dist.get_world_size()
        if self.share == "fsdp":
            shard(self.model)
        self.forward = self.compiled()
        if self.share == "ddp":
            self.forward = torch.nn.parallel.DistributedDataParallel(
                self.forward, gradient_as_bucket_view=True, static_graph=True)
        self.optimizers = self.make_optimizers(plan)
        self.batches = torch.from_file(
            f"{arguments.folder}/batches.i64", dtype=torch.int64,
            size=os.path.getsize(f"{arguments.folder}/batches.i64") // 8,
        ).view(-1, 2, plan["batch_size"], plan["sequence_length"])
        self.next = 0

    def compiled(self):
        if not self.compile:
            return self.model
        torch._dynamo.reset()
        return torch.compile(self.model)

    def make_optimizers(self, plan):
        """Decays matrices and tables, not gains, as ours does."""
        of_muon = self.blocks() if plan["optimizer"] == "muon" else []
        known = {id(p) for p in of_muon}
        rest = [p for p in self.model.parameters() if id(p) not in known]
        adamw = torch.optim.AdamW(
            [{"params": [p for p in rest if p.dim() > 1],
              "weight_decay": plan["weight_decay"]},
             {"params": [p for p in rest if p.dim() == 1], "weight_decay": 0.0}],
            lr=plan["learning_rate"], betas=(plan["beta1"], plan["beta2"]),
            eps=plan["epsilon"], fused=True)
        if not of_muon:
            return [adamw]
        scales = {"keller": "original", "moonlight": "match_rms_adamw"}
        return [adamw, torch.optim.Muon(
            of_muon, lr=plan["learning_rate"], weight_decay=plan["weight_decay"],
            momentum=plan["muon_momentum"],
            adjust_lr_fn=scales[plan["muon_scale"]])]

    def blocks(self):
        """Matrices of attention and of dense feed-forwards."""
        return [p for name, p in self.model.named_parameters()
                if p.dim() == 2 and (".self_attn." in name or ".mlp." in name)]

    def gradients(self, batch):
        """Forward and backward; returns the loss."""
        tokens, targets = (
            rows.chunk(self.size)[self.rank]
            for rows in self.batches[batch % len(self.batches)])
        autocast = (torch.autocast("cpu", torch.bfloat16)
                    if self.bf16 else nullcontext())
        with autocast:
            loss = self.forward(input_ids=tokens, labels=targets,
                                shift_labels=targets, use_cache=False).loss
        loss.backward()
        return loss

    def step(self):
        if self.share:  # all begin together
            dist.barrier()
        start = time.perf_counter()
        loss = self.gradients(self.next)
        norm = torch.nn.utils.get_total_norm(
            [p.grad for p in self.model.parameters() if p.grad is not None])
        for optimizer in self.optimizers:
            optimizer.step()
        self.model.zero_grad(set_to_none=True)
        if self.share == "fsdp":
            norm = norm.full_tensor()
        if self.share:
            loss = loss.detach()
            dist.all_reduce(loss)
            loss /= self.size
        values = loss.item(), norm.item()
        seconds = time.perf_counter() - start
        self.next += 1
        return {"seconds": seconds, "loss": values[0], "grad_norm": values[1],
                "peak_memory_bytes": peak_memory()}

    def trial(self):
        """Seconds of the second forward and backward; nothing is updated."""
        for _ in range(2):
            start = time.perf_counter()
            self.gradients(0)
            seconds = time.perf_counter() - start
            self.model.zero_grad(set_to_none=True)
        return seconds

    def choose_experts(self):
        seconds = {}
        for name in ("eager", "grouped_mm"):
            self.model.set_experts_implementation(name)
            self.forward = self.compiled()
            seconds[name] = self.trial()
        best = min(seconds, key=seconds.get)
        self.model.set_experts_implementation(best)
        self.forward = self.compiled()
        return best


def shard(model):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


def peak_memory():
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--experts")
    parser.add_argument("--share", choices=("ddp", "fsdp"))
    return parser.parse_args()


def prepare(options):
    with open(f"{options.folder}/plan.json") as file:
        peer = Peer(options, json.load(file))
    ready = {"ready": True, "experts": options.experts or "default"}
    if options.experts == "fastest":
        ready["experts"] = peer.choose_experts()
    elif options.experts:
        peer.model.set_experts_implementation(options.experts)
    if options.compile:
        peer.trial()
        counters = torch._dynamo.utils.counters
        ready["graphs"] = counters["stats"]["unique_graphs"]
        ready["graph_breaks"] = sum(counters["graph_break"].values())
    return peer, ready


def say(line):
    print(json.dumps(line), file=OUT, flush=True)


def follow(peer):
    """Steps with the first process until that one ends."""
    try:
        while True:
            peer.step()
    except RuntimeError:
        os._exit(0)  # the group is gone, and would be waited for


def main():
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        peer, ready = prepare(arguments())
    except Exception as error:  # whatever torch.compile throws, one line of it
        first = (str(error).strip().splitlines() or [""])[0]
        say({"error": f"{type(error).__name__}: {first[:200]}"})
        return 1
    say(ready)
    if peer.rank > 0:
        follow(peer)
        return 0
    for line in sys.stdin:
        if not line.startswith("step"):
            say({"error": f"found {line.strip()!r}, expected 'step'"})
            return 1
        say(peer.step())
    return 0


if __name__ == "__main__":
    # Standard output is the driver's; what libraries print goes elsewhere.
    OUT = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.exit(main())
