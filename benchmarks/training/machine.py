"""What the figures were measured on."""

import os
import platform
import subprocess
from datetime import datetime, timezone


def facts(root):
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(root),
        "processor": cpu_field("model name"),
        "family_model_stepping": "/".join(
            cpu_field(key) for key in ("cpu family", "model", "stepping")),
        "cores": os.cpu_count(),
        "flags": [flag for flag in cpu_field("flags").split()
                  if flag.startswith(("avx", "amx", "fma"))],
        "memory_bytes": memory("MemTotal"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "transformers": version("transformers"),
        "compiler": first_line(["g++", "--version"]),
    }


def memory(key):
    """A line of /proc/meminfo, in bytes."""
    with open("/proc/meminfo") as file:
        for line in file:
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
    return 0


def cpu_field(key):
    with open("/proc/cpuinfo") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return "unknown"


def version(package):
    from importlib import metadata
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def commit(root):
    hash_ = first_line(["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"])
    dirty = first_line(["git", "-C", str(root), "status", "--porcelain"])
    return hash_ + (" and changes" if dirty else "")


def first_line(command):
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.partition("\n")[0]


def describe(found):
    return "\n".join([
        f"{found['date']}, commit {found['commit']}",
        f"{found['processor']} ({found['family_model_stepping']}), "
        f"{found['cores']} cores, {found['memory_bytes'] / 1e9:.1f} GB; "
        + " ".join(found["flags"]),
        f"{found['system']}; torch {found['torch']}, transformers "
        f"{found['transformers']}, Python {found['python']}; "
        f"{found['compiler']}",
    ])
