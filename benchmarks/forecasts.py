#!/usr/bin/env python3
"""What `annuli advise` foretold of the runs of a study, and what came.

    forecasts.py STUDY [--arms scratch small] [--shares 0.2 ...] [--program P]

Runs that the study has left under runs/studies (histories; their results need
not be complete). Of each run of the arms, which must have one phase, a copy of
its history up to each share of its steps is shown to `annuli advise`. Its
forecast is held against the mean loss of the last hundred steps at the full
learning rate. Then what growing changes: for each arm that grew, the mean
difference of the other seeds foretells that of each seed, in nats a token.
Nothing under runs/ is written.
"""
import argparse
import json
import math
import pathlib
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
LAST = 100  # steps whose mean is foretold


def steps_of(lines):
    return [r for r in map(json.loads, lines) if r.get("type") == "step"]


def full_rate(steps):
    top = max(step["learning_rate"] for step in steps)
    return [s["loss"] for s in steps if s["learning_rate"] >= 0.999 * top]


def advice(program, run, lines, share, count):
    """What is said of a run that has got as far as `share` of its steps."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "plan.yaml").write_bytes((run / "plan.yaml").read_bytes())
        kept, seen = [], 0
        for line in lines:
            if seen == int(share * count):
                break
            kept.append(line)
            seen += json.loads(line).get("type") == "step"
        (folder / "training_history.jsonl").write_text("\n".join(kept) + "\n")
        done = subprocess.run([program, "advise", folder, "--json"], cwd=ROOT,
                              capture_output=True, text=True, check=True)
        return json.loads(done.stdout)


def forecasts(program, folders, shares):
    print("run                              seen    actual  foretold  error"
          "   95 % interval   held  fall per doubling")
    held = told = 0
    errors = {share: [] for share in shares}
    for run in folders:
        lines = (run / "training_history.jsonl").read_text().splitlines()
        steps = steps_of(lines)
        actual = statistics.mean(full_rate(steps)[-LAST:])
        for share in shares:
            said = advice(program, run, lines, share, len(steps))
            name = f"{run.parent.name}/{run.name[:22]}"
            fall = (f"{said['fall']:.3f} +- {said['fall_error']:.3f}"
                    if said.get("fall") is not None else "-")
            on = said["going_on"]
            if "loss" not in on:
                print(f"{name:32} {share:4.0%} {actual:9.3f}  {'-':>8}"
                      f"{'':34}{fall}")
                continue
            error = on["loss"] - actual
            holds = on["low"] <= actual <= on["high"]
            told += 1
            held += holds
            errors[share].append(error)
            print(f"{name:32} {share:4.0%} {actual:9.3f}  {on['loss']:8.3f}"
                  f"  {error:+.3f}   {on['low']:.3f} to {on['high']:.3f}  "
                  f"{'yes' if holds else 'no':4}  {fall}")
    print(f"{held} of {told} forecasts held")
    for share, some in errors.items():
        if some:
            rms = math.sqrt(statistics.mean(e * e for e in some))
            print(f"{share:.0%}: error {rms:.3f} nats (root mean square of "
                  f"{len(some)})")


def ends(results, bytes_per_token):
    """Nats at the end, by arm, of the rate that did best with the first seed."""
    by_arm = {}
    for one in map(json.loads, results.read_text().splitlines()):
        if one["point"] == 1 and one.get("bits_per_byte"):
            by_arm.setdefault(one["arm"], {}).setdefault(
                one["rate"], {})[one["seed"]] = (
                    one["bits_per_byte"] * math.log(2) * bytes_per_token)
    return {arm: min(rates.values(), key=lambda seeds: seeds.get(1, math.inf))
            for arm, rates in by_arm.items()}


def growing(results, small, bytes_per_token):
    loss = ends(results, bytes_per_token)
    for arm, seeds in loss.items():
        both = sorted(seeds.keys() & loss[small].keys())
        if arm == small or len(both) < 3:
            continue
        gains = {s: seeds[s] - loss[small][s] for s in both}
        errors = [statistics.mean(gains[o] for o in both if o != s) - gains[s]
                  for s in both]
        rms = math.sqrt(statistics.mean(e * e for e in errors))
        print(f"{arm:16} {statistics.mean(gains.values()):+.4f} nats against "
              f"{small}; foretold from other seeds: error {rms:.4f} ({len(both)})")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("study", help="its name, as depth-tiny")
    parser.add_argument("--arms", nargs="+", default=["scratch", "small"],
                        help="arms of one phase; the last is what others grew "
                        "from")
    parser.add_argument("--shares", nargs="+", type=float,
                        default=[0.15, 0.25, 0.35, 0.5, 0.65])
    parser.add_argument("--bytes-per-token", type=float, default=1)
    parser.add_argument("--program", default=str(ROOT / "build/annuli"))
    arguments = parser.parse_args()
    folders = [run for arm in arguments.arms for run in sorted(
        (ROOT / "runs/studies" / arguments.study / arm).iterdir())
               if (run / "summary.json").exists()]
    forecasts(arguments.program, folders, arguments.shares)
    growing(ROOT / f"plans/studies/results/{arguments.study}.jsonl",
            arguments.arms[-1], arguments.bytes_per_token)


if __name__ == "__main__":
    main()
