"""Plans cut down to what a benchmark runs, and the program to run them."""
import pathlib
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent


def annuli(*words):
    """What build/annuli prints; ends this process if it fails."""
    command = ["build/annuli", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def cut(path, phase, steps):
    """The plan with one phase, so many steps of it, and nothing beside them."""
    plan = yaml.safe_load(path.read_text())
    plan["phases"] = [plan["phases"][phase]]
    plan["phases"][0]["train"]["max_steps"] = steps
    plan["phases"][0].pop("expected", None)
    plan["evaluation"] = {"windows": 0}
    plan.pop("samples", None)
    return plan


def write(plan, path):
    path.write_text(yaml.safe_dump(plan, sort_keys=False))
