"""From steps to figures: best, median, shares, ratios; as JSON and tables."""

import statistics

from .cases import LIGHT, OURS, PEERS


def summary(steps):
    """Best and median of the steps that nobody disturbed. Where all were
    disturbed the figures are of all of them, and `disturbed` says so."""
    counted = [step for step in steps if not step["warm_up"]]
    quiet = [step for step in counted if not step["disturbed"]]
    seconds = [step["seconds"] for step in quiet or counted]
    return {
        "best_seconds": min(seconds),
        "median_seconds": statistics.median(seconds),
        "steps": len(counted),
        "disturbed_steps": len(counted) - len(quiet),
        "disturbed": not quiet,
        "peak_memory_bytes": max(s["peak_memory_bytes"] for s in steps),
    }


def group_result(group, tokens):
    """What a group measured, by name; times within it can be compared."""
    result = {"failures": group.failures, "loss_differences": group.losses,
              "contestants": {}}
    for contestant in group.contestants:
        figures = summary(contestant.steps)
        figures["tokens_per_second"] = tokens / figures["best_seconds"]
        figures["facts"] = contestant.facts
        figures["all_steps"] = contestant.steps
        result["contestants"][contestant.name] = figures
    members = result["contestants"]
    if LIGHT in members:
        light = members[LIGHT]
        light["gflops"] = max(
            step["flops"] / step["seconds"] / 1e9 for step in light["all_steps"])
    for name in PEERS:
        if name in members:
            members[name]["ours_times_faster"] = (
                members[name]["best_seconds"] / members[OURS]["best_seconds"])
    return result


def add_shares(groups):
    """Shares of the light, which ran in the first group. A peer of another group
    has ours' share over its own ratio to ours: both were measured side by side."""
    members = groups[0]["contestants"]
    ours = (members[LIGHT]["best_seconds"] / members[OURS]["best_seconds"])
    members[OURS]["share_of_light"] = ours
    for group in groups:
        for figures in group["contestants"].values():
            if "ours_times_faster" in figures:
                figures["share_of_light"] = ours / figures["ours_times_faster"]


COLUMNS = ("", "ms, best", "median", "tokens/s", "of light", "ours is",
           "loss differs", "peak", "disturbed")


def rows_of(case_result):
    """Table rows of a case: each group's own ours and light above its peers."""
    rows = []
    for group in case_result["groups"]:
        for name, figures in group["contestants"].items():
            rows.append(row_of(name, figures, group["loss_differences"]))
        for name, reason in group["failures"].items():
            rows.append((name, f"does not run: {reason}"))
    return rows


def notes_of(case_result):
    """What contestants said of themselves, one line each."""
    notes = []
    for group in case_result["groups"]:
        for name, figures in group["contestants"].items():
            facts = figures["facts"]
            words = []
            if "products" in facts:
                words.append(f"products of {facts['products']}, "
                             f"{figures['gflops']:.0f} GFLOP/s")
            if facts.get("experts", "default") != "default":
                words.append(f"experts by {facts['experts']}")
            if "graphs" in facts:
                words.append(f"{facts['graphs']} graphs, "
                             f"{facts['graph_breaks']} breaks")
            if figures.get("share_of_light", 0) > 1:
                words.append("faster than light: the machine was not quiet, "
                             "measure again")
            if words:
                notes.append(f"{name}: " + "; ".join(words))
    return notes


def row_of(name, figures, losses):
    share, times = figures.get("share_of_light"), figures.get("ours_times_faster")
    return (
        name,
        f"{1e3 * figures['best_seconds']:.1f}",
        f"{1e3 * figures['median_seconds']:.1f}",
        f"{figures['tokens_per_second']:.0f}",
        f"{100 * share:.1f} %" if share else "",
        f"{times:.2f} x" if times else "",
        f"{losses[name]:.1e}" if name in losses else "",
        f"{figures['peak_memory_bytes'] / 1e9:.1f} GB",
        f"{figures['disturbed_steps']} of {figures['steps']}"
        + (" (all: not usable)" if figures["disturbed"] else ""),
    )


def text_table(rows):
    rows = [COLUMNS] + rows
    widths = [max(len(row[i]) for row in rows if len(row) == len(COLUMNS))
              for i in range(len(COLUMNS))]
    widths[0] = max(len(row[0]) for row in rows)
    lines = []
    for row in rows:
        cells = [cell.ljust(width) if i == 0 or len(row) < len(COLUMNS)
                 else cell.rjust(width)
                 for i, (cell, width) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown_table(rows):
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for row in rows:
        cells = list(row) + [""] * (len(COLUMNS) - len(row))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
