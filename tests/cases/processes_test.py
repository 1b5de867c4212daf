"""One run on several processes: the same files for any number of them, stopped
on one number and gone on with on another."""

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

from program import ANNULI, ProgramCase, annuli, main

ROOT = Path(__file__).resolve().parents[2]
PHASES = ("dense", "moe", "medium", "large")
TIMES = {"tokens_per_second", "peak_memory_bytes", "seconds", "proof_seconds"}


def settings(**changes):
    """Words that make of plans/tiny.yaml a plan whose batches have four parts."""
    train = {"batch_size": 4, "micro_batch_size": 1, "max_steps": 4}
    values = {f"phases.{phase}.train.{key}": value for phase in PHASES
              for key, value in train.items()}
    values.update({"threads": 1, "parallel.timeout": 60, "save_steps": 2})
    values.update(changes)
    return [word for key, value in values.items()
            for word in ("--set", f"{key}={value}")]


def made(out):
    """What a run leaves: history without times, checkpoints, lineage, samples."""
    history = [{key: value for key, value in json.loads(line).items()
                if key not in TIMES}
               for line in (out / "training_history.jsonl").read_text()
               .splitlines()]
    files = {str(path.relative_to(out)): path.read_bytes()
             for part in ("checkpoints", "samples", "verify")
             for path in sorted((out / part).iterdir())
             if not path.name.startswith(".")}
    return history, files


