"""What two runs, or two grown folders, have made, as hashes: without times,
rates, memory in use and paths. For tools that compare programs or layouts."""

import hashlib
import json
import re

# "hash": of a state's own file, in which the history's size stands.
LEFT_OUT = {"tokens_per_second", "peak_memory_bytes", "seconds",
            "proof_seconds", "hash", "history_bytes", "history_crc32"}
# A process' part of the optimizer's state, or of the weights.
PART = re.compile(r"(optimizer|model)(-\d{5}-of-\d{5})?\.safetensors")
RUN_PARTS = ("training_history.jsonl", "checkpoints", "state", "samples",
             "lineage.json")


def hash_of(data):
    return hashlib.sha256(data).hexdigest()[:16]


def without_times(value):
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items()
                if k not in LEFT_OUT}
    if isinstance(value, list):
        return [without_times(v) for v in value]
    return value


def content(path, folder):
    """A file's bytes, without what differs from run to run."""
    data = path.read_bytes()
    if path.suffix not in (".json", ".jsonl", ".txt", ".md", ".yaml"):
        return data
    text = data.decode(errors="surrogateescape").replace(str(folder), "FOLDER")
    if path.suffix == ".jsonl":
        return "\n".join(json.dumps(without_times(json.loads(line)))
                         for line in text.splitlines()).encode()
    if path.suffix == ".json":
        value = without_times(json.loads(text))
        # Which parts there are is how many processes there were.
        if path.name == "state.json":
            value["files"] = {name: about for name, about
                              in value["files"].items()
                              if not PART.fullmatch(name)}
        return json.dumps(value).encode()
    return text.encode(errors="surrogateescape")


def tensors_of(path):
    """{name: (type, shape, bytes)} of a safetensors file."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    entries = json.loads(data[8:8 + size])
    entries.pop("__metadata__", None)
    body = data[8 + size:]
    return {name: (e["dtype"], e["shape"], body[slice(*e["data_offsets"])])
            for name, e in entries.items()}


def hash_parts(files):
    """Of a state's tensors, in how many files they may be."""
    total = hashlib.sha256()
    together = {}
    for file in files:
        tensors = tensors_of(file)
        twice = together.keys() & tensors.keys()
        if twice:
            raise ValueError(f"{file}: {sorted(twice)[0]} is in two parts")
        together.update(tensors)
    for name, (dtype, shape, data) in sorted(together.items()):
        total.update(f"{name} {dtype} {shape} ".encode() + data)
    return total.digest()


def hash_folder(path, folder):
    if not path.exists():
        return "-"
    files = sorted(p for p in path.rglob("*")
                   if p.is_file() and not p.name.startswith("."))
    total = hashlib.sha256()
    parts = {}
    for file in files:
        if PART.fullmatch(file.name) and (file.parent / "state.json").exists():
            parts.setdefault(file.parent, []).append(file)
            continue
        total.update(str(file.relative_to(path)).encode())
        total.update(content(file, folder))
    for place in sorted(parts):
        total.update(hash_parts(parts[place]))
    return total.hexdigest()[:16]


def run_hashes(out, folder):
    """{part: hash} of the run in `out`; `folder` stands for its path."""
    return {part: (hash_folder(out / part, folder)
                   if (out / part).is_dir() or not (out / part).exists()
                   else hash_of(content(out / part, folder)))
            for part in RUN_PARTS}
