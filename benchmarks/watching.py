#!/usr/bin/env python3
"""watching.py [PART...]: what it costs to watch a run, and how late steps come.

PART: lag, speed, clients, resume; all by default.

  lag      a run of plans/quick.yaml of 2000 steps. How long each step takes from
           its line in the history (seen by looking every 10 ms) to a client of
           the event stream, and to the page in a browser (drawn), if there is
           Chromium; the server's CPU seconds per second
  speed    pairs of short runs, with and without a server and one client, in turn:
           tokens/s and the run's user CPU time with over without, of each pair
           and at the median. On a shared machine look at the CPU time
  clients  the same run with 50 clients at once: the lag of all of them
  resume   a run is killed and resumed under a client, which has in the end what
           the history has

Exit 0, or 1 if a client has not seen what is in a history.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
THREADS = 0
PARTS = ["lag", "speed", "clients", "resume"]


def run_words(folder, steps, *more):
    # One step of a phase is too little for its last proof.
    words = ["run", "plans/quick.yaml", "--out", folder / "run",
             "--allow", "symmetry_breaking",
             "--set", f"data.cache_dir={folder.parent / 'tokens'}"]
    if THREADS:
        words += ["--set", f"threads={THREADS}"]
    for phase, count in enumerate(steps):
        words += ["--set", f"phases.{phase}.train.max_steps={count}"]
    return [*words, *more]


class Program:
    def __init__(self, program, words):
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [program, *map(str, words)], cwd=ROOT, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def wait(self):
        """The run's CPU time, user's and all."""
        drain = threading.Thread(target=self.process.stdout.read)
        drain.start()
        _, status, used = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        drain.join()
        if self.process.returncode not in (0, -signal.SIGKILL):
            sys.exit(f"the run ended with {self.process.returncode}")
        return used

    def cpu(self):
        """CPU seconds so far, and seconds that it runs."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = fields.rpartition(")")[2].split()
        ticks = os.sysconf("SC_CLK_TCK")
        return ((int(fields[11]) + int(fields[12])) / ticks,
                time.monotonic() - self.started)


class Server(Program):
    def __init__(self, program, run):
        super().__init__(program, ["watch", run, "--port", "0"])
        line = self.process.stdout.readline()
        if "http://" not in line:
            sys.exit(line)
        self.url = line.split()[-1]
        self.port = int(self.url.rstrip("/").rpartition(":")[2])

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


class Lines:
    """When each step's line came into a history, looked at every 10 ms."""

    def __init__(self, path):
        self.path, self.times, self.read = path, [], 0
        self.ended = False
        self.thread = threading.Thread(target=self.look)
        self.thread.start()

    def look(self):
        while not self.ended:
            time.sleep(0.01)
            try:
                size = self.path.stat().st_size
            except FileNotFoundError:
                continue
            if size <= self.read:
                continue
            now = time.time()
            with open(self.path, "rb") as file:
                file.seek(self.read)
                whole, _, _ = file.read().rpartition(b"\n")
            self.read += len(whole) + 1 if whole else 0
            self.times += [now] * whole.count(b'"type":"step"')

    def end(self):
        self.ended = True
        self.thread.join()


class Client:
    """Follows the event stream; `times` of each step by its number of all."""

    def __init__(self, port):
        self.times, self.count, self.fetched = {}, 0, 0
        self.port = port
        self.fetch()
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def ask(self, path):
        one = socket.create_connection(("127.0.0.1", self.port))
        one.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n\r\n"
                    .encode())
        return one

    def fetch(self):
        with self.ask("/data") as connection:
            one = connection.makefile("rb").read()
        data = json.loads(one.partition(b"\r\n\r\n")[2])
        self.live = data["live"]
        self.count = data["runs"][0]["steps"]["count"] if data["runs"] else 0
        self.fetched += 1

    def follow(self):
        stream = self.ask(f"/events?server={self.live['server']}"
                          f"&revision={self.live['revision']}").makefile("rb")
        name = None
        for line in stream:
            if line.startswith(b"event: "):
                name = line[7:].strip()
            elif line.startswith(b"data: ") and name == b"anew":
                self.fetch()
            elif line.startswith(b"data: {"):
                now = time.time()
                update = json.loads(line[6:])
                if update["base"] != self.live["revision"]:
                    continue  # it was in what was fetched
                self.live["revision"] = update["revision"]
                steps = update["runs"][0]["steps"]
                self.count = steps["count"]
                for index in steps["index"]:
                    self.times[index] = now


class Page:
    """The page in a browser; the times at which it has drawn so many steps."""

    def __init__(self, url):
        sys.path.insert(0, str(ROOT / "tests/page"))
        from browser import Browser
        self.browser = Browser()
        self.browser.visit(url)
        self.browser.evaluate(
            "window.drawn = []; setInterval(() => { const path = document"
            ".querySelector('#loss-chart path.line.faint'); const count = path ? "
            "d3.select(path).datum().length : 0; if (count !== (drawn.at(-1) || "
            "[0])[0]) drawn.push([count, Date.now() / 1000]); }, 20); true")

    def times(self):
        times, before = {}, None
        for count, at in self.browser.evaluate("window.drawn"):
            if before is not None:
                times.update({i: at for i in range(before + 1, count + 1)})
            before = count
        return times


def say_lags(what, lines, times):
    lags = sorted(times[i] - at for i, at in enumerate(lines, 1) if i in times)
    if not lags:
        return print(f"{what}: nothing seen")
    print(f"{what}: {len(lags)} steps, lag {statistics.median(lags):.2f} s at the "
          f"median, {lags[int(0.99 * len(lags))]:.2f} s at 99 %, "
          f"{lags[-1]:.2f} s at the worst")
    return None


