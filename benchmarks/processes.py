#!/usr/bin/env python3
r"""processes.py [--size N]: a training step that N processes of one thread share,
holding all or parts (parallel.shard), beside one process of N threads, PyTorch's
DistributedDataParallel and FSDP2.

All begin with the same weights and do the same steps on the same batches, in
turn, one at a time (benchmarks/bench.py); the batch is cut into as many parts as
there are processes. In fp32 the first losses must agree to 1e-4. PyTorch's runs
transformers' model, tuned: MKL's fast path, malloc that keeps its memory.

  of one     the best time of one process of N threads over that of the row
  ours is    the row's best time over that of our N processes which hold as much:
             shard none beside DDP, shard full beside FSDP2
  peak       the largest of its processes

--by-shard: three rounds of fewer contestants, for shapes of which not all fit
into memory side by side; one process is in each:

  processes.py --plan benchmarks/plans/mixture.yaml --by-shard \
    --set model.num_hidden_layers=6

Exit 0, or 1 if losses differ or a contestant fails.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

from training import cases, machine
from training.contestant import Contestant, ContestantError
from training.rounds import LOSS_LIMIT, PAUSE, WARM_UPS

ONE = "one process"
SHARED = {shard: f"shard {shard}" for shard in ("none", "optimizer", "full")}
DDP, FSDP = "DDP, tuned", "FSDP2, tuned"
GROUPS = [(ONE, "shard none", "DDP, tuned"), (ONE, "shard optimizer"),
          (ONE, "shard full", "FSDP2, tuned")]
BESIDE = {ONE: SHARED["none"], DDP: SHARED["none"], FSDP: SHARED["full"]}
PEER = str(cases.ROOT / "benchmarks/training/peer.py")


class Team(Contestant):
    """A contestant of several processes, each bound to its part of the cores.
    The first is told when to step; the others step with it, and end with it."""

    def __init__(self, name, command, log, size, environment=None):
        self.size, self.program = size, command
        self.others = []
        shared = {
            "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(random.randrange(20000, 30000)),
            "OMP_NUM_THREADS": "1", **(environment or {})}
        super().__init__(name, command, log,
                         dict(shared, RANK="0", LOCAL_RANK="0"))

    def start(self, timeout=600):
        self.begin_others()
        self.begin_first(timeout)

    def bound(self, rank):
        """The command on this rank's cores, as `annuli run --processes` and a
        tuned launcher of PyTorch's bind them."""
        cores = sorted(os.sched_getaffinity(0))
        each = max(1, len(cores) // self.size)
        own = [cores[i % len(cores)]
               for i in range(rank * each, (rank + 1) * each)]
        return ["taskset", "-c", ",".join(map(str, own)), *self.program]

    def begin_first(self, timeout):
        self.command = self.bound(0)
        super().start(timeout)

    def begin_others(self):
        for rank in range(1, self.size):
            with open(f"{self.log}.{rank}", "w") as log:
                self.others.append(subprocess.Popen(
                    self.bound(rank), stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=log, cwd=cases.ROOT,
                    env={**os.environ, **self.environment, "RANK": str(rank),
                         "LOCAL_RANK": str(rank)}))

    def peak_bytes(self):
        return max(peak_of(p.pid) for p in [self.process] + self.others)

    def stop(self):
        super().stop()
        for other in self.others:
            try:
                other.wait(20)
            except subprocess.TimeoutExpired:
                other.kill()
                other.wait()


def peak_of(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def contestants(options, start):
    size = options.size
    sets = [word for text in options.set for word in ("--set", text)]
    ours = [cases.PROGRAM, "ours", options.plan, str(start)] + sets
    log = lambda name: options.work / f"processes-{name}.log"
    micro = ["--set", f"phases.0.train.micro_batch_size={options.micro}"]
    made = [
        Contestant(ONE, ours + ["--set", f"threads={size}"], log("one"),
                   {"OMP_NUM_THREADS": str(size)}),
    ]
    for shard, name in SHARED.items():
        words = ["--set", "threads=1", "--set", f"parallel.shard={shard}"]
        made.append(Team(name, ours + words + micro, log(shard), size))
    for name, share in ((DDP, "ddp"), (FSDP, "fsdp")):
        command = [sys.executable, PEER, str(start), "--share", share]
        made.append(Team(name, command, log(share), size, cases.TUNED))
    return [c for c in made
            if not options.no_peers or c.name not in (DDP, FSDP)]


def require_same_work(all_of_them):
    mine = all_of_them[0].steps[0]["loss"]
    for other in all_of_them[1:]:
        theirs = other.steps[0]["loss"]
        if not abs(mine - theirs) / abs(theirs) <= LOSS_LIMIT:
            raise ContestantError(f"first loss {mine:.7f}, of {other.name} "
                                  f"{theirs:.7f}: not the same work")


def run(all_of_them, rounds):
    try:
        for contestant in all_of_them:
            contestant.start()
        for number in range(WARM_UPS + rounds):
            words = []
            for contestant in all_of_them:
                time.sleep(PAUSE)
                step = contestant.step()
                words.append(f"{contestant.name} {step['seconds']:.3f}")
            print(f"  round {number}: " + ", ".join(words) + " s", flush=True)
            if number == 0:
                require_same_work(all_of_them)
        return table(all_of_them)
    finally:
        for contestant in all_of_them:
            contestant.stop()


def table(all_of_them):
    best, middle, peaks = {}, {}, {}
    for contestant in all_of_them:
        seconds = [step["seconds"] for step in contestant.steps[WARM_UPS:]]
        best[contestant.name] = min(seconds)
        middle[contestant.name] = statistics.median(seconds)
        peaks[contestant.name] = (contestant.peak_bytes()
                                  if isinstance(contestant, Team)
                                  else peak_of(contestant.process.pid))
    lines = [f"{'':16} {'best':>8} {'median':>8} {'of one':>7} {'ours is':>8} "
             f"{'peak':>9}"]
    for name in best:
        lines.append(f"{name:16} {best[name]:7.3f}s {middle[name]:7.3f}s "
                     f"{best[ONE] / best[name]:7.2f} "
                     f"{beside(best, name)} "
                     f"{peaks[name] / 1e9:6.2f} GB")
    return "\n".join(lines)


def beside(best, name):
    ours = BESIDE.get(name, name)
    return f"{best[name] / best[ours]:7.2f}x" if ours in best else f"{'-':>8}"


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--plan", default=str(cases.ROOT /
                                              "benchmarks/plans/dense.yaml"))
    parser.add_argument("--size", type=int, default=2)
    parser.add_argument("--micro", type=int, default=4,
                        help="micro_batch_size; batch_size over it is N")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--by-shard", action="store_true",
                        help="a few contestants at a time")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--work", type=Path, default=cases.BUILD / "bench")
    return parser.parse_args()


def make_start(options, steps):
    """Weights, and batches for so many steps; where they are."""
    options.work.mkdir(parents=True, exist_ok=True)
    start = options.work / "processes"
    made = subprocess.run(
        [cases.PROGRAM, "make", options.plan, str(start), "--steps", str(steps)] +
        [word for text in options.set for word in ("--set", text)],
        cwd=cases.ROOT, stderr=subprocess.PIPE, text=True)
    if made.returncode != 0:
        raise ContestantError(made.stderr.strip())
    return start


def main():
    options = parse_arguments()
    print(machine.describe(machine.facts(cases.ROOT)))
    try:
        start = make_start(options, WARM_UPS + options.rounds)
        everyone = [c.name for c in contestants(options, start)]
        for group in GROUPS if options.by_shard else [everyone]:
            chosen = [c for c in contestants(options, start)
                      if c.name in group]
            print(run(chosen, options.rounds), flush=True)
    except ContestantError as error:
        print(f"processes.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
