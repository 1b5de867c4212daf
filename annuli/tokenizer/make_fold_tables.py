"""Writes fold_tables.inc from the normalizers of the `tokenizers` package, each
asked for every character: ids must equal its ids.

python3 annuli/tokenizer/make_fold_tables.py > annuli/tokenizer/fold_tables.inc
"""

import sys

from tokenizers import normalizers

canonical = normalizers.NFD().normalize_str
compatible = normalizers.NFKD().normalize_str
lower = normalizers.Lowercase().normalize_str
without_accents = normalizers.StripAccents().normalize_str


def characters():
    return (chr(c) for c in range(sys.maxunicode + 1)
            if not 0xD800 <= c < 0xE000)


def print_rows(kind, name, rows):
    print(f"constexpr {kind} {name}[] = {{")
    line = "   "
    for row in rows:
        item = f" {{{row}}},"
        if len(line) + len(item) > 80:
            print(line)
            line = "   "
        line += item
    print(line)
    print("};")


def foldings(name, fold, plain=lambda c: c):
    print_rows("Folding", name, (
        f'{ord(c):#x},"' + "".join(f"\\{b:03o}" for b in fold(c).encode()) + '"'
        for c in characters() if fold(c) != plain(c)))


def accent_ranges():
    ranges = []
    for c in characters():
        if without_accents(c):
            continue
        if ranges and ranges[-1][1] == ord(c) - 1:
            ranges[-1][1] = ord(c)
        else:
            ranges.append([ord(c), ord(c)])
    return (f"{first:#x},{last:#x}" for first, last in ranges)


print("// Made by make_fold_tables.py; do not edit.")
print("// clang-format off")
foldings("kCompatible", compatible, canonical)
foldings("kLower", lower)
print_rows("Range", "kAccents", accent_ranges())
print("// clang-format on")
