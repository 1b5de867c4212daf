#!/usr/bin/env python3
"""network.py: measured steps of two processes through a slow network, beside
what `annuli plan --processes 2` foretells of them.

The network is made here: two namespaces, each with a TUN device, and a thread
for each direction that passes packets on at a rate and with a delay. Needs root.

  unlimited  a step without the network's limits
  foretold   what `annuli plan --step-time UNLIMITED` says of a step at this rate
             and delay
  unhidden   what it says of one that does not send while it computes
  off        foretold over measured, less one

Exit 0, or 1 if a foretold step is off by more than --most.
"""

import argparse
import fcntl
import heapq
import json
import os
import statistics
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

from processes import SHARED, Team, make_start
from training import cases
from training.contestant import ContestantError

SPACES = "annuli-a", "annuli-b"
ADDRESSES = "10.77.0.1", "10.77.0.2"
MTU = 65000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 0x0001, 0x1000


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def tun(name):
    file = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(file, TUNSETIFF,
                struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return file


class Direction:
    """Passes packets from one device to another: each takes its bytes over the
    rate, one after the other, and then the delay."""

    def __init__(self, source, target):
        self.source, self.target = source, target
        self.bytes_per_second, self.delay = float("inf"), 0.0
        self.waiting, self.changed = [], threading.Condition()
        for work in (self.receive, self.deliver):
            threading.Thread(target=work, daemon=True).start()

    def receive(self):
        free_at, number = 0.0, 0
        while True:
            try:
                packet = os.read(self.source, MTU + 100)
            except OSError:  # the device is gone
                return
            free_at = (max(free_at, time.monotonic()) +
                       len(packet) / self.bytes_per_second)
            number += 1
            with self.changed:
                heapq.heappush(self.waiting,
                               (free_at + self.delay, number, packet))
                self.changed.notify()

    def deliver(self):
        while True:
            with self.changed:
                while not self.waiting:
                    self.changed.wait()
                due, _, packet = heapq.heappop(self.waiting)
            left = due - time.monotonic()
            if left > 0:
                time.sleep(left)
            try:
                os.write(self.target, packet)
            except OSError:
                return


class Network:
    def __enter__(self):
        self.files = []
        for space, address in zip(SPACES, ADDRESSES):
            subprocess.run(["ip", "netns", "del", space],
                           stderr=subprocess.DEVNULL, check=False)
            ip("netns", "add", space)
            self.files.append(tun(space))
            ip("link", "set", space, "netns", space)
            inside = ("-n", space)
            ip(*inside, "link", "set", "lo", "up")
            ip(*inside, "addr", "add", f"{address}/24", "dev", space)
            ip(*inside, "link", "set", space, "mtu", str(MTU), "txqueuelen",
               "1000", "up")
        self.directions = [Direction(*self.files), Direction(*self.files[::-1])]
        return self

    def set(self, bytes_per_second, delay):
        for direction in self.directions:
            direction.bytes_per_second = bytes_per_second
            direction.delay = delay

    def __exit__(self, *_):
        for space in SPACES:
            ip("netns", "del", space)


class FarTeam(Team):
    """Each process in a namespace of its own."""

    def __init__(self, *arguments):
        super().__init__(*arguments, environment={"MASTER_ADDR": ADDRESSES[0]})

    def bound(self, rank):
        return ["ip", "netns", "exec", SPACES[rank], *super().bound(rank)]


def foretold(options, shard, rate, delay, alone):
    """Seconds of a step, and of one that hides nothing."""
    words = [str(cases.BUILD / "annuli"), "plan", options.plan, "--processes",
             "2", "--json", "--bandwidth", f"{rate / 1e6:g}MB",
             "--latency", f"{delay * 1e6:.0f}us",
             "--step-time", f"{alone * 1e3:.0f}ms"]
    for setting in settings(options, shard):
        words += ["--set", setting]
    made = subprocess.run(words, cwd=cases.ROOT, check=True,
                          capture_output=True, text=True)
    phase = json.loads(made.stdout)["phases"][0]
    return (phase["step_seconds_together"],
            phase["step_seconds"] + phase["step_seconds_sending"])


def settings(options, shard):
    return ["threads=1", f"parallel.shard={shard}",
            f"phases.0.train.micro_batch_size={options.micro}"] + options.set


def measure(team, steps):
    return statistics.median(team.step()["seconds"] for _ in range(steps))


def rows_of(options, network, shard, start):
    command = [cases.PROGRAM, "ours", options.plan, str(start)]
    for setting in settings(options, shard):
        command += ["--set", setting]
    network.set(float("inf"), 0)
    team = FarTeam(SHARED[shard], command, options.work / "network.log", 2)
    try:
        team.start()
        team.step()  # makes the moments
        alone = measure(team, options.steps)
        for rate in options.rates:
            for delay in options.delays:
                network.set(rate * 1e6, delay / 1e3)
                yield (rate, delay, alone, measure(team, options.steps),
                       *foretold(options, shard, rate * 1e6, delay / 1e3,
                                 alone))
    finally:
        network.set(float("inf"), 0)
        team.stop()


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--plan", default=str(cases.ROOT /
                                              "benchmarks/plans/dense.yaml"))
    parser.add_argument("--micro", type=int, default=4)
    parser.add_argument("--rates", type=float, nargs="*", metavar="MB",
                        default=[250, 60, 20], help="MB a second")
    parser.add_argument("--delays", type=float, nargs="*", metavar="MS",
                        default=[0.5], help="milliseconds, one way")
    parser.add_argument("--shards", nargs="*", choices=SHARED,
                        default=list(SHARED))
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--most", type=float, default=0.15)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--work", type=Path, default=cases.BUILD / "bench")
    return parser.parse_args()


def main():
    options = parse_arguments()
    worst = 0.0
    try:
        start = make_start(options, 1)
        print(f"{'':16} {'rate':>9} {'delay':>7} {'unlimited':>9} "
              f"{'measured':>9} {'foretold':>9} {'off':>7} {'unhidden':>9}")
        with Network() as network:
            for shard in options.shards:
                for rate, delay, alone, measured, told, apart in rows_of(
                        options, network, shard, start):
                    off = told / measured - 1
                    worst = max(worst, abs(off))
                    print(f"{SHARED[shard]:16} {rate:6.0f} MB {delay:4.1f} ms "
                          f"{alone:8.2f}s {measured:8.2f}s {told:8.2f}s "
                          f"{100 * off:+6.1f}% {apart:8.2f}s", flush=True)
    except ContestantError as error:
        print(f"network.py: {error}", file=sys.stderr)
        return 1
    return int(worst > options.most)


if __name__ == "__main__":
    sys.exit(main())
