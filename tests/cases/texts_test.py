"""Files of text as people have them: packed, in other encodings, under wrong
names, with fields that are no text, as Parquet. Each is read for what it is, or
refused in one line that says what to do."""

import bz2
import gzip
import io
import json
import lzma
import struct
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

import program

ONE, TWO = {"text": "one moon"}, {"text": "two dogs"}
BOTH = [b"one moon", b"two dogs"]
MARK = b"\xef\xbb\xbf"


def lines(*objects):
    return "".join(json.dumps(o, ensure_ascii=False) + "\n" for o in objects).encode()


def parquet(table, **options):
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def texts_of(path):
    """The documents of a token file of the tokenizer `bytes`."""
    data = path.read_bytes()
    tokens, documents = struct.unpack_from("<QQ", data, 24)
    ids = struct.unpack_from(f"<{tokens}H", data, 256)
    text, found = bytearray(), []
    for token in ids:
        if token == 256:
            found.append(bytes(text))
            text.clear()
        else:
            text.append(token)
    assert len(found) == documents
    return found


def zipped(name, content):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, content)
    return out.getvalue()


def tarred(name, content):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


# A skippable frame of three bytes.
SKIPPED = struct.pack("<II", 0x184D2A50, 3) + b"abc"
TABLE = pa.table({"text": ["one moon", "two dogs"]})

# name, content, the documents, and a word of each notice.
READ = [
    ("plain.jsonl", lines(ONE, TWO), BOTH),
    ("mark.jsonl", MARK + lines(ONE, TWO), BOTH),
    ("mark.txt", MARK + b"one moon", BOTH[:1], "byte order mark"),
    ("crlf.jsonl", lines(ONE, TWO).replace(b"\n", b"\r\n"), BOTH),
    ("crlf.txt", b"one\r\ntwo\r\n", [b"one\r\ntwo\r\n"]),
    ("no_newline.jsonl", lines(ONE, TWO)[:-1], BOTH),
    ("members.jsonl.gz", gzip.compress(lines(ONE)) + gzip.compress(lines(TWO)), BOTH),
    ("members.txt.gz", gzip.compress(b"one ") + gzip.compress(b"moon"), BOTH[:1]),
    ("padded.txt.gz", gzip.compress(b"one moon") + bytes(512), BOTH[:1]),
    ("gzip_named.txt", gzip.compress(b"one moon"), BOTH[:1], "first bytes"),
    ("zstd_named.jsonl", zstandard.compress(lines(ONE, TWO)), BOTH, "first bytes"),
    ("zstd_named.txt.gz", zstandard.compress(b"one moon"), BOTH[:1], "first bytes"),
    ("crlf_mark.jsonl.gz",
     gzip.compress(MARK + lines(ONE, TWO).replace(b"\n", b"\r\n")), BOTH),
    ("surrogate.jsonl", b'{"text": "lone \\ud83d"}\n{"text": "\\ud83d\\ude42"}\n',
     ["lone \ufffd".encode(), "\U0001f642".encode()], "surrogate"),
    ("latin1.txt", b"caf\xe9", [b"caf\xe9"], "not UTF-8"),
    ("nan.jsonl", b'{"text": "x", "score": NaN, "y": [-Infinity]}\n', [b"x"]),
    ("twice.jsonl", b'{"text": "a", "text": "b"}\n', [b"b"]),
    ("trailing.jsonl", b'{"text": "a"} \t\n', [b"a"]),
    ("nul.txt", b"one\0moon\n", [b"one\0moon\n"]),
    ("UPPER.TXT", b"one moon", BOTH[:1]),
    ("corpus.ndjson", lines(ONE, TWO), BOTH),
    ("lines.json", lines(ONE, TWO), BOTH),
    ("a.jsonl.zst", zstandard.compress(lines(ONE, TWO)), BOTH),
    ("a.txt.zst", zstandard.compress(b"one moon"), BOTH[:1]),
    ("frames.jsonl.zst", zstandard.compress(lines(ONE)) + SKIPPED +
     zstandard.compress(lines(TWO)), BOTH),
    ("skipped_first.txt.zst", SKIPPED + zstandard.compress(b"one moon"), BOTH[:1]),
    ("a.parquet", parquet(TABLE), BOTH),
    ("parquet_named.txt", parquet(TABLE), BOTH, "first bytes"),
    ("parquet_named.jsonl", parquet(TABLE), BOTH, "first bytes"),
    ("blob", parquet(TABLE), BOTH),
]

