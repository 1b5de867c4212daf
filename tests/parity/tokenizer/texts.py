"""Texts that tokenizers disagree about."""

import random
import unicodedata
from pathlib import Path

SCRIPTS = """\
The quick brown fox jumps over the lazy dog. It's HE'LL they'd I'M we've y'all 'tis
Съешь же ещё этих мягких французских булок, да выпей чаю. ЁЖИК і їжак.
Ζαφείρι δέξου πάγκαλο, βαθῶν ψυχῆς τὸ σῆμα. ΆΈΉΊΌΎΏ ΐΰ
דג סקרן שט בים מאוכזב ולפתע מצא לו חברה. שָׁלוֹם עֲלֵיכֶם
نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر ١٢٣٤٥ ۱۲۳ مُحَمَّد
ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश १२३ क्षत्रिय
เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน ๑๒๓
我能吞下玻璃而不伤身体。「視野無限廣，窗外有藍天」〇一二三 １２３
いろはにほへと ちりぬるを わかよたれそ つねならむ。カタカナ ｶﾀｶﾅ ゛゜
키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. 각각
நான் தமிழ் பேசுகிறேன் ௧௨௩ ᏣᎳᎩ አማርኛ ქართული հայերեն ភាសាខ្មែរ བོད་ཡིག
👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇺🇳 ☃️ ❤️‍🔥 1️⃣ 🫠🫡 ①②③ Ⅷ ½ ² ³ x² ₿ € £ ¥
e\u0301 a\u0300\u0323 o\u0308\u0304 Z\u0351\u036b\u0343\u036a\u0302\u036balgo \u1100\u1161\u11a8 \u0928\u093c \ufb01 \u212b \u2126
\u00a0nbsp\u2003em\u3000ideographic\u180emongolian\u200bzero\u2028line\u2029par\u0085nel\u000bvt\u000cff\u001cfs
'ſ 'S 'Re 'VE 'lL \u2019s don\u2019t \u0130stanbul \u0131 \u1e9e \u017f \u212a
"""

CODE = r'''
#include <vector>
template <typename T> T* find(std::vector<T>&v,int n){ // comment
	for (size_t i=0;i<v.size();++i) { if(v[i]==n) return &v[i]; }
	return nullptr;	/* 0xDEADBEEF 1e-5 123456789 3.14159f */
}
def f(x: int, *args, **kw) -> dict[str, int]:
    """Doc 'string'."""
    return {k: v**2 for k, v in kw.items() if v != 0 and k not in "abc"}
    	  	mixed	tabs  and   spaces
SELECT * FROM t WHERE a='it''s' AND b<>"x"; -- \n\t\\ C:\path\new
<html><body class="a b">&nbsp;&#39;</body></html>{{#if x}}{{/if}}
x+=1;y-=2;z*=3;!@#$%^&*()_+-=[]{}|;':",./<>?`~ a_b__c camelCaseHTTPServer2Go
'''

SPECIALS = (
    "<|endoftext|>a<|endoftext|> <|endoftext|>\n<|endoftext|><|endoftext|>"
    " <|endoftext|x|> <|end <|endoftext <|im_start|>user\nHi<|im_end|>\n"
    "<|begin_of_text|>x<|end_of_text|><|im_start|assistant|> <tool_call>{}"
    "</tool_call> <tool_call <|long|><|long|>er|> <|<|endoftext|>|>  é<|fim|>"
)

# What added tokens of kinds.py take along, or must stand alone beside.
ADDED = (
    " dog dogs the  th\u00e9 the\n\n<x> \n\n <x>\t \u0436 \u0438\u0306\u0442\u0430\u0442 x\u0439\u0442"
    " dog's _dog dog\u0301 <mask> a   <mask> moon x<|im_end|> moon</s> <s>\u2581"
    " \u2581\u2581a <0x41>\u2581<0xC3><unk>"
)


def runs():
    """Long runs of one character, and runs broken in every way."""
    parts = []
    for unit in (" ", "\n", "\t", "\r\n", " \n", "\n ", "\u00a0", "\u3000",
                 "a", "ab", "1", "!", "'", "'s", "é", "中", "👍", "-", "="):
        for count in (1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 64, 100):
            parts += [unit * count, "x", unit * count, " ", unit * count]
    parts += ["\n\n  \n\t\n   end", " " * 20000, "\n" * 20000, "a" * 20000,
              "ab" * 10000, "\t" * 5000, "z", " " * 999, "\n"]
    return "".join(parts)


def every_character():
    """Each assigned character after, before and between others; the large
    uniform blocks (Han, Hangul, private use) by sample."""
    lines = []
    for c in map(chr, range(0x110000)):
        category = unicodedata.category(c)
        if category in ("Cn", "Cs"):
            continue
        bulk = category == "Co" or unicodedata.name(c, "").startswith(
            ("CJK", "HANGUL SYLLABLE", "TANGUT", "EGYPTIAN", "CUNEIFORM"))
        if bulk and ord(c) % 97:
            continue
        lines.append(f"a{c}1{c} {c}!{c}\n")
    return "".join(lines)


def normalization(seed=1):
    """Composed and decomposed spellings, with marks in every order."""
    rng = random.Random(seed)
    marks = [c for c in map(chr, range(0x300, 0x3100))
             if unicodedata.combining(c) and unicodedata.category(c) != "Cn"]
    lines = []
    for c in map(chr, range(0x110000)):
        spelled = unicodedata.decomposition(c)
        if not spelled or spelled.startswith("<"):
            continue
        tail = "".join(rng.sample(marks, 3))
        lines.append(f"{c} {unicodedata.normalize('NFD', c)} {c}{tail} "
                     f"{unicodedata.normalize('NFD', c)}{tail}\n")
    for _ in range(2000):
        syllable = chr(rng.randrange(0xAC00, 0xD7A4))
        lines.append(unicodedata.normalize("NFD", syllable)
                     + rng.choice(marks) + "\u11a8\u1161 ")
    return "".join(lines)


def mixture(seed=2):
    """Random pieces of everything above, joined without separators."""
    rng = random.Random(seed)
    pool = list(SCRIPTS + CODE) + SCRIPTS.split() + CODE.split()
    pool += ["  ", "\n\n", " \n", "\t\t", "<|endoftext|>", "12345", "'s", "'LL"]
    return "".join(rng.choice(pool) for _ in range(60000))


def all_texts(shakespeare):
    texts = {
        "scripts": SCRIPTS, "code": CODE, "specials": SPECIALS, "added": ADDED,
        "runs": runs(),
        "characters": every_character(), "normalization": normalization(),
        "mixture": mixture(), "empty": "", "space": " ", "newline": "\n",
    }
    for path in sorted(Path(shakespeare).glob("*.txt")):
        # As bytes: text mode would turn \r\n into \n.
        texts["shakespeare_" + path.stem] = path.read_bytes().decode("utf-8")
    return texts
