"""A case from start to end: contestants step in turn, round by round."""

import subprocess
import time

from .cases import LIGHT, OURS, PROGRAM, ROOT, make
from .contestant import ContestantError

# Two fp32 programs that do the same agree to rounding; a wrong one differs in
# the third digit.
LOSS_LIMIT = 1e-4
WARM_UPS = 1  # steps that nobody counts: moments are made in the first
PAUSE = 0.1  # seconds until the threads of the one before have stopped spinning


def make_start(case, places, steps):
    """The weights and batches that all contestants of a shape begin with."""
    done = subprocess.run(
        [PROGRAM, "make", case.plan, str(places.start(case)), "--steps",
         str(steps)] + places.set(),
        cwd=ROOT, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise ContestantError(done.stderr.strip())


def first_losses(contestants, dtype):
    """Relative differences of the first step's loss from ours, by name. Throws
    where fp32 does not agree: then they have not done the same work."""
    ours = next(c for c in contestants if c.name == OURS)
    differences = {}
    for other in contestants:
        if other.name in (OURS, LIGHT) or not other.steps:
            continue
        mine, theirs = ours.steps[0]["loss"], other.steps[0]["loss"]
        difference = abs(mine - theirs) / abs(theirs)
        differences[other.name] = difference
        if dtype == "fp32" and not difference <= LOSS_LIMIT:
            raise ContestantError(
                f"first loss of ours {mine:.7f}, of {other.name} {theirs:.7f}: "
                f"they differ by {difference:.1e}, at most {LOSS_LIMIT:.0e} "
                f"is the same model on the same batch")
    return differences


class Group:
    """Contestants that live side by side; only one of them computes at a time."""

    def __init__(self, case, names, places, say):
        self.case, self.say = case, say
        self.contestants = [make(case, name, places) for name in names]
        self.failures = {}

    def run(self, rounds):
        """Steps all of them `rounds` times after the warm-up; ends them too."""
        try:
            for contestant in list(self.contestants):
                self._start(contestant)
            for number in range(WARM_UPS + rounds):
                self._round(number, warm=number < WARM_UPS)
                if number == 0:
                    self.losses = first_losses(self.contestants, self.case.dtype)
        finally:
            for contestant in self.contestants:
                contestant.stop()

    def _start(self, contestant):
        begin = time.perf_counter()
        try:
            contestant.start()
        except ContestantError as error:
            contestant.stop()
            if contestant.name in (OURS, LIGHT):
                raise
            self.failures[contestant.name] = str(error)
            self.contestants.remove(contestant)
            self.say(f"  {contestant.name}: {error}")
            return
        self.say(f"  {contestant.name}: ready after "
                 f"{time.perf_counter() - begin:.0f} s")

    def _round(self, number, warm):
        """Ours goes first of all, the light right after it with its rows; who
        is first of the peers changes from round to round."""
        fixed = [c for c in self.contestants if c.name in (OURS, LIGHT)]
        peers = [c for c in self.contestants if c not in fixed]
        shift = number % len(peers) if peers else 0
        rows, words = None, []
        for contestant in fixed + peers[shift:] + peers[:shift]:
            time.sleep(PAUSE)
            step = contestant.step(rows if contestant.name == LIGHT else None)
            step["warm_up"] = warm
            if contestant.name == OURS and step["rows"]:
                rows = step["rows"]
            words.append(f"{contestant.name} {step['seconds']:.3f}"
                         + ("!" if step["disturbed"] else ""))
        name = "warm-up" if warm else f"round {number - WARM_UPS + 1}"
        self.say(f"  {name}: " + ", ".join(words) + " s")
