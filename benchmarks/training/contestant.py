"""One contestant: a process that does a training step when it is told to."""

import json
import os
import select
import subprocess
import time
from pathlib import Path

from .load import Window, is_disturbed


ROOT = Path(__file__).resolve().parents[2]  # plans name their text from there


class ContestantError(Exception):
    """One line: what a contestant could not do."""


class Contestant:
    """Started by `start`, which waits until it is ready to step.

    The process answers each line "step [ARGUMENT]" with one line of JSON that
    has "seconds"; before the first it prints {"ready": true, ...}. Its standard
    error goes to `log`. {"error": ...} in any answer, or its end, is a
    ContestantError.
    """

    def __init__(self, name, command, log, environment=None):
        self.name, self.command, self.log = name, command, log
        self.environment = environment or {}
        self.facts = {}
        self.steps = []
        self.process = None

    def start(self, timeout=600):
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, text=True, bufsize=1, cwd=ROOT,
                env={**os.environ, **self.environment})
        self.facts = self._answer(timeout)

    def step(self, argument=None, timeout=600):
        """Does a step; returns its answer with what was measured beside it."""
        line = "step" if argument is None else "step " + json.dumps(argument)
        window = Window(self.process.pid, os.getpid())
        window.begin()
        begin = time.perf_counter()
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # `_answer` says why
        answer = self._answer(timeout)
        wall = time.perf_counter() - begin
        answer["foreign_cores"] = round(window.end(wall), 4)
        answer["disturbed"] = is_disturbed(answer["foreign_cores"], wall)
        self.steps.append(answer)
        return answer

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self):
        if self.process is None:
            return
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process = None

    def _answer(self, timeout):
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        if not ready:
            raise ContestantError(f"no answer within {timeout} s")
        line = self.process.stdout.readline()
        if not line:
            raise ContestantError(
                f"ended with status {self.process.wait()}: {self._last_words()}")
        try:
            answer = json.loads(line)
        except json.JSONDecodeError:
            raise ContestantError(f"said {line.strip()!r}, expected JSON")
        if "error" in answer:
            raise ContestantError(answer["error"])
        return answer

    def _last_words(self):
        with open(self.log, errors="replace") as log:
            lines = [line.strip() for line in log if line.strip()]
        return lines[-1] if lines else "it said nothing"