def wait_for(holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)
    return holds()


def steps_in(path):
    text = path.read_bytes() if path.exists() else b""
    return text[:text.rfind(b"\n") + 1].count(b'"type":"step"')


def watched_run(program, folder, steps, clients=1, page=False):
    """Runs it under so many clients; false if one has not seen all of it."""
    run = Program(program, run_words(folder, steps))
    history = folder / "run" / "training_history.jsonl"
    lines = Lines(history)
    wait_for((folder / "run" / "plan.yaml").exists)
    server = Server(program, folder / "run")
    readers = [Client(server.port) for _ in range(clients)]
    shown = None
    if page and shutil.which("chromium"):
        wait_for(lambda: steps_in(history) > 0)
        shown = Page(server.url)
    used = run.wait()
    seconds = time.monotonic() - run.started
    lines.end()
    count = len(lines.times)
    complete = all(wait_for(lambda one=one: one.count == count, 10)
                   for one in readers)
    cpu, alive = server.cpu()
    for number, name in ((1, "a client"), (clients, "all clients")):
        if number > 1 or name == "a client":
            merged = {}
            for one in readers[:number]:
                for index, at in one.times.items():
                    merged[index] = max(at, merged.get(index, 0))
            say_lags(f"from the history to {name}", lines.times, merged)
    if shown:
        time.sleep(2)
        say_lags("from the history to the page, drawn", lines.times,
                 shown.times())
        shown.browser.close()
    print(f"{count} steps in {seconds:.0f} s; the run used "
          f"{used.ru_utime + used.ru_stime:.0f} CPU s, the server "
          f"{cpu:.2f} ({cpu / alive:.4f} a second), {clients} clients; "
          f"{'all have seen all' if complete else 'NOT ALL HAVE SEEN ALL'}")
    server.end()
    return complete


def rate_of(history):
    """Tokens a second of the first phase, without its first steps."""
    steps = [json.loads(line) for line in history.read_text().splitlines()]
    steps = [one for one in steps if one["type"] == "step"
             and one["phase"] == "dense"][10:]
    return sum(one["tokens"] for one in steps) / sum(
        one["tokens"] / one["tokens_per_second"] for one in steps)


def speed(program, folder, pairs):
    ratios, cpu_ratios = [], []
    for pair in range(pairs):
        results = {}
        order = [False, True] if pair % 2 == 0 else [True, False]
        for watched in order:
            place = folder / f"{pair}-{watched}"
            place.mkdir()
            run = Program(program, run_words(place, [120, 1, 1, 1]))
            server = None
            if watched:
                wait_for((place / "run" / "plan.yaml").exists)
                server = Server(program, place / "run")
                Client(server.port)
            used = run.wait()
            if server:
                server.end()
            results[watched] = (rate_of(place / "run/training_history.jsonl"),
                                used.ru_utime)
        ratios.append(results[True][0] / results[False][0])
        cpu_ratios.append(results[True][1] / results[False][1])
        print(f"pair {pair + 1}: {results[True][0]:.0f} tokens/s watched, "
              f"{results[False][0]:.0f} not ({ratios[-1]:.3f}); user CPU "
              f"{results[True][1]:.2f} s and {results[False][1]:.2f} s "
              f"({cpu_ratios[-1]:.3f})")
    print(f"tokens/s with over without: {statistics.median(ratios):.3f} at the "
          f"median; user CPU: {statistics.median(cpu_ratios):.3f}")


def resume(program, folder):
    steps, more = [200, 1, 1, 1], ["--set", "save_steps=25"]
    history = folder / "run" / "training_history.jsonl"
    run = Program(program, run_words(folder, steps, *more))
    wait_for(lambda: steps_in(history) > 10)
    server = Server(program, folder / "run")
    client = Client(server.port)
    wait_for(lambda: steps_in(history) > 90, 600)
    run.process.kill()
    run.wait()
    left = steps_in(history)
    seen = wait_for(lambda: client.count == left, 10)
    again = Program(program, run_words(folder, steps, *more, "--resume"))
    wait_for(lambda: steps_in(history) < left)
    cut = steps_in(history)
    again.wait()
    end = steps_in(history)
    complete = wait_for(lambda: client.count == end, 10)
    print(f"killed at {left} steps ({'seen' if seen else 'NOT SEEN'}), resumed at "
          f"{cut} or more, ended at {end} ({'seen' if complete else 'NOT SEEN'}); "
          f"the client fetched all {client.fetched - 1} times")
    server.end()
    return seen and complete


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", default=PARTS)
    parser.add_argument("--program", default=ROOT / "build/annuli")
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=0, help=(
        "of the runs; on a shared machine 1, so that none waits for another"))
    options = parser.parse_args()
    global THREADS
    THREADS = options.threads
    good = True
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"no part '{part}'; there are {', '.join(PARTS)}")
        with tempfile.TemporaryDirectory(prefix="annuli-watching-") as scratch:
            folder = Path(scratch) / part
            folder.mkdir()
            print(f"--- {part}", flush=True)
            many = [options.steps - 60, 20, 20, 20]
            if part == "lag":
                good &= watched_run(options.program, folder, many, page=True)
            elif part == "clients":
                good &= watched_run(options.program, folder, many, clients=50)
            elif part == "speed":
                speed(options.program, folder, options.pairs)
            else:
                good &= resume(options.program, folder)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
