"""annuli watch as a process, and a run that somebody writes."""

import json
import os
import re
import subprocess
import time

from program import ANNULI

# A machine that does ten other things is slow; nothing here is timed.
PATIENCE = 60


def until(holds, what=""):
    """Waits until `holds()` is true, and returns what it returns."""
    deadline = time.monotonic() + PATIENCE
    while True:
        value = holds()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain: {what}")
        time.sleep(0.05)


def append(folder, *lines):
    with open(folder / "training_history.jsonl", "a") as file:
        for line in lines:
            file.write(json.dumps(line) + "\n")


class Program:
    """The program as it runs; its two streams go into one file."""

    def __init__(self, log, *arguments, **options):
        self.log = log
        with open(log, "w") as out:
            self.process = subprocess.Popen(
                [ANNULI, *map(str, arguments)], stdin=subprocess.DEVNULL,
                stdout=out, stderr=out,
                env=dict(os.environ, OMP_NUM_THREADS="1", TERM="dumb"), **options)

    def said(self):
        return self.log.read_text()

    def address(self):
        """The address in a line that begins with "watching"."""
        pattern = re.compile(r"^watching .* at (http://\S+)$", re.MULTILINE)

        def find():
            found = pattern.search(self.said())
            if found is None and self.process.poll() is not None:
                raise AssertionError(self.said())
            return found
        return until(find, "for the address")[1]

    def end(self, signal=15):
        """Ends it, if it has not ended; returns its status as Popen has it."""
        if self.process.poll() is None:
            self.process.send_signal(signal)
        return self.process.wait(PATIENCE)


class Watch(Program):
    def __init__(self, log, *arguments):
        if "--port" not in arguments:
            arguments += ("--port", "0")
        super().__init__(log, "watch", *arguments)
        self.url = self.address()
        self.port = int(re.search(r":(\d+)/$", self.url)[1])
