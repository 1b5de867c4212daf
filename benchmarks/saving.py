#!/usr/bin/env python3
"""What saving training state costs: a plan's first phase with and without.

    saving.py [--plan FILE] [--steps N] [--save-steps N]
              [--batch-size N] [--rounds N] [--out FOLDER]

Trains N steps (200) of the phase in turns without saving and with a state every
--save-steps (100), as whole processes. Prints how much longer the second takes,
and what share of it the run itself spent in writing. Writes FOLDER/saving.json
(benchmarks/results). Needs a quiet machine and room for three states. A smaller
batch than the plan's makes the steps shorter, and so saving dearer beside them.
"""
import argparse
import json
import pathlib
import re
import shutil
import sys
import tempfile
import time

from short_plan import ROOT, annuli, cut, write


def train(plan, folder, save_steps):
    """Seconds of the process, and those of each state that it wrote."""
    start = time.monotonic()
    printed = annuli("run", plan, "--out", folder, "--set",
                     f"save_steps={save_steps}")
    seconds = time.monotonic() - start
    shutil.rmtree(folder)
    saves = re.findall(r"state saved after step \d+ in ([\d.]+) s", printed)
    return seconds, [float(text) for text in saves]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--plan", default=ROOT / "plans/seed.yaml",
                        type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--save-steps", type=int, default=100)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path,
                        default=ROOT / "benchmarks/results")
    options = parser.parse_args()
    plan = cut(options.plan, 0, options.steps)
    training = plan["phases"][0]["train"]
    if options.batch_size:
        training["batch_size"] = options.batch_size
    rounds = []
    print(f"{'round':<6} {'without':>10} {'with':>10} {'longer':>8} "
          f"{'states':>7} {'writing':>8}")
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as scratch:
        scratch = pathlib.Path(scratch)
        path = scratch / "plan.yaml"
        write(plan, path)
        for number in range(1, options.rounds + 1):
            without, none = train(path, scratch / "run", 0)
            saving, saves = train(path, scratch / "run", options.save_steps)
            if none or not saves:
                sys.exit(f"saving: {len(none)} and {len(saves)} states were "
                         f"written, expected none and some; --save-steps must "
                         f"be below --steps")
            rounds.append({"seconds_without": without, "seconds_with": saving,
                           "seconds_of_states": saves})
            print(f"{number:<6} {without:>8.1f} s {saving:>8.1f} s "
                  f"{100 * (saving / without - 1):>+7.1f}% {len(saves):>7} "
                  f"{100 * sum(saves) / without:>7.1f}%", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "saving.json").write_text(json.dumps(
        {"steps": options.steps, "save_steps": options.save_steps,
         "batch_size": training["batch_size"], "rounds": rounds},
        indent=2) + "\n")


if __name__ == "__main__":
    main()
