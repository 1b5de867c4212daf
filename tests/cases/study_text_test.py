"""The text of the studies (tools/study_text), in small: what the converters make
of each format, which documents are left out, that the result follows from the
packages alone, and that the program reads text and vocabulary."""

import gzip
import importlib.machinery
import importlib.util
import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import program
from tokenizers import Tokenizer

TOOLS = Path(__file__).parents[2] / "tools"
sys.path.insert(0, str(TOOLS / "study"))
import cleaning  # noqa: E402
import dictionaries  # noqa: E402
import documents  # noqa: E402
import markup  # noqa: E402
import vocabulary  # noqa: E402
from sources import Source  # noqa: E402

STORY = ("The dog of the old miller ran to the river, and it was not long that "
         "she had to wait for him there by the bridge. ")
NOTICE = ("This page is a part of the manual, and all of it may be copied by "
          "anyone who likes to do so.")


def load_study_text():
    loader = importlib.machinery.SourceFileLoader("study_text",
                                                  str(TOOLS / "study_text"))
    spec = importlib.util.spec_from_loader("study_text", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def page(number):
    return (f"<html><head><title>no</title></head><body><p>{NOTICE}</p><h1>Day "
            f"{number}</h1><p>{STORY * 4} Day {number} &amp; night.</p>"
            "</body></html>").encode()


class Formats(program.ProgramCase):
    def test_html_keeps_what_a_reader_sees(self):
        found = cleaning.tidy(markup.html(
            "<html><head><title>x</title><style>p {}</style></head><body>"
            "<nav>menu</nav><h1>Head</h1><p>One &lt;two&gt;\n three</p>"
            "<ul><li>a</li><li><p>b</p></li></ul><pre>  x = 1\n    y</pre>"
            "<!-- <p>no</p> --><script>no()</script></body></html>"))
        self.assertEqual(
            found, "Head\n\nOne <two> three\n\n- a\n- b\n\n  x = 1\n    y")

    def test_html_begins_at_the_main_part(self):
        self.assertEqual(cleaning.tidy(markup.html(
            '<body><p>menu</p><div class="body" role="main"><p>Text.</p></div>'
            '<div class="sphinxsidebar"><p>more</p></div></body>')), "Text.")

    def test_restructured_text(self):
        found = cleaning.tidy(markup.rst(
            ".. _label:\n\nTitle\n=====\n\nSee :func:`~os.path` or "
            ":ref:`the text <label>` and ``code``::\n\n   x = 1\n\n"
            ".. toctree::\n   :maxdepth: 2\n\n   one\n   two\n\n"
            ".. note:: Mind.\n\n.. a comment\n   goes on\n\n"
            ".. code-block:: c\n   :linenos:\n\n   int y;\n\nEnd."))
        self.assertEqual(
            found, "Title\n\nSee `os.path` or `the text` and `code`\n\n   x = 1"
            "\n\nNote: Mind.\n\n   int y;\n\nEnd.")

    def test_pod(self):
        found = cleaning.tidy(markup.pod(
            "code();\n\n=head1 NAME\n\nB<bold> and C<< a->b >> and L<text|x> "
            "E<lt>F<file>X<index>\n\n=over 4\n\n=item one\n\n  verbatim B<x>\n\n"
            "=back\n\n=cut\n\nmore_code();"))
        self.assertEqual(found, "NAME\n\nbold and a->b and text <file\n\n- one"
                         "\n\n  verbatim B<x>")

    def test_manual_pages(self):
        found = cleaning.tidy(markup.man(
            '.\\" comment\n.TH X 1\n.SH NAME\nx \\- does \\fBthis\\fP\n.PP\n'
            '.BR open (2)\nis \\(aqfine\\(aq.\n.TS\nl l.\na\tb\n.TE\n'
            '.B "two words"\n.nf\nx = 1\n  y\n.fi\n.TP\nEnd.\n'))
        self.assertEqual(
            found,
            "NAME\n\nx - does this\n\nopen(2) is 'fine'. two words\n\nx = 1\n  y"
            "\n\nEnd.")

    def test_info_vim_and_sources(self):
        self.assertEqual(cleaning.tidy(markup.info(
            "intro\x1f\nFile: x.info,  Node: Top,  Next: A\n\nTop text.\n\n"
            "* Menu:\n\n* A::   first\n\x1f\nFile: x.info,  Node: A\n\n1 A\n"
            "***\n\nBody.\n\x1f\nTag Table:\nNode: A\n")),
            "Top text.\n\n1 A\n\nBody.")
        self.assertEqual(cleaning.tidy(markup.vim_help(
            "*x.txt*  For Vim\n====================\n1. See |y|.\n vim:tw=78:")),
            "For Vim\n1. See y.")
        self.assertEqual(
            cleaning.tidy(markup.source("#!/bin/x\n# Licence\n\nx = 1\n# y\n")),
            "x = 1\n# y")

    def test_dictionaries(self):
        entries = [b"00-database-info\nno", b"cat\n \\Cat\\, n. A {beast}. "
                   b"[1913 Webster]", b"dog\n Another [ae]on."]
        digits = ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                  "0123456789+/")
        index, at = "", 0
        for entry in entries:
            index += "\t".join((entry.split(b"\n")[0].decode(),
                                digits[at // 64] + digits[at % 64],
                                digits[len(entry) // 64]
                                + digits[len(entry) % 64])) + "\n"
            at += len(entry)
        self.assertEqual(
            dictionaries.dictd(index.encode(), gzip.compress(b"".join(entries))),
            ["cat, n. A beast.\n\ndog\n Another aeon."])

    # Codes of 9 bits, lowest first: "ababab" is a, b, 257, 257; and a code that
    # is made as it is read ("aaa": a, 257).
    def test_lzw(self):
        def packed(codes):
            bits = sum(code << 9 * i for i, code in enumerate(codes))
            return bits.to_bytes((9 * len(codes) + 7) // 8, "little")
        self.assertEqual(dictionaries.unpack_lzw(packed([97, 98, 257, 257])),
                         b"ababab")
        self.assertEqual(dictionaries.unpack_lzw(packed([97, 257])), b"aaa")


class StudyText(program.ProgramCase):
    def package(self, name, files):
        """A .deb of these files."""
        root = self.folder / "root" / name
        (root / "DEBIAN").mkdir(parents=True)
        (root / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: 1\nArchitecture: all\n"
            "Maintainer: x <x@example.org>\nDescription: x\n")
        for path, data in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
        folder = self.folder / "packages"
        folder.mkdir(exist_ok=True)
        subprocess.run(["dpkg-deb", "--build", "--root-owner-group", str(root),
                        str(folder / f"{name}_1_all.deb")],
                       check=True, capture_output=True)
        return folder / f"{name}_1_all.deb"

    def made(self):
        """Two packages; b has a document of a's, and a table."""
        pages = {f"doc/{i}.html": page(i) for i in range(12)}
        pages["doc/other.xml"] = page(99)
        self.package("a", pages)
        self.package("b", {
            "twice.html": page(3),
            "new.html": b"<p>" + STORY.replace("dog", "cat").encode() * 5,
            "table.html": b"<p>" + b"0x12ab 17 foo_bar, " * 60,
            "short.html": b"<p>The cat and the dog.</p>",
            "text.txt.gz": gzip.compress(
                (STORY.replace("dog", "fox") * 5).encode())})
        sources = [Source("a", r"doc/.*\.html", "html"),
                   Source("b", r".*\.html", "html"),
                   Source("b", r".*\.txt", "plain")]
        return documents.collect(
            sources, lambda name: self.folder / f"packages/{name}_1_all.deb")

    def test_collects_each_document_of_prose_once(self):
        found = self.made()
        self.assertEqual(len(found), 12 + 1 + 1,
                         [text[:80] for _, text in found])
        self.assertEqual({package for package, _ in found}, {"a", "b"})
        for _, text in found:
            self.assertNotIn(NOTICE, text)
        hashes = [cleaning.hash_of(text) for _, text in found]
        self.assertEqual(hashes, sorted(hashes))
        self.assertEqual(self.made_again(), found)

    def made_again(self):
        subprocess.run(["rm", "-r", self.folder / "root",
                        self.folder / "packages"], check=True)
        return self.made()

    def test_a_share_ends_by_bytes(self):
        self.package("c", {f"{i}.txt": (f"{i} ".join(STORY.split()) * 5).encode()
                           for i in range(9)})
        found = documents.collect(
            [Source("c", r".*\.txt", "plain", most=1500, prose=False)],
            lambda name: self.folder / "packages/c_1_all.deb")
        sizes = [len(text.encode()) for _, text in found]
        self.assertGreaterEqual(sum(sizes), 1500)
        self.assertLess(sum(sizes) - max(sizes), 1500)

    def test_a_file_that_is_no_package_is_one_line(self):
        bad = self.folder / "x_1_all.deb"
        bad.write_bytes(b"nothing")
        with self.assertRaisesRegex(documents.Unusable, "no Debian package"):
            documents.files_of(bad)
        package = self.package("d", {"x.txt": b"y"})
        with self.assertRaisesRegex(documents.Unusable, "has no file"):
            documents.texts_of(Source("d", r".*\.rst", "rst"),
                               documents.files_of(package))

    def test_results_are_held_to_their_pins(self):
        package = self.package("e", {"x.txt": STORY.encode() * 5})
        study = load_study_text()
        study.sources.SOURCES = [Source("e", r"x\.txt", "plain")]
        study.LOCK = self.folder / "lock.txt"
        self.addCleanup(setattr, study.vocabulary, "SIZE", study.vocabulary.SIZE)

        def run(*pinned):
            study.LOCK.write_text("".join(f"{w} {h}\n" for w, h in pinned))
            said = io.StringIO()
            with redirect_stderr(said), redirect_stdout(io.StringIO()):
                try:
                    study.make(package.parent, self.folder / "out")
                    return ""
                except SystemExit as ended:
                    self.assertEqual(ended.code, 2)
            return said.getvalue().splitlines()[-1]

        good = study.sha256(package)
        self.assertIn("is not the package", run(("e=1", "0" * 64)))
        self.assertIn("found 0 files", self.without(package, run, good))
        self.assertIn("text.jsonl has the SHA-256", run(("e=1", good)))
        text = study.sha256(self.folder / "out/text.jsonl")
        self.assertIn("tokenizer.json has the SHA-256",
                      run(("e=1", good), ("text.jsonl", text)))
        tokenizer = study.sha256(self.folder / "out/tokenizer.json")
        self.assertEqual("", run(("e=1", good), ("text.jsonl", text),
                                 ("tokenizer.json", tokenizer)))

    def without(self, package, run, good):
        data = package.read_bytes()
        package.unlink()
        said = run(("e=1", good))
        package.write_bytes(data)
        return said

    def test_the_program_reads_text_and_vocabulary(self):
        texts = [text for _, text in self.made()]
        vocabulary.make(texts, self.folder, size=300)
        first = (self.folder / "tokenizer.json").read_bytes()
        vocabulary.make(texts, self.folder, size=300)
        self.assertEqual((self.folder / "tokenizer.json").read_bytes(), first)
        lines = self.folder / "text.jsonl"
        lines.write_text("".join(json.dumps({"text": text, "source": "a"}) + "\n"
                                 for text in texts))
        told = json.loads(self.done(
            "tokenize", lines, "--tokenizer", self.folder, "--out",
            self.folder / "out.tokens", "--json").stdout)
        reference = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        self.assertEqual(told["vocab_size"], 300)
        self.assertEqual(told["documents"], len(texts))
        self.assertEqual(
            told["tokens"],
            sum(len(reference.encode(text).ids) + 1 for text in texts))


if __name__ == "__main__":
    program.main()
