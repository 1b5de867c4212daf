#!/usr/bin/env python3
"""gguf_tokenizers.py ANNULI: tokenizers in GGUF give llama.cpp the ids of Python's.

Small tokenizers of each kind that is exported, trained on the text of the tests, with
a tiny Llama each; texts are tokenized by llama.cpp and by the `tokenizers` package.
Those that llama.cpp reads otherwise must be refused in one line.

Exit 0 if all hold, else 1.
"""

import json
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import tokenizers
import transformers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

sys.path.insert(0, str(Path(__file__).resolve().parent))
import llama_cpp

ROOT = Path(__file__).resolve().parent.parent.parent
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEXTS = [
    "The miller's mill stood by the river; it turned 3 times, then 1984 times.",
    "  two spaces, then\ttabs\n\n\nand lines \r\n of  all   kinds ",
    "I'VE been told: don't! (12345.678) ... --- ???",
    "Größe, naïve, Москва, 東京, 🚀🚀 and a \u200d joiner",
    "",
    "a",
    " ",
    "x" * 70,
]


def corpus():
    """With the texts themselves, so that merges depend on where they are cut."""
    village = [path.read_text() for path in sorted((ROOT / "tests/data/village").glob("*"))]
    return village + 20 * TEXTS


def byte_level(*before, use_regex):
    return pre_tokenizers.Sequence([
        *before, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)])


def split(digits):
    return pre_tokenizers.Split(Regex(CL100K % digits), "isolated", False)


def trained(pre_tokenizer, **settings):
    tokenizer = tokenizers.Tokenizer(models.BPE(**settings))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        corpus(),
        trainers.BpeTrainer(
            vocab_size=700, special_tokens=["<|endoftext|>"], show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return tokenizer


def sentencepiece_like():
    """What SentencePiece's BPE is in a tokenizer.json of Llama 2."""
    byte = [f"<0x{i:02X}>" for i in range(256)]
    tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.train_from_iterator(
        corpus(),
        trainers.BpeTrainer(
            vocab_size=800, special_tokens=["<unk>", "<s>", "</s>", *byte], show_progress=False,
            max_token_length=12))
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if t["id"] < 3]
    return tokenizers.Tokenizer.from_str(json.dumps(data))


def sentencepiece_file(tokenizer):
    """The same as a tokenizer.model: pieces with scores, and the trainer's settings."""
    def field(number, kind, payload):
        return bytes([number << 3 | kind]) + payload

    def length(payload):
        size, out = len(payload), b""
        while size > 127:
            out += bytes([size & 127 | 128])
            size >>= 7
        return out + bytes([size]) + payload

    data = json.loads(tokenizer.to_str())
    rank = {}
    for i, merge in enumerate(data["model"]["merges"]):
        rank.setdefault("".join(merge if isinstance(merge, list) else merge.split(" ")), i)
    out = b""
    for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        kind = 2 if token == "<unk>" else 3 if token in ("<s>", "</s>") else (
            6 if token.startswith("<0x") and len(token) == 6 else 1)
        piece = (field(1, 2, length(token.encode()))
                 + field(2, 5, struct.pack("<f", -float(rank.get(token, 0))))
                 + field(3, 0, bytes([kind])))
        out += field(1, 2, length(piece))
    trainer = field(3, 0, bytes([2])) + bytes([35 << 3 & 127 | 128, 35 >> 4, 1])
    normalizer = field(3, 0, bytes([1])) + field(4, 0, bytes([0])) + field(5, 0, bytes([1]))
    return out + field(2, 2, length(trainer)) + field(3, 2, length(normalizer))


KINDS = {
    "gpt-2": lambda: trained(byte_level(use_regex=True)),
    "llama-bpe": lambda: trained(byte_level(split("{1,3}"), use_regex=False), ignore_merges=True),
    "dbrx": lambda: trained(byte_level(split("{1,3}"), use_regex=False)),
    "qwen2": lambda: trained(byte_level(split(""), use_regex=False)),
    "smollm": lambda: trained(
        byte_level(pre_tokenizers.Digits(individual_digits=True), use_regex=True)),
    "byte fallback": sentencepiece_like,
    "tokenizer.model": sentencepiece_like,
}
REFUSED = {
    "a split of its own": (
        lambda: trained(byte_level(split("{2,4}"), use_regex=False)), "which llama.cpp knows"),
    "a space in front": (
        lambda: trained(pre_tokenizers.ByteLevel(add_prefix_space=True)), "which llama.cpp knows"),
}


def save(tokenizer, folder, as_model=False):
    config = transformers.LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=32,
        num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=512)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    if as_model:
        (folder / "tokenizer.model").write_bytes(sentencepiece_file(tokenizer))
    else:
        tokenizer.save(str(folder / "tokenizer.json"))


def export(program, folder, out):
    return subprocess.run(
        [program, "export", folder, "--out", out, "--dtype", "f32"], capture_output=True, text=True)


def main():
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    program, faults = sys.argv[1], []
    with tempfile.TemporaryDirectory() as work:
        for name, make in KINDS.items():
            tokenizer = make()
            folder = Path(work) / name
            save(tokenizer, folder, as_model=name == "tokenizer.model")
            out = Path(work) / f"{name}.gguf"
            done = export(program, folder, out)
            if done.returncode != 0:
                faults.append(f"{name}: {done.stderr.strip()}")
                continue
            wanted = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
            found = llama_cpp.ask(out, {"texts": TEXTS})
            same = sum(a == b for a, b in zip(wanted, found))
            print(f"{name:<18} {same} of {len(TEXTS)} texts have the same ids")
            for text, a, b in zip(TEXTS, wanted, found):
                if a != b:
                    faults.append(f"{name}: {text[:40]!r}: {a[:12]} became {b[:12]}")
        for name, (make, words) in REFUSED.items():
            folder = Path(work) / name
            save(make(), folder)
            done = export(program, folder, Path(work) / "refused.gguf")
            print(f"{name:<18} exit {done.returncode}")
            if done.returncode != 2 or words not in done.stderr or done.stderr.count("\n") != 1:
                faults.append(f"{name}: exit {done.returncode}: {done.stderr.strip()}")
    for fault in faults:
        print("FAULT", fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
