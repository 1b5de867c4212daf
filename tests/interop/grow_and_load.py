#!/usr/bin/env python3
"""grow_and_load.py ANNULI [NAME...]: every family grown by every operator that
applies, loaded by transformers and compared with its parent by transformers.

For each model of families.py: save it, `annuli grow` it, load the folder as it
is, and compare the logits of both in fp32, relative to the parent's. Exact
operators hold 1e-5; the others are printed with what they changed. `fp64` is what
`annuli verify --dtype f64` measured. A row of several operators is grown step by
step, folder by folder, and compared with the first parent. NAME limits the run to
models of those names.

Exit 0 if every exact row holds, 1 if one does not, with the table either way.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging

sys.path.insert(0, str(Path(__file__).resolve().parent))
import families

LIMIT = 1e-5
WIDEN = ["widen", "--factor"]
EXTEND = ["extend", "--max-position-embeddings", "1024"]
UPCYCLE = ["upcycle", "--num-experts", "4", "--num-experts-per-tok", "2"]

# name: (arguments, for which models, exact); a comma parts the steps
ANY = lambda name: True
MIXTURE = lambda name: name in families.MIXTURES
TIED = lambda name: "tied" in name or name in ("arcee", "gpt_neox_serial")
PLAIN = lambda name: "rope" not in name  # whose frequencies are not stretched
NEOX = lambda name: name.startswith("gpt_neox")
# A mixture class of transformers exists for the parent's shape.
TO_MIXTURE = lambda name: name in (
    "llama", "llama_tied_gqa", "llama_mqa", "llama3_rope", "qwen3", "qwen3_tied")
OPERATORS = {
    "widen 2, no noise": (WIDEN + ["2", "--noise-snr-db", "null"], ANY, True),
    "widen 2, 10 dB": (WIDEN + ["2", "--noise-snr-db", "10"], ANY, True),
    "widen 3, 10 dB": (WIDEN + ["3", "--noise-snr-db", "10"], ANY, True),
    "widen 2, folded head": (
        WIDEN + ["2", "--head", "fold"], TIED, True),
    "widen heads, kv kept": (
        ["widen", "--hidden", "96", "--heads", "+2x", "--kv-heads", "+1x"],
        lambda n: not NEOX(n), True),
    "widen heads, all kinds": (["widen", "--hidden", "96", "--heads", "+2x"], NEOX, True),
    "widen ffn x3": (["widen", "--ffn", "+3x"], lambda n: not MIXTURE(n), True),
    "widen 1.5, zero-padded": (
        ["widen", "--hidden", "72"], lambda n: n != "olmo2" and not NEOX(n), True),
    "widen 1.5, stored in f64": (
        ["widen", "--hidden", "72", "--dtype", "f64"], lambda n: n in ("llama", "qwen3"), True),
    "widen 3, stored in f64": (
        WIDEN + ["3", "--noise-snr-db", "10", "--dtype", "f64"],
        lambda n: n in ("llama", "qwen3"), True),
    "deepen zero-output": (["deepen", "--preset", "zero-output", "--add-layers", "2"], ANY, True),
    "deepen copy-last, zero": (
        ["deepen", "--preset", "copy-last", "--outputs", "zero", "--add-layers", "1"], ANY, True),
    "deepen random, zero": (
        ["deepen", "--weights", "random", "--add-layers", "2"], ANY, True),
    "untie": (["untie"], TIED, True),
    "deepen stack": (["deepen", "--preset", "stack", "--outputs", "keep", "--add-layers", "3"], ANY, False),
    "upcycle random": (UPCYCLE + ["--router", "random"], TO_MIXTURE, True),
    "upcycle fine-grained": (
        ["upcycle", "--num-experts", "8", "--num-experts-per-tok", "4", "--granularity", "2",
         "--router", "random"], TO_MIXTURE, True),
    "upcycle shared": (
        UPCYCLE + ["--shared-expert", "--router", "random"], lambda n: n == "qwen2", True),
    "upcycle drop 0.5": (
        UPCYCLE + ["--drop-ratio", "0.5", "--router", "random"], TO_MIXTURE, False),
    "expand experts, 2k": (
        ["expand-experts", "--factor", "2", "--num-experts-per-tok", "4"], MIXTURE, True),
    "expand experts, k kept": (
        ["expand-experts", "--factor", "2", "--num-experts-per-tok", "2"], MIXTURE, False),
    "extend, yarn": (EXTEND, PLAIN, False),
    "extend, theta": (EXTEND + ["--method", "theta"], PLAIN, False),
    "extend, linear": (EXTEND + ["--method", "linear"], PLAIN, False),
    "shrink 0.5, perturb 0.1": (["shrink-perturb"], ANY, False),
    "perturb 0.01": (
        ["perturb", "--tensors", "attention,feed-forward,embedding"], ANY, False),
    # The mean and the mixture of equal models is that model.
    "merge with itself": (
        ["merge-experts", "--with", "@parent", "--router", "random"], TO_MIXTURE, True),
    "upcycle, deepen, widen": (
        UPCYCLE + ["--router", "random", ",", "deepen", "--preset", "zero-output", "--add-layers",
                   "1", ",", "widen", "--factor", "2", "--noise-snr-db", "10"], TO_MIXTURE, True),
}


def relative_sizes(arguments, config):
    """`+2x` is twice the parent's size of the flag before it."""
    size = {
        "--heads": config.num_attention_heads,
        "--kv-heads": getattr(config, "num_key_value_heads", config.num_attention_heads),
        "--ffn": config.intermediate_size,
    }
    result = []
    for argument in arguments:
        if argument.startswith("+"):
            argument = str(size[result[-1]] * int(argument[1:-1]))
        result.append(argument)
    return result


