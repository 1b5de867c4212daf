"""Texts that lie in files of their own kind: dictionaries of dictd, and the
Bible of the package bible-kjv-text.
"""
import gzip
import re
import struct

# Entries are short. So many bytes of neighbours make one document.
DOCUMENT_BYTES = 16384

_DIGITS = {character: number for number, character in enumerate(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")}
_SOURCES = re.compile(r"\s*\[(1913 Webster|Webster 1913 Suppl\.|WordNet 1\.5|"
                      r"PJC|Century Dict\. 1906|[^\]]*\bPJC)[^\]]*\]")
_SPOKEN = re.compile(r"\s*\\[^\\\n]*\\(\s*\([^()]*\))?,?")
_ACCENT = re.compile(r"\[[`'\"^=~,.:]*([A-Za-z]{1,2})[\^.]?\]")


def _number(digits):
    value = 0
    for digit in digits:
        value = value * 64 + _DIGITS[digit]
    return value


def _entry(text):
    text = _SPOKEN.sub(",", _SOURCES.sub("", text))
    text = _ACCENT.sub(r"\1", text)
    return re.sub(r"[{}]", "", text).strip("\n")


def dictd(index, packed):
    """The documents of NAME.index and NAME.dict.dz."""
    data = gzip.decompress(packed)
    places = set()
    for line in index.decode("utf-8").splitlines():
        word, begin, size = line.split("\t")[:3]
        if not word.startswith(("00-database", "00database")):
            places.add((_number(begin), _number(size)))
    documents, entries, size = [], [], 0
    for begin, length in sorted(places):
        entry = _entry(data[begin:begin + length].decode("utf-8", "replace"))
        entries.append(entry)
        size += len(entry)
        if size >= DOCUMENT_BYTES:
            documents.append("\n\n".join(entries))
            entries, size = [], 0
    return documents + ["\n\n".join(entries)]


def unpack_lzw(data):
    """What compress(1) packs, without its header: codes of 9 to 16 bits, lowest
    bit first, in groups of eight; 256 begins anew."""
    table = [bytes([i]) for i in range(256)] + [b""]
    out = []
    bits, held, have, count, at = 9, 0, 0, 0, 0
    before = b""
    while at < len(data) or have >= bits:
        while have < bits and at < len(data):
            held |= data[at] << have
            have, at = have + 8, at + 1
        if have < bits:
            break
        code = held & ((1 << bits) - 1)
        held, have, count = held >> bits, have - bits, count + 1
        wider = bits
        if code == 256:
            del table[257:]
            before, wider = b"", 9
        else:
            entry = table[code] if code < len(table) else before + before[:1]
            out.append(entry)
            if before and len(table) < 1 << 16:
                table.append(before + entry[:1])
            before = entry
            if len(table) >= 1 << bits and bits < 16:
                wider = bits + 1
        if wider != bits:  # the rest of the group is not used
            rest = -count % 8 * bits
            while have < rest and at < len(data):
                held |= data[at] << have
                have, at = have + 8, at + 1
            held, have = held >> rest, max(0, have - rest)
            bits, count = wider, 0
    return b"".join(out)


def bible(data):
    """A document a book, a line a verse."""
    windows = struct.unpack(">I", data[0x58:0x5C])[0]
    ends = [*struct.unpack(f">{windows}I", data[0x5C:0x5C + 4 * windows]),
            len(data)]
    text = b"".join(unpack_lzw(data[ends[i]:ends[i + 1]])
                    for i in range(windows)).decode("ascii")
    books = {}
    for line in text.split("\n"):
        verse = re.match(r"(\d?[A-Z][A-Za-z]*)(\d+:\d+) (.*)", line)
        if verse:
            books.setdefault(verse.group(1), []).append(verse.group(3))
        elif books and line.strip():
            books[next(reversed(books))][-1] += " " + line.strip()
    return ["\n".join(verses) for verses in books.values()]
