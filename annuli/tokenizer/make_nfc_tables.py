"""Writes nfc_tables.inc from Python's own Unicode data, without the entries
that the `tokenizers` package does not know: its normalizer stops at Unicode 9,
and ids must equal its ids.

python3 annuli/tokenizer/make_nfc_tables.py > annuli/tokenizer/nfc_tables.inc
"""

import sys
import unicodedata

from tokenizers import normalizers

peer = normalizers.NFC().normalize_str


def characters():
    return (chr(c) for c in range(sys.maxunicode + 1)
            if not 0xD800 <= c < 0xE000)


def decompositions():
    for c in characters():
        text = unicodedata.decomposition(c)
        if text and not text.startswith("<"):
            yield c, [int(part, 16) for part in text.split()]


def class_ranges():
    ranges = []
    for c in characters():
        value = unicodedata.combining(c)
        # U+0345 has the highest class: whatever has a known one moves before
        # it.
        probe = "q\u0345" + c
        if not value or (c != "\u0345" and peer(probe) == probe):
            continue
        if ranges and ranges[-1][1] == ord(c) - 1 and ranges[-1][2] == value:
            ranges[-1][1] = ord(c)
        else:
            ranges.append([ord(c), ord(c), value])
    return ranges


def print_array(kind, name, rows):
    print(f"constexpr {kind} {name}[] = {{")
    line = "   "
    for row in rows:
        item = " {" + ",".join(f"{v:#x}" for v in row) + "},"
        if len(line) + len(item) > 80:
            print(line)
            line = "   "
        line += item
    print(line)
    print("};")


def main():
    composed, one_way = [], []
    for c, parts in decompositions():
        row = [ord(c)] + parts + [0] * (2 - len(parts))
        text = "".join(map(chr, parts))
        if peer(text) == text and peer(c) == c:
            continue
        back = unicodedata.normalize("NFC", text) == c
        (composed if back else one_way).append(row)
    print("// Made by make_nfc_tables.py; do not edit.")
    print("// clang-format off")
    print_array("Decomposition", "kComposed", composed)
    print_array("Decomposition", "kOneWay", one_way)
    print_array("ClassRange", "kClasses", class_ranges())
    print("// clang-format on")


main()
