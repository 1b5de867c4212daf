"""What two runs, or two grown folders, have made, as hashes: without times,
rates, memory in use and paths. For tools that compare programs or layouts."""

import hashlib
import json

# "hash": of a state's own file, in which the history's size stands.
LEFT_OUT = {"tokens_per_second", "peak_memory_bytes", "seconds",
            "proof_seconds", "hash", "history_bytes", "history_crc32"}
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
        return json.dumps(without_times(json.loads(text))).encode()
    return text.encode(errors="surrogateescape")


def hash_folder(path, folder):
    if not path.exists():
        return "-"
    files = sorted(p for p in path.rglob("*")
                   if p.is_file() and not p.name.startswith("."))
    total = hashlib.sha256()
    for file in files:
        total.update(str(file.relative_to(path)).encode())
        total.update(content(file, folder))
    return total.hexdigest()[:16]


def run_hashes(out, folder):
    """{part: hash} of the run in `out`; `folder` stands for its path."""
    return {part: (hash_folder(out / part, folder)
                   if (out / part).is_dir() or not (out / part).exists()
                   else hash_of(content(out / part, folder)))
            for part in RUN_PARTS}