# name, content, and what the one line says.
REFUSED = [
    ("garbage.txt.gz", gzip.compress(b"one") + b"garbage", "what follows is none"),
    ("garbage.txt.zst", zstandard.compress(b"one") + b"garbage", "what follows"),
    ("cut.txt.gz", gzip.compress(b"one moon\n" * 999)[:-9], "cut short"),
    ("cut.txt.zst", zstandard.compress(b"one moon\n" * 999)[:-9], "cut short"),
    ("cut.jsonl.zst", zstandard.compress(lines(ONE))[:-1], "cut short"),
    ("empty.txt.gz", gzip.compress(b""), "empty documents"),
    ("nothing.txt.gz", b"", "empty file"),
    ("nothing.jsonl.zst", b"", "empty file"),
    ("nothing.parquet", b"", "empty file"),
    ("plain.txt.gz", b"one moon\n", "expected gzip data"),
    ("plain.txt.zst", b"one moon\n", "expected zstd data"),
    ("plain.parquet", b"one moon\n", "expected Parquet data"),
    ("gbk.jsonl", '{"text": "你好世界"}\n'.encode("gbk"), ("line 1", "UTF-8", "iconv")),
    ("utf16.txt", "one moon\n".encode("utf-16"), "iconv -f UTF-16 -t UTF-8"),
    ("utf16be.txt", "one moon\n".encode("utf-16-be"), "iconv -f UTF-16BE"),
    ("utf32.txt", "one moon\n".encode("utf-32-le"), "iconv -f UTF-32LE"),
    ("utf16.jsonl", lines(ONE).decode().encode("utf-16"), "iconv -f UTF-16"),
    ("utf16.txt.gz", gzip.compress("one moon".encode("utf-16")), "iconv"),
    ("null.jsonl", lines(ONE, {"text": None}), ("line 2", "null")),
    ("number.jsonl", lines({"text": 5}), "number"),
    ("list.jsonl", lines({"text": ["a"]}), "array"),
    ("content.jsonl", lines({"content": "x"}), ("--text-column", "'content'")),
    ("messages.jsonl", lines({"messages": [{"role": "user", "content": "hi"}]}),
     ("--text-column", "'messages'")),
    ("array.jsonl", json.dumps([ONE, TWO]).encode(), "jq -c '.[]'"),
    ("pretty.jsonl", json.dumps(ONE, indent=1).encode(), "jq -c '.'"),
    ("pretty_array.jsonl", json.dumps([ONE], indent=1).encode(), "jq -c '.[]'"),
    ("data.json", json.dumps([ONE, TWO]).encode(), "jq -c '.[]'"),
    ("empty.jsonl", b"", "empty documents"),
    ("blank.jsonl", b"\n\n\n", "empty documents"),
    ("empty_text.jsonl", lines({"text": ""}), "empty documents"),
    ("comment.jsonl", b'# comment\n{"text": "a"}\n', ("line 1", "no valid JSON")),
    ("notes.md", b"one moon\n", "expected a .txt file"),
    ("corpus.csv", b"text\nmoon\n", "expected a .txt file"),
    ("a.jsonl.bz2", bz2.compress(lines(ONE)), "bunzip2"),
    ("a.txt.xz", lzma.compress(b"one moon"), "unxz"),
    ("xz_named.txt", lzma.compress(b"one moon"), "unxz"),
    ("zip_named.txt", zipped("a.txt", b"one moon"), "unzip"),
    ("a.zip", zipped("a.txt", b"one moon"), "unzip"),
    ("tar_named.txt", tarred("a.txt", b"one moon"), "tar -xf"),
    ("tar_inside.txt.gz", gzip.compress(tarred("a.txt", b"one moon")), "tar -xf"),
    ("twice.txt.gz", gzip.compress(gzip.compress(b"one moon")), "packed twice"),
    ("pointer.parquet", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
     "git lfs pull"),
    ("pointer.txt", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
     "git lfs pull"),
]


