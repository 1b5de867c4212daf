"""What is measured: cases, their contestants, and how much memory these take."""

import itertools
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from .contestant import Contestant, ContestantError

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("ANNULI_BUILD", ROOT / "build"))
PROGRAM = str(BUILD / "annuli_step_bench")
SHAPES = ("dense", "mixture")
DTYPES = ("fp32", "bf16")
PRECISION = {"fp32": "fp32", "bf16": "bf16-mixed"}
OURS, LIGHT = "ours", "speed of light"
# Name: (compiled, tuned). Tuned: MKL's fast path on every maker's processor,
# malloc that keeps its memory, and of two ways to run experts the faster one.
PEERS = {
    "transformers": (False, False),
    "transformers, tuned": (False, True),
    "torch.compile": (True, False),
    "torch.compile, tuned": (True, True),
}
KEEP = str(4 << 30)  # more than any block: malloc gives nothing back
TUNED = {
    "LD_PRELOAD": str(BUILD / "libannuli_mkl_preload.so"),
    "GLIBC_TUNABLES": f"glibc.malloc.mmap_threshold={KEEP}:"
                      f"glibc.malloc.trim_threshold={KEEP}",
}


@dataclass(frozen=True)
class Case:
    shape: str
    dtype: str

    @property
    def name(self):
        return f"{self.shape} {self.dtype}"

    @property
    def plan(self):
        return str(ROOT / f"benchmarks/plans/{self.shape}.yaml")


def parse_cases(words):
    """"dense-fp32", "dense" (both types), "bf16" (both shapes)."""
    everything = [Case(shape, dtype) for shape in SHAPES for dtype in DTYPES]
    if not words:
        return everything
    chosen = []
    for word in words:
        parts = word.split("-")
        found = [c for c in everything if set(parts) <= {c.shape, c.dtype}]
        if not found:
            names = ", ".join(f"{c.shape}-{c.dtype}" for c in everything)
            raise ValueError(f"case {word!r}: expected one of {names}")
        chosen += [c for c in found if c not in chosen]
    return chosen


@dataclass
class Places:
    """Where things lie: the folder of the run's files, the plan's overrides."""

    folder: Path
    overrides: list = field(default_factory=list)

    def start(self, case):
        return self.folder / case.shape

    def log(self, case, name):
        word = name.replace(", ", "-").replace(" ", "-")
        return self.folder / f"{case.shape}-{case.dtype}-{word}.log"

    def set(self):
        return [word for text in self.overrides for word in ("--set", text)]


def make(case, name, places):
    """The contestant of this name, not yet started."""
    start = str(places.start(case))
    if name == OURS:
        precision = ["--set", f"precision={PRECISION[case.dtype]}"]
        command = [PROGRAM, "ours", case.plan, start] + places.set() + precision
        return Contestant(name, command, places.log(case, name))
    if name == LIGHT:
        command = [PROGRAM, "light", case.plan, "--dtype", case.dtype]
        return Contestant(name, command + places.set(), places.log(case, name))
    compiled, tuned = PEERS[name]
    command = [sys.executable, str(ROOT / "benchmarks/training/peer.py"), start,
               "--dtype", case.dtype]
    if compiled:
        command.append("--compile")
    if tuned and case.shape == "mixture":
        command += ["--experts", "fastest"]
    environment = {"TORCHINDUCTOR_CACHE_DIR": str(places.folder / "inductor")}
    if tuned:
        environment.update(TUNED)
    return Contestant(name, command, places.log(case, name), environment)


def memory_of(case, name, plan):
    """Bytes (between steps, at most within one) that a contestant takes: weights
    and two moments, what a step adds, and what is kept of it. Measured on the
    shapes of benchmarks/plans and rounded up."""
    parameters = plan["parameters"]
    activations = {"dense": 2.5e9, "mixture": 4.5e9}[case.shape]
    if name == LIGHT:
        return 1e9 + 4 * parameters, 1e9 + 4 * parameters
    if name == OURS:
        return 12 * parameters + 1.5e9, 12 * parameters + 2.5e9
    peak = 16 * parameters + activations + 5e8
    if PEERS[name][1]:  # tuned: keeps all that it ever had
        return peak + 1.5e9, peak + 1.5e9
    return 12 * parameters + 1e9, peak


def need(case, names, plan):
    """Bytes that these take side by side, one of them within a step."""
    sizes = [memory_of(case, name, plan) for name in names]
    return sum(idle for idle, _ in sizes) + max(p - idle for idle, p in sizes)


def packs(case, peers, plan, limit):
    """The fewest groups that fit into `limit` bytes, ours in each and the light
    in the first; and, by name, why a peer is in none. Times of different groups
    are not compared."""
    too_large = {}
    for name in [LIGHT] + peers:
        bytes_ = need(case, [OURS, name], plan)
        if bytes_ > limit:
            too_large[name] = (f"takes {bytes_ / 1e9:.1f} GB beside ours, "
                               f"{limit / 1e9:.1f} GB are free")
    if LIGHT in too_large:
        raise ContestantError(f"{LIGHT} {too_large[LIGHT]}")
    members = [LIGHT] + [peer for peer in peers if peer not in too_large]
    best = None
    for places in itertools.product(range(len(members)), repeat=len(members)):
        groups = {}
        for member, place in zip(members, places):
            groups.setdefault(place, [OURS]).append(member)
        if best is not None and len(groups) >= len(best):
            continue
        if all(need(case, group, plan) <= limit for group in groups.values()):
            best = list(groups.values())
    return best, too_large
