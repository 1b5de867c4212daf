"""What makes documents of texts: one form of white space, no repeated notices,
prose where prose is asked for, each text once.
"""
import hashlib
import re
from collections import Counter

SMALLEST = 400  # characters of a document
# A paragraph that stands in more documents of a package than this is a header,
# a footer or a licence.
MOST_REPEATS = 8
PARAGRAPH = 24  # characters, below which a paragraph may repeat
STOP_WORDS = frozenset("the of and to a in is that it for as with be on by or "
                       "this are from which not at an if you can".split())
# Of English prose about 40 of 100 words are stop words; of tables and lists of
# names hardly any.
LEAST_STOP_WORDS = 0.15
LEAST_LETTERS = 0.6

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\ufeff\u00ad\u200b\u2028]")


def tidy(text):
    """No control characters, no white space at ends of lines, at most one blank
    line, and none at either end."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n")
    text = text.replace("\xa0", " ")
    text = _CONTROL.sub("", text)
    text = re.sub(r"[ \t]+\n", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def is_prose(text):
    words = re.findall(r"[A-Za-z]+", text)
    if not words:
        return False
    stop_words = sum(word.lower() in STOP_WORDS for word in words)
    letters = sum(len(word) for word in words) + text.count(" ")
    return (stop_words >= LEAST_STOP_WORDS * len(words)
            and letters >= LEAST_LETTERS * len(text))


def _key(paragraph):
    seen = " ".join(paragraph.lower().split())
    return hashlib.sha256(seen.encode()).digest()


def _paragraphs(text):
    return text.split("\n\n")


def without_repeats(texts):
    """The texts of one package without what most of them repeat."""
    counts = Counter()
    for text in texts:
        counts.update({_key(p) for p in _paragraphs(text)
                       if len(p) >= PARAGRAPH})
    for text in texts:
        kept = [p for p in _paragraphs(text)
                if len(p) < PARAGRAPH or counts[_key(p)] <= MOST_REPEATS]
        yield "\n\n".join(kept).strip()


class Seen:
    """Which paragraphs stood in a document before."""

    def __init__(self):
        self._keys = set()

    def is_new(self, text):
        """False if half of the text or more, by paragraphs, was there before;
        otherwise the text counts from now on."""
        keys = [(_key(p), len(p)) for p in _paragraphs(text)]
        size = sum(length for _, length in keys)
        known = sum(length for key, length in keys if key in self._keys)
        if 2 * known >= size:
            return False
        self._keys.update(key for key, _ in keys)
        return True


def hash_of(text):
    return hashlib.sha256(text.encode()).hexdigest()