def logits_of(folder, tokens):
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True)
    problems = [f"{key}: {sorted(value)[0]}" for key, value in info.items() if value]
    if problems:
        raise RuntimeError("; ".join(problems))
    with torch.no_grad():
        return type(model).__name__, model.eval()(tokens).logits.double()


def run(program, *arguments):
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)


def double_logits(program, parent, child, work):
    """What `verify --dtype f64` measures of the logits; exit status beside it."""
    report = work / "verify.json"
    done = run(program, "verify", parent, child, "--dtype", "f64", "--json", report)
    if not report.exists():
        return f"exit {done.returncode}"
    verdicts = json.loads(report.read_text())["verdicts"]
    measured = [v["measured"] for v in verdicts
                if v["check"] == "functional_identity" and v["aspect"].startswith("logits")]
    text = f"{max(measured):.1e}" if measured else "-"
    return text if done.returncode == 0 else f"{text} exit {done.returncode}"


def steps_of(arguments):
    """The arguments of each step."""
    steps = [[]]
    for argument in arguments:
        if argument == ",":
            steps.append([])
        else:
            steps[-1].append(argument)
    return steps


def grow(program, words, parent, child, exact):
    words = [str(parent) if word == "@parent" else word for word in words]
    budget = [] if exact else ["--loss-budget", "100"]
    done = run(program, "grow", words[0], parent, "--out", child, "--seed", "1", *words[1:], *budget)
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise RuntimeError(f"exit {done.returncode}: {lines[-1] if lines else ''}")


def compare(program, operator, tokens, work):
    """(class of the child, relative difference, fp64 of the last step)."""
    arguments, _, exact = OPERATORS[operator]
    parent = work / "parent"
    expected = logits_of(parent, tokens)[1]
    for number, step in enumerate(steps_of(arguments)):
        config = json.loads((parent / "config.json").read_text())
        child = work / f"child{number}"
        grow(program, relative_sizes(step, type("Config", (), config)), parent, child, exact)
        grown_from, parent = parent, child
    kind, found = logits_of(child, tokens)
    difference = ((found - expected).norm() / expected.norm()).item()
    return kind, difference, double_logits(program, grown_from, child, work) if exact else "-"


def rows(program, names):
    tokens = torch.randint(0, families.V, (2, 64), generator=torch.Generator().manual_seed(5))
    for name in names:
        for operator, (_, applies, exact) in OPERATORS.items():
            if not applies(name):
                continue
            with tempfile.TemporaryDirectory() as folder:
                work = Path(folder)
                families.make(name).save_pretrained(work / "parent")
                try:
                    kind, difference, double = compare(program, operator, tokens, work)
                except (RuntimeError, OSError, ValueError) as error:
                    yield name, operator, "-", "-", "-", f"FAIL {str(error)[:160]}"
                    continue
            holds = "" if not exact else ("ok" if difference <= LIMIT else "FAIL")
            yield name, operator, kind, f"{difference:.1e}", double, holds or "measured"


def main():
    names = sys.argv[2:] or list(families.MODELS)
    if len(sys.argv) < 2 or not set(names) <= set(families.MODELS):
        sys.exit(f"usage: grow_and_load.py ANNULI [NAME...], names of {', '.join(families.MODELS)}")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    head = ("model", "operator", "class of the child", "fp32", "fp64", "")
    layout = "{:<16}{:<26}{:<24}{:<10}{:<10}{}"
    print(layout.format(*head))
    failed = 0
    for row in rows(sys.argv[1], names):
        failed += row[-1].startswith("FAIL")
        print(layout.format(*row).rstrip(), flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
