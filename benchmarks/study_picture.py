#!/usr/bin/env python3
"""Draws what a study found, from `annuli study FILE --table --json`, as SVG.

    annuli study plans/studies/depth-tiny.yaml --table --json |
        study_picture.py --curves scratch small depth-25 --out picture.svg

Left: the curves of some arms, each point a finished model, its mean over the seeds
that all of these arms have. Right: each arm's end less the baseline's, paired by seed,
with its 95 % interval.
"""
import argparse
import json
import math
import pathlib
import sys
from html import escape

RESULTS = pathlib.Path(__file__).resolve().parent.parent / "plans/studies/results"
COLOURS = ["#555555", "#0072b2", "#d55e00", "#009e73", "#cc79a7"]  # Okabe, Ito
WIDTH, HEIGHT = 860, 380
CURVES = (60, 40, 330, 290)  # x, y, width, height of the frame
ENDS = (580, 40, 260, 290)


def scale(low, high, start, length):
    return lambda value: start + (value - low) / (high - low) * length


def text(x, y, words, anchor="start", colour="#222222"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
            f'fill="{colour}">{escape(words)}</text>')


def line(x1, y1, x2, y2, colour="#222222", width=1.0):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'stroke="{colour}" stroke-width="{width}"/>')


def dot(x, y, colour):
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'


def ticks(low, high, step):
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def losses_of(results, arm):
    """Bits per byte by point and seed, at the arm's best rate."""
    found = {}
    for one in results:
        if (one["arm"], one["rate"]) == (arm["arm"], arm["rate"]):
            if one.get("bits_per_byte"):
                found.setdefault(one["point"], {})[one["seed"]] = (
                    one["bits_per_byte"])
    return found


def common_curves(results, chosen):
    """The seeds that all arms have, and each arm's points (share, mean)."""
    by_arm = [losses_of(results, arm) for arm in chosen]
    seeds = set.intersection(*(set(losses[1]) for losses in by_arm))
    return seeds, [
        [(point, sum(some[s] for s in seeds) / len(seeds))
         for point, some in sorted(losses.items()) if seeds <= some.keys()]
        for losses in by_arm]


def curves(arms, names, flops, results):
    left, top, width, height = CURVES
    chosen = [next(a for a in arms if a["arm"] == name) for name in names]
    seeds, drawn = common_curves(results, chosen)
    losses = [loss for curve in drawn for _, loss in curve]
    low, high = min(losses) - 0.03, max(losses) + 0.03
    to_x = scale(0, 1.05, left, width)
    to_y = scale(high, low, top, height)
    yield text(left, top - 14,
               f"bits per byte of finished models, {len(seeds)} seeds")
    for tick in ticks(low, high, 0.1):
        yield line(left, to_y(tick), left + width, to_y(tick), "#e4e4e4")
        yield text(left - 8, to_y(tick) + 4, f"{tick:.1f}", "end")
    for share in (0.25, 0.5, 0.75, 1):
        yield text(to_x(share), top + height + 18, f"{share:.0%}", "middle")
    yield text(left + width / 2, top + height + 38,
               f"of {flops:.0e} operations", "middle")
    yield line(left, top + height, left + width, top + height)
    for i, (name, curve) in enumerate(zip(names, drawn)):
        points = [(to_x(share), to_y(loss)) for share, loss in curve]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield (f'<polyline points="{path}" fill="none" stroke="{COLOURS[i]}" '
               'stroke-width="2"/>')
        yield from (dot(x, y, COLOURS[i]) for x, y in points)
        row = top + 14 + 18 * i
        yield line(left + width - 120, row - 4, left + width - 100, row - 4,
                   COLOURS[i], 2)
        yield text(left + width - 94, row, name)


def ends(arms, baseline):
    left, top, width, height = ENDS
    shown = [a for a in arms
             if a["difference"] and a["difference"]["half_width"] is not None]
    bounds = [a["difference"]["mean"] + sign * a["difference"]["half_width"]
              for a in shown for sign in (-1, 1)]
    low, high = min(*bounds, 0) - 0.01, max(*bounds, 0) + 0.01
    to_x = scale(low, high, left, width)
    yield text(left, top - 14, f"less {baseline}, paired by seed, 95 %")
    step = 0.05 if high - low < 0.4 else 0.1
    for tick in ticks(low, high, step):
        yield line(to_x(tick), top, to_x(tick), top + height,
                   "#222222" if abs(tick) < 1e-9 else "#e4e4e4")
        yield text(to_x(tick), top + height + 18, f"{tick:+.2f}", "middle")
    for i, arm in enumerate(shown):
        y = top + height * (i + 0.5) / len(shown)
        mean, half = (arm["difference"][k] for k in ("mean", "half_width"))
        colour = COLOURS[2] if mean + half < 0 else (
            COLOURS[1] if mean - half > 0 else COLOURS[0])
        yield text(left - 10, y + 4,
                   f'{arm["arm"]} ({arm["difference"]["count"]})', "end")
        yield line(to_x(mean - half), y, to_x(mean + half), y, colour, 2)
        yield dot(to_x(mean), y, colour)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--curves", nargs="+", required=True,
                        help="arms whose curves are drawn, at most five")
    parser.add_argument("--out", required=True, help="SVG file to write")
    arguments = parser.parse_args()
    study = json.load(sys.stdin)
    results = [json.loads(row) for row in
               (RESULTS / f"{study['study']}.jsonl").read_text().splitlines()]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="12">',
        f'<title>{escape(study["about"])}</title>',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        *curves(study["arms"], arguments.curves, study["flops"],
                results),
        *ends(study["arms"], study["baseline"]), "</svg>"]
    with open(arguments.out, "w") as out:
        out.write("\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
