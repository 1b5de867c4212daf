#!/usr/bin/env python3
"""bench.py [CASE...]: training speed, ours beside transformers and beside the
speed of light, in one run.

CASE: dense-fp32, dense-bf16, mixture-fp32, mixture-bf16, or a part of the name;
all by default. Every contestant is a process of its own that begins with the
same weights and does the same steps on the same batches: forward, backward, norm
of the gradient, AdamW. They step in turn, one at a time, so that all of them see
the same minutes of the machine. A step beside which others used the processor is
marked with "!" and does not count. In fp32 the first losses must agree to 1e-4,
or the benchmark fails.

  of light   the time of the step's matrix products alone over that of the step:
             projections, experts with the rows they really got, and head, each
             forward, input and weight gradient, by the fastest route that
             LibTorch has, unpadded; no attention scores, no router
  ours is    a peer's best time over ours of the same group

Exit 0, or 1 if losses differ or one of our contestants fails.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from training import cases, machine, results, rounds
from training.contestant import ContestantError


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--no-peers", action="store_true",
                        help="ours and the speed of light only")
    parser.add_argument("--peers", nargs="*", default=list(cases.PEERS),
                        choices=list(cases.PEERS), metavar="NAME")
    parser.add_argument("--memory", type=float, metavar="GB",
                        help="what all may take (default: 9/10 of the free)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="override a field of the plans; repeatable")
    parser.add_argument("--out", type=Path, metavar="FOLDER",
                        help="write training.json and training.md there")
    parser.add_argument("--work", type=Path, metavar="FOLDER",
                        default=cases.BUILD / "bench",
                        help="weights, logs and compiled code")
    return parser.parse_args()


def say(text):
    print(text, flush=True)


def run_case(case, options, places):
    say(f"\n{case.name}")
    steps = rounds.WARM_UPS + options.rounds
    rounds.make_start(case, places, steps)
    plan = json.loads((places.start(case) / "plan.json").read_text())
    limit = (options.memory * 1e9 if options.memory
             else 0.9 * machine.memory("MemAvailable"))
    peers = [] if options.no_peers else options.peers
    tokens = plan["batch_size"] * plan["sequence_length"]
    result = {"case": case.name, "plan": plan, "groups": []}
    groups, too_large = cases.packs(case, peers, plan, limit)
    for names in groups:
        group = rounds.Group(case, names, places, say)
        group.run(options.rounds)
        result["groups"].append(results.group_result(group, tokens))
    result["groups"][0]["failures"].update(too_large)
    results.add_shares(result["groups"])
    say("\n" + case.name + "\n" + results.text_table(results.rows_of(result)))
    for note in results.notes_of(result):
        say("  " + note)
    return result


def write(folder, found, all_results):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "training.json").write_text(json.dumps(
        {"machine": found, "cases": all_results}, indent=1) + "\n")
    parts = ["# Training speed", "", "    make bench", ""]
    parts += [line + "  " for line in machine.describe(found).splitlines()]
    for result in all_results:
        parts += ["", f"## {result['case']}", "",
                  results.markdown_table(results.rows_of(result)), ""]
        parts += [f"- {note}" for note in results.notes_of(result)]
    (folder / "training.md").write_text("\n".join(parts) + "\n")


def main():
    options = parse_arguments()
    begin = time.perf_counter()
    try:
        chosen = cases.parse_cases(options.cases)
    except ValueError as error:
        print(f"bench.py: {error}", file=sys.stderr)
        return 2
    found = machine.facts(cases.ROOT)
    say(machine.describe(found))
    options.work.mkdir(parents=True, exist_ok=True)
    places = cases.Places(options.work, options.set)
    all_results = []
    for case in chosen:
        try:
            all_results.append(run_case(case, options, places))
        except ContestantError as error:
            print(f"bench.py: {case.name}: {error}", file=sys.stderr)
            return 1
    if options.out:
        write(options.out, found, all_results)
        say(f"\nwritten: {options.out}/training.json, training.md")
    say(f"{time.perf_counter() - begin:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
