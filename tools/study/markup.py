"""From the formats of documentation to plain text: one function a format, each
from the text of a file to the text that a reader would see.

They are simple on purpose: what they make follows from these lines and from
Python's `re` and `html.unescape`, whatever the version of an HTML parser.
"""
import html as entities
import re

# ---- HTML ----

_UNSEEN = re.compile(
    r"<!--.*?-->|<(script|style|head|nav|header|footer|svg|form|button)\b"
    r".*?</\1\s*>|<div class=\"nav(?:header|footer)\">.*?</div>|"
    r"<a class=\"headerlink\".*?</a>", re.DOTALL | re.IGNORECASE)
_BEGIN = re.compile(r"<[^>]*role=\"main\"[^>]*>|<main\b[^>]*>|<article\b[^>]*>|"
                    r"<div class=\"body\"[^>]*>|<body\b[^>]*>", re.IGNORECASE)
_END = re.compile(r"<div class=\"(?:sphinxsidebar|related|footer)\"|</main>|"
                  r"<!-- end of content -->", re.IGNORECASE)
_TAG = re.compile(r"(<[^<>]*>)")
_NAME = re.compile(r"</?\s*([a-zA-Z0-9]+)")
_BLOCKS = frozenset(
    "p div h1 h2 h3 h4 h5 h6 ul ol dl dt dd table section blockquote hr "
    "figure figcaption fieldset caption thead tbody address aside".split())


def _of_tag(tag, is_close):
    if tag in _BLOCKS:
        return "\n\n"
    if tag == "li":
        return "" if is_close else "\n- "
    if tag in ("br", "tr"):
        return "\n"
    return " " if tag in ("td", "th") and is_close else ""


def _content(text):
    """The part that is the page's own, where the page says which that is."""
    begin = None
    for begin in _BEGIN.finditer(text):
        if not begin.group().lower().startswith("<body"):
            break
    if begin:
        text = text[begin.end():]
    end = _END.search(text)
    return text[:end.start()] if end else text


def html(text):
    out = []
    in_pre = 0
    for piece in _TAG.split(_UNSEEN.sub("", _content(text))):
        name = _NAME.match(piece) if piece.startswith("<") else None
        if name is None and piece.startswith("<"):
            continue
        if name is None:
            seen = entities.unescape(piece).replace("\xa0", " ")
            out.append(seen if in_pre else re.sub(r"\s+", " ", seen))
            continue
        tag, is_close = name.group(1).lower(), piece.startswith("</")
        if tag == "pre":
            in_pre = max(0, in_pre + (-1 if is_close else 1))
            out.append("\n\n")
        else:
            out.append(_of_tag(tag, is_close))
    lines = [line if line.startswith("  ") else line.strip()
             for line in "".join(out).split("\n")]
    return re.sub(r"(?m)^-\n+", "- ", "\n".join(lines))


# ---- reStructuredText ----

_DIRECTIVE = re.compile(r"^(\s*)\.\. ([\w:.-]+?)::\s*(.*)$")
_TARGET = re.compile(r"^\s*\.\. (_|\|.*\||\[)")
_COMMENT = re.compile(r"^(\s*)\.\.(\s+\S.*)?$")
_OPTION = re.compile(r"^\s+:[\w-]+:(\s|$)")
_ROLE = re.compile(r":[\w:+-]+:`([^`]+)`")
_RULE = re.compile(r"^\s*([=\-~^\"'#*+.`_:])\1{2,}\s*$")
_UNSEEN_BLOCKS = frozenset(
    "toctree index image figure highlight contents raw only module include "
    "literalinclude currentmodule sectionauthor moduleauthor tabularcolumns "
    "role default-role meta csv-table kernel-doc plot autosummary autoclass "
    "autofunction automodule testsetup testcleanup ifconfig".split())
_NOTES = frozenset("note warning seealso tip important caution hint".split())


def _indent(line):
    return len(line) - len(line.lstrip())


def _role_text(match):
    shown = re.sub(r"\s*<[^<>]*>$", "", match.group(1).lstrip("!"))
    return "`" + shown.lstrip("~") + "`"


def _directive(match):
    """What is left of a directive's first line; None: nothing of the block."""
    name, rest = match.group(2), match.group(3)
    if name in _UNSEEN_BLOCKS:
        return None
    if name in _NOTES:
        return f"{match.group(1)}{name.capitalize()}: {rest}".rstrip()
    return "" if "code" in name or name == "parsed-literal" else (
        match.group(1) + rest)


def rst(text):
    out = []
    hidden = None  # lines that are indented further are no text
    after_directive = False
    for line in text.expandtabs(8).split("\n"):
        if hidden is not None and (not line.strip() or _indent(line) > hidden):
            continue
        hidden = None
        directive = _DIRECTIVE.match(line)
        shown = _directive(directive) if directive else None
        if shown is not None:
            out.append(shown)
        elif directive or _TARGET.match(line) or _COMMENT.match(line):
            hidden = _indent(line)
        elif not (_RULE.match(line) or after_directive and _OPTION.match(line)):
            seen = _ROLE.sub(_role_text, line)
            out.append(re.sub(r"``|\*\*", "`", seen).removesuffix("::"))
        after_directive = shown is not None or (
            after_directive and bool(_OPTION.match(line)))
    return "\n".join(out)


# ---- Perl's POD ----

_POD_CODE = re.compile(r"[BCEFILSXZ]<(?:<+ (.*?) >+|([^<>]*))>", re.DOTALL)
_POD_ENTITIES = {"lt": "<", "gt": ">", "sol": "/", "verbar": "|"}