class Texts(program.ProgramCase):
    def tokenize(self, *inputs, run=None, **options):
        """Into out.tokens, anew."""
        out = self.folder / "out.tokens"
        out.unlink(missing_ok=True)
        return (run or self.done)("tokenize", *inputs, "--tokenizer", "bytes",
                                  "--out", out, **options)

    def put(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def refused_text(self, name, content, says, flags=()):
        self.tokenize(self.put(name, content), *flags, run=self.refused, says=says)
        self.assertFalse((self.folder / "out.tokens").exists())

    def texts(self, name, content, flags=()):
        result = self.tokenize(self.put(name, content), *flags)
        return texts_of(self.folder / "out.tokens"), result.stderr.splitlines()

    def test_read(self):
        for name, content, documents, *notices in READ:
            with self.subTest(name):
                found, lines_ = self.texts(name, content)
                self.assertEqual(found, documents)
                self.assertEqual(len(lines_), len(notices), lines_)
                for line, word in zip(lines_, notices):
                    self.assertTrue(line.startswith("note: data: "))
                    self.assertIn(word, line)

    def test_refused(self):
        for name, content, says in REFUSED:
            with self.subTest(name):
                self.refused_text(name, content, says)

    def test_a_folder_of_everything(self):
        for name, content in [
            ("data/part-000.jsonl.zst", zstandard.compress(lines(ONE))),
            ("data/part-001.parquet", parquet(TABLE)),
            ("data/corpus.ndjson", lines(TWO)),
            ("data/BOOK.TXT", b"one moon"),
            ("data/README.txt", b"About this data."),
            ("data/info.json", b"{}"),
            ("data/table.csv", b"text\n"),
            ("data/old.CSV", b"text\n"),
        ]:
            self.put(name, content)
        result = self.tokenize(self.folder / "data")
        # BOOK.TXT, corpus.ndjson, part-000, part-001.
        self.assertEqual(texts_of(self.folder / "out.tokens"),
                         [BOTH[0], BOTH[1], BOTH[0], *BOTH])
        self.assertEqual(
            result.stderr.splitlines(),
            ["note: data: 4 of 8 files are read; passed over: 2 .csv, 1 .json, README.txt"])

    def test_a_folder_of_nothing_lists_what_it_holds(self):
        self.put("data/a.csv", b"x")
        self.put("data/.b.txt", b"x")
        self.tokenize(self.folder / "data", run=self.refused,
                      says=["1 .csv, 1 hidden", ".parquet"])

    def test_the_same_tokens_whatever_the_file(self):
        documents = ["To be, or\r\nnot", "\U0001f642 \u4f60\u597d", "x" * 70000, "a\0b"]
        documents += [f"document {i}" for i in range(3000)]
        whole = lines(*({"id": i, "text": d} for i, d in enumerate(documents)))
        table = pa.table({"id": range(len(documents)), "text": documents})
        compressor = zstandard.ZstdCompressor()
        half = len(whole) // 2
        forms = {
            "a.jsonl": whole,
            "a.ndjson": whole,
            "a.jsonl.gz": gzip.compress(whole),
            "a.jsonl.zst": compressor.compress(whole[:half])
            + compressor.compress(whole[half:]),
            "a.parquet": parquet(table),
            "small.parquet": parquet(table, row_group_size=7, compression="zstd",
                                     data_page_size=64, write_page_checksum=True),
            "plain.parquet": parquet(table, use_dictionary=False,
                                     compression="none", data_page_version="2.0"),
        }
        first = None
        for name, content in forms.items():
            with self.subTest(name):
                found, _ = self.texts(name, content)
                data = (self.folder / "out.tokens").read_bytes()
                self.assertEqual(found, [d.encode() for d in documents])
                first = first or data
                self.assertEqual(data, first)

    def test_the_same_tokens_as_plain_text(self):
        documents = [b"To be, or\r\nnot", "\U0001f642 \u4f60\u597d".encode(), b"a\0b"]
        for form, pack in {
            "": bytes,
            ".gz": gzip.compress,
            ".zst": zstandard.compress,
        }.items():
            for i, document in enumerate(documents):
                self.put(f"plain{form}/{i}.txt{form}", pack(document))
        table = pa.table({"text": [d.decode() for d in documents]})
        self.put("parquet/a.parquet", parquet(table))
        self.put("lines/a.jsonl.zst", zstandard.compress(
            lines(*({"text": d.decode()} for d in documents))))
        files = []
        for folder in ["plain", "plain.gz", "plain.zst", "parquet", "lines"]:
            self.tokenize(self.folder / folder)
            files.append((self.folder / "out.tokens").read_bytes())
        self.assertEqual(texts_of(self.folder / "out.tokens"), documents)
        self.assertEqual(len(set(files)), 1)

    def test_columns_that_hold_text(self):
        values = ["one", None, "", "one"]
        types = {
            "utf8": pa.array(values),
            "large": pa.array(values, pa.large_utf8()),
            "view": pa.array(values, pa.string_view()),
            "dictionary": pa.array(values).dictionary_encode(),
            "large_dictionary": pa.array(values, pa.large_utf8()).dictionary_encode(),
            "bytes": pa.array(values, pa.binary()),
        }
        for name, array in types.items():
            for group in (1, 4):
                with self.subTest(name, group=group):
                    found, notices = self.texts(
                        "a.parquet",
                        parquet(pa.table({"text": array}), row_group_size=group))
                    self.assertEqual(found, [b"one", b"one"])
                    self.assertEqual(len(notices), 1)
                    self.assertIn("(null) passed over: 1", notices[0])
        required = pa.schema([pa.field("text", pa.utf8(), nullable=False)])
        table = pa.table({"text": ["a", "b"]}, schema=required)
        self.assertEqual(self.texts("a.parquet", parquet(table))[0], [b"a", b"b"])

    def test_columns_that_do_not(self):
        table = pa.table({
            "number": [1, 2],
            "list": [["a"], ["b"]],
            "struct": [{"text": "a"}, {"text": "b"}],
            "fixed": pa.array([b"ab", b"cd"], pa.binary(2)),
            "decimal": pa.array([1, 2], pa.decimal128(5)),
            "content": ["a", "b"],
            "title": ["a", "b"],
        })
        data = parquet(table)
        for column in ["text", "number", "list", "struct", "fixed", "decimal"]:
            with self.subTest(column):
                self.refused_text(
                    "a.parquet", data,
                    [f"'{column}'", "--text-column", "takes 'content', 'title'"],
                    ["--text-column", column])
        self.assertEqual(
            self.texts("a.parquet", data, ["--text-column", "content"])[0], [b"a", b"b"])
        self.refused_text("b.parquet", parquet(pa.table({"x": [1]})), "no column holds text")

    def test_the_column_of_lines(self):
        data = lines({"content": "a", "text": 5})
        self.assertEqual(
            self.texts("a.jsonl", data, ["--text-column", "content"])[0], [b"a"])

    def test_a_plan_reads_parquet(self):
        rows = [f"The moon rose over hill {i} and two old dogs slept. " * 9
                for i in range(40)]
        path = self.put("a.parquet", parquet(pa.table({"body": rows})))
        plan = self.put("plan.yaml", f"""
name: tiny
output_dir: {self.folder}/run
data: {{text: ['{path}'], text_column: body, sequence_length: 32,
       cache_dir: '{self.folder}/cache'}}
model: {{hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2,
        num_attention_heads: 2}}
probe: {{windows: 1, length: 32, router_tokens: 64}}
evaluation: {{windows: 1}}
phases:
  - {{name: a, train: {{max_steps: 1, learning_rate: 0.001, batch_size: 1}}}}
""".encode())
        self.done("run", plan)
        model = self.folder / "run/checkpoints/a.pt"
        self.done("evaluate", model, "--text", path, "--text-column", "body",
                  "--tokenizer", "bytes", "--windows", 1, "--sequence-length", 32)
        self.refused("verify", model, model, "--text", path, "--tokenizer", "bytes",
                     says="--text-column (data.text_column) takes 'body'")

    def test_damaged_parquet(self):
        whole = parquet(pa.table({"text": [f"row {i}" * 20 for i in range(500)]}),
                        write_page_checksum=True)
        self.refused_text("cut.parquet", whole[: len(whole) // 2], "cut.parquet")
        flipped = bytearray(whole)
        flipped[300] ^= 1
        self.refused_text("flipped.parquet", bytes(flipped), "checksum")
        for place in range(len(whole) - 700, len(whole) - 4, 67):
            broken = bytearray(whole)
            broken[place] ^= 0x55
            path = self.put("broken.parquet", bytes(broken))
            result = program.annuli("tokenize", path, "--tokenizer", "bytes", "--out",
                                    self.folder / "out.tokens")
            self.assertIn(result.returncode, (0, 2), result.stderr)
            self.assertLessEqual(len(result.stderr.splitlines()), 1, result.stderr)


if __name__ == "__main__":
    program.main()
