#!/usr/bin/env python3
"""The largest phase of a plan under each optimizer: planned against measured.

    peaks.py MODEL [--plan FILE] [--only NAME ...] [--out FOLDER]

MODEL is the checkpoint that the plan's last phase grows, as
runs/seed/checkpoints/medium_moe_final.pt for plans/seed.yaml. Grows it, with
all proofs, trains two steps and compares the process's peak with `annuli plan`.
Prints a table, writes FOLDER/peaks.json (benchmarks/results), and exits 1 if a
plan is off by more than 5 %.
"""
import argparse
import json
import pathlib
import shutil
import sys
import tempfile

from short_plan import ROOT, annuli, cut, write

MOST_OFF = 0.05

VARIANTS = {
    "adamw": [],
    "adamw 8-bit": ["optimizer.type=adamw_8bit"],
    "adafactor": ["optimizer.type=adafactor"],
    "sgd": ["optimizer.type=sgd", "optimizer.weight_decay=0"],
    "bf16, 8-bit": ["precision=bf16", "optimizer.type=adamw_8bit"],
    "bf16, 8-bit, checkpointing": [
        "precision=bf16", "optimizer.type=adamw_8bit",
        "phases.0.train.gradient_checkpointing=true"],
}


def measure(plan, settings, scratch):
    """Bytes, as planned and as measured."""
    words = [plan]
    for setting in settings:
        words += ["--set", setting]
    planned = json.loads(annuli("plan", *words, "--no-measure", "--json"))
    run = pathlib.Path(tempfile.mkdtemp(dir=scratch))
    annuli("run", *words, "--out", run, "--force")
    history = (run / "training_history.jsonl").read_text().splitlines()
    peaks = [json.loads(line).get("peak_memory_bytes", 0) for line in history]
    shutil.rmtree(run)
    return planned["peak_memory_bytes"], max(peaks)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--plan", default=ROOT / "plans/seed.yaml",
                        type=pathlib.Path)
    parser.add_argument("--only", nargs="*", metavar="NAME", choices=VARIANTS,
                        default=list(VARIANTS))
    parser.add_argument("--out", type=pathlib.Path,
                        default=ROOT / "benchmarks/results")
    options = parser.parse_args()
    plan = cut(options.plan, -1, 2)
    plan["model"] = {"from": str(options.model)}
    rows = []
    print(f"{'optimizer':<28} {'planned':>9} {'measured':>9} {'off':>7}")
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as scratch:
        path = pathlib.Path(scratch) / "plan.yaml"
        write(plan, path)
        for name in options.only:
            planned, measured = measure(path, VARIANTS[name], scratch)
            rows.append({"name": name, "planned_bytes": planned,
                         "measured_bytes": measured,
                         "off": planned / measured - 1})
            print(f"{name:<28} {planned / 1e9:>6.2f} GB {measured / 1e9:>6.2f} "
                  f"GB {100 * rows[-1]['off']:>+6.1f}%", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "peaks.json").write_text(json.dumps(rows, indent=2) + "\n")
    sys.exit(any(abs(row["off"]) > MOST_OFF for row in rows))


if __name__ == "__main__":
    main()