@contextlib.contextmanager
def one_core():
    """What is started meanwhile has one thread, in one process or in several."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


class Processes(ProgramCase):
    def words(self, name, processes, *more, **changes):
        count = ["--processes", processes] if processes > 1 else []
        return ["run", "plans/tiny.yaml", "--out", self.folder / name,
                "--set", f"data.cache_dir={self.folder / 'tokens'}",
                *settings(**changes), *count, *more]

    def run_in(self, name, processes, *more, **changes):
        self.done(*self.words(name, processes, *more, **changes), cwd=ROOT)
        return made(self.folder / name)

    def kill_after(self, name, processes, steps, **changes):
        """Kills the run once its history has so many steps."""
        history = self.folder / name / "training_history.jsonl"
        process = subprocess.Popen(
            [ANNULI, *map(str, self.words(name, processes, "--resume",
                                           **changes))],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=dict(os.environ, OMP_NUM_THREADS="1"))
        while process.poll() is None:
            if history.exists() and history.read_text().count(
                    '"type":"step"') >= steps:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.01)
        self.assertEqual(process.wait(), -signal.SIGKILL)
        # Its children follow it; the folder is free when they are gone.
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            held = annuli(*self.words(name, 1, "--set", "name=other"), cwd=ROOT)
            if "another run is writing" not in held.stderr:
                return
            time.sleep(0.1)
        self.fail("the children of a killed launcher live on")

    def test_any_number_leaves_the_same_files(self):
        alone = self.run_in("1", 1)
        for processes in (2, 4):
            self.assertEqual(self.run_in(str(processes), processes), alone)

    def test_whatever_they_hold_in_parts_the_files_are_the_same(self):
        alone = self.run_in("1", 1)
        for shard, processes in (("optimizer", 2), ("full", 4)):
            name = f"{shard}-{processes}"
            self.assertEqual(self.run_in(name, processes,
                                         **{"parallel.shard": shard}), alone)

    def test_another_order_of_sums_would_show(self):
        """The comparison can fail: two windows at once are other sums."""
        changed = {f"phases.{phase}.train.micro_batch_size": 2
                   for phase in PHASES}
        self.assertNotEqual(self.run_in("2", 2, **changed), self.run_in("1", 1))

    def test_killed_on_two_and_four_ended_on_one(self):
        alone = self.run_in("alone", 1)
        self.kill_after("killed", 2, 3, **{"parallel.shard": "full"})
        self.kill_after("killed", 4, 9, **{"parallel.shard": "optimizer"})
        self.assertEqual(self.run_in("killed", 1, "--resume"), alone)

    def test_batches_without_parts_are_refused(self):
        out = self.folder / "refused"
        self.refused(*self.words("refused", 2, "--set",
                                 "phases.moe.train.micro_batch_size=4"),
                     cwd=ROOT, says=("phase moe", "1 part",
                                     "micro_batch_size to 2"))
        self.assertFalse(out.exists())

    def test_a_failure_is_one_line_and_its_status(self):
        """The folder belongs to somebody else: rank 0 alone finds out."""
        out = self.folder / "there"
        out.mkdir()
        (out / "plan.yaml").write_text("mine")
        self.refused(*self.words("there", 2), cwd=ROOT,
                     says=("plan.yaml", "was not made by a run"))
        self.assertEqual((out / "plan.yaml").read_text(), "mine")

    def test_grow_with_any_number_leaves_the_same_files(self):
        """Weights, the optimizer's state, lineage with its verdicts, card."""
        parent = self.parent()
        dense = self.folder / "run" / "checkpoints" / "dense_model.pt"
        for name, of, words in (
                ("widen", parent, ["--factor", "2"]),
                ("upcycle", dense, ["--max-shard-size", "50kB"])):
            alone = self.grown(f"{name}-1", of, name, 1, *words)
            self.assertGreater(len(alone), 5)
            for processes in (2, 4):
                out = f"{name}-{processes}"
                self.assertEqual(
                    self.grown(out, of, name, processes, *words), alone)
        again = self.folder / "again"
        self.done("grow", "--replay", self.folder / "widen-2" / "lineage.json",
                  parent, "--out", again, "--processes", "2")
        self.assertEqual(self.files(again),
                         self.files(self.folder / "widen-1"))

    def test_a_growth_that_loses_a_process_leaves_nothing(self):
        parent = self.parent()
        for rank in (1, 0):
            out = self.folder / "out" / f"lost-{rank}"
            process = subprocess.Popen(
                [ANNULI, "grow", "widen", parent, "--out", out, "--factor", "2",
                 "--windows", "64", "--processes", "2"],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            while not list(out.parent.glob("*.tmp-*")):
                self.assertIsNone(process.poll())
                time.sleep(0.001)
            os.kill(self.child_of(process.pid, rank), signal.SIGKILL)
            line = process.communicate()[1].strip()
            self.assertEqual(process.returncode, 128 + signal.SIGKILL, line)
            self.assertEqual(len(line.splitlines()), 1, line)
            self.assertIn(f"rank {rank}", line)
            self.assertFalse(out.exists())
            # What a killed first process left is taken away by the next one.
            self.assertEqual(len(list(out.parent.glob("*.tmp-*"))), rank == 0)
            self.done("grow", "widen", parent, "--out", out, "--processes", "2")
            self.assertEqual(list(out.parent.glob("*.tmp-*")), [])

    def parent(self):
        """A trained model with its optimizer's state."""
        self.run_in("run", 1)
        state = self.folder / "run" / "state"
        newest = max(path for path in state.iterdir() if path.is_dir())
        self.done("export", newest, "--out", self.folder / "parent")
        return self.folder / "parent"

    def grown(self, name, parent, operator, processes, *more):
        """The files of a child, made with one thread by each process."""
        out = self.folder / name
        count = ["--processes", processes] if processes > 1 else []
        with one_core():
            self.done("grow", operator, parent, "--out", out, *more, *count)
        return self.files(out)

    def files(self, out):
        return {path.name: path.read_bytes() for path in out.iterdir()}

    def child_of(self, launcher, rank):
        """The process of that rank which a launcher has started."""
        children = Path(f"/proc/{launcher}/task/{launcher}/children")
        for child in children.read_text().split():
            words = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
            if f"ANNULI_RANK={rank}".encode() in words:
                return int(child)
        self.fail(f"rank {rank} is not there")


if __name__ == "__main__":
    main()
