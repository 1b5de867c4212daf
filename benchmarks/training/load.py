"""How busy others kept the processor, by the kernel's own account."""

import os

TICKS = os.sysconf("SC_CLK_TCK")  # a second

# A step counts for "best" only if others used less than this many cores beside
# it, or if what they used is within the resolution of the counters.
FOREIGN_LIMIT = 0.06
RESOLUTION = 4 / TICKS  # seconds


def parse_stat(line):
    """Seconds of all cores that were not idle: /proc/stat's first line."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = (
        int(word) for word in line.split()[1:9])
    # Time in guests is part of user and nice already.
    return (user + nice + system + irq + softirq + steal) / TICKS


def parse_process_stat(text):
    """Seconds that a process's threads have used: /proc/PID/stat."""
    # The name may hold anything, spaces and brackets too.
    words = text[text.rindex(")") + 2:].split()
    return (int(words[11]) + int(words[12])) / TICKS


def busy_seconds():
    with open("/proc/stat") as file:
        return parse_stat(file.readline())


def own_seconds(*pids):
    total = 0.0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as file:
            total += parse_process_stat(file.read())
    return total


class Window:
    """Foreign load between `begin` and `end`, in cores; 0 at least."""

    def __init__(self, *own):
        self.own = own

    def begin(self):
        self.busy, self.mine = busy_seconds(), own_seconds(*self.own)

    def end(self, wall):
        busy = busy_seconds() - self.busy
        mine = own_seconds(*self.own) - self.mine
        return max(0.0, busy - mine) / wall


def is_disturbed(foreign, wall):
    return foreign > FOREIGN_LIMIT and foreign * wall > RESOLUTION