def _pod_code(match):
    letter = match.group()[0]
    inner = match.group(1) if match.group(1) is not None else match.group(2)
    if letter in "XZ":
        return ""
    if letter == "E":
        return _POD_ENTITIES.get(inner) or entities.unescape(f"&{inner};")
    if letter == "L":
        return inner.split("|", 1)[0].lstrip("/")
    return inner


def pod(text):
    out = []
    in_pod = False
    for paragraph in re.split(r"\n[ \t]*\n", text):
        command = re.match(r"=(\w+)\s*(.*)", paragraph.lstrip("\n"), re.DOTALL)
        if command:
            name, rest = command.groups()
            in_pod = name not in ("cut", "begin", "for", "encoding")
            paragraph = "- " + rest if name == "item" and rest else rest
            if name in ("over", "back", "pod", "end") or not in_pod:
                in_pod = in_pod or name == "encoding"
                continue
        if not in_pod:
            continue
        if not paragraph.startswith((" ", "\t")):
            before = None
            while paragraph != before:
                before, paragraph = paragraph, _POD_CODE.sub(_pod_code,
                                                             paragraph)
        out.append(paragraph)
    return "\n\n".join(out)


# ---- Manual pages ----

_ROFF = {"\\-": "-", "\\&": "", "\\e": "\\", "\\ ": " ", "\\|": "", "\\^": "",
         "\\/": "", "\\,": "", "\\:": "", "\\%": "", "\\~": " ", "\\0": " "}
_ROFF_NAMED = {"aq": "'", "dq": '"', "em": "--", "en": "-", "lq": '"',
               "rq": '"', "bu": "-", "hy": "-", "ti": "~", "ha": "^",
               "oq": "'", "cq": "'", "rs": "\\", "ga": "`", "co": "(C)",
               "mu": "x", "<=": "<=", ">=": ">=", "->": "->", "+-": "+-"}
_FONT = re.compile(r"\\f(?:\[[^\]]*\]|\(..|.)|\\s[-+]?\d|\\[mM]\[[^\]]*\]")


def _roff_named(match):
    return _ROFF_NAMED.get(match.group(1) or match.group(2), "")


def _roff_text(line):
    line = _FONT.sub("", re.sub(r"\\\".*$", "", line))
    line = re.sub(r"\\\((..)|\\\[([^\]]*)\]", _roff_named, line)
    line = re.sub(r"\\\*(?:\(..|\[[^\]]*\]|.)", "", line)
    return re.sub(r"\\.", lambda m: _ROFF.get(m.group(), ""), line)


def _words_of_macro(text):
    return [quoted.replace('""', '"') if quoted else word for quoted, word in
            re.findall(r'"((?:[^"]|"")*)"|(\S+)', text)]


class _Page:
    """Words become paragraphs; lines stay lines where a page wants it so."""

    def __init__(self):
        self.parts = [""]
        self.is_filled = True

    def add(self, text):
        if not self.is_filled:
            self.parts[-1] += text + "\n"
        elif text.strip():
            self.parts[-1] += text.strip() + " "
        else:
            self.parts.append("")

    def macro(self, name, words):
        if name in ("SH", "SS"):
            self.parts += [" ".join(words), ""]
            self.is_filled = True
        elif name in ("PP", "P", "LP", "TP", "IP", "HP", "sp", "TQ", "br"):
            self.parts.append(words[0] + " " if name == "IP" and words else "")
        elif name in ("nf", "EX", "fi", "EE"):
            self.is_filled = name in ("fi", "EE")
            self.parts.append("")
        elif name in ("B", "I", "SM", "SB"):
            self.add(" ".join(words))
        elif name in ("BR", "RB", "BI", "IB", "IR", "RI"):
            self.add("".join(words))


def man(text):
    page = _Page()
    in_table = False
    for line in text.split("\n"):
        macro = re.match(r"[.']\s*(\S*)\s*(.*)", line)
        name = macro.group(1) if macro else ""
        in_table = (in_table or name == "TS") and name != "TE"
        if in_table:
            continue
        if macro:
            page.macro(name, [_roff_text(word)
                              for word in _words_of_macro(macro.group(2))])
        else:
            page.add(_roff_text(line))
    return "\n\n".join(page.parts)


# ---- Info, the help of Vim, sources ----

def info(text):
    nodes = []
    for node in text.split("\x1f")[1:]:
        header, _, body = node.lstrip("\n\f").partition("\n")
        if not header.startswith("File:"):
            continue
        lines = [line for line in body.split("\n")
                 if not re.match(r"\* Menu:|\* .*::|\* .*\(line +\d+\)|[*=.-]+$",
                                 line)]
        nodes.append("\n".join(lines).replace("\x00\x08[index\x00\x08]", ""))
    return "\n\n".join(nodes)


def vim_help(text):
    lines = [re.sub(r"\*[^*\s]+\*", "", line) for line in text.split("\n")
             if not re.match(r"[=-]{20,}$| ?vim:", line)]
    return re.sub(r"\|([^|\s]+)\|", r"\1", "\n".join(lines)).replace("\t", " ")


def source(text):
    """Without the comment at the top, which is mostly a licence."""
    lines = text.split("\n")
    first = 0
    while first < len(lines) and re.match(r"\s*(#|//|;|$)", lines[first]):
        first += 1
    return "\n".join(lines[first:])


def plain(text):
    return text
