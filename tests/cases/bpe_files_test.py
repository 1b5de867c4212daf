"""Tokenizer files of BPE models as people have them: every part that a
tokenizer.json can have, a vocabulary that lacks bytes (SmolLM2), and the older
files vocab.json and merges.txt with others beside them."""

import array
import json
import sys
from pathlib import Path

import case
from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "parity" / "tokenizer"))
import kinds  # noqa: E402

TEXT = (case.PROSE[:2000] + " 2024 naïve café «über» 你好，мир 🙂 the thé\n"
        "def f(x):\n\treturn x[1:] + 'ok'\x04\x06\r\n" + "  a" * 40)
# Trained on text that has every byte but the two above.
LINES = [TEXT.replace("\x04\x06", "")] * 3
OF_THE_REPORTS = [
    "llama2", "mistral_first", "metaspace_always", "gemma", "clip", "suffix",
    "prefix", "whitespace_split", "folded", "smollm2_lacks", "falcon",
    "split_removed_true", "roberta", "added",
]


class BpeFiles(case.Case):
    @classmethod
    def setUpClass(cls):
        cls.made = kinds.kinds(LINES)

    def tokens_of(self, tokenizer, *options):
        """The ids of TEXT in a token file, and what was said of it."""
        text, out = self.folder / "text.txt", self.folder / "out.tokens"
        text.write_bytes(TEXT.encode())
        result = self.done("tokenize", text, "--tokenizer", tokenizer, "--out",
                           out, "--force", "--json", *options)
        said = json.loads(result.stdout)
        size = 2 if said["vocab_size"] <= 65536 else 4
        ids = array.array("H" if size == 2 else "I")
        ids.frombytes(out.read_bytes()[256:256 + size * said["tokens"]])
        return list(ids), said, result.stderr

    def assert_holds(self, ids, expected):
        """`expected`, and perhaps a token before and one after it."""
        self.assertLessEqual(len(ids) - len(expected), 2)
        self.assertTrue(any(ids[at:at + len(expected)] == expected
                            for at in range(3)))

    def test_ids_are_those_of_the_tokenizers_package(self):
        for name in OF_THE_REPORTS:
            with self.subTest(name):
                folder = self.folder / name
                folder.mkdir()
                tokenizer = self.made[name]
                tokenizer.save(str(folder / "tokenizer.json"))
                tokenizer.encode_special_tokens = True
                expected = tokenizer.encode(TEXT, add_special_tokens=False).ids
                self.assert_holds(self.tokens_of(folder)[0], expected)

    def with_tokenizer(self, name):
        """A model's folder, with as many ids as its tokenizer has."""
        tokenizer = self.made[name]
        folder = self.saved(vocab_size=tokenizer.get_vocab_size(),
                            tie_word_embeddings=True)
        tokenizer.save(str(folder / "tokenizer.json"))
        return folder

    def test_bytes_without_a_token_are_dropped_and_counted(self):
        _, said, stderr = self.tokens_of(self.with_tokenizer("smollm2_lacks"))
        self.assertEqual(said["dropped_bytes"], 2)
        self.assertIn("21 of the 256 bytes have no token", stderr)
        self.assertIn("2 bytes of the text", stderr)

    def test_every_verb_takes_a_vocabulary_that_lacks_bytes(self):
        folder = self.with_tokenizer("smollm2_lacks")
        text = self.folder / "text.txt"
        text.write_text(TEXT * 20)
        self.done("generate", folder, "--prompt", "The moon",
                  "--max-new-tokens", 3)
        self.done("evaluate", folder, "--text", text, "--windows", 2,
                  "--sequence-length", 32)
        self.done("grow", "upcycle", folder, "--out", self.folder / "grown",
                  "--num-experts", 4, "--num-experts-per-tok", 2, "--router",
                  "mean-orthogonal", "--text", text)
        plan = self.folder / "plan.yaml"
        plan.write_text(f"""
name: from
data: {{text: [{text}], cache_dir: {self.folder / "tokens"}, sequence_length: 32}}
model: {{from: {folder}}}
probe: {{windows: 4, length: 32, router_tokens: 256}}
samples: {{prompts: ["The moon"], max_new_tokens: 4}}
phases:
  - name: one
    checkpoint: one.pt
    train: {{max_steps: 2, learning_rate: 1.0e-3, batch_size: 2}}
""")
        run = self.done("run", plan, "--out", self.folder / "run")
        self.assertIn("21 of the 256 bytes have no token", run.stderr)

    def test_a_continuation_keeps_the_space_before_it(self):
        folder = self.with_tokenizer("llama2")
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        arguments = ["generate", folder, "--prompt", "The moon",
                     "--max-new-tokens", 12, "--temperature", 0]
        said = json.loads(self.done(*arguments, "--json").stdout)
        whole = tokenizer.decode(said["prompt_tokens"] + said["tokens"],
                                 skip_special_tokens=False)
        self.assertTrue(whole.endswith("The moon" + said["text"]), whole)
        streamed = self.done(*arguments).stdout
        self.assertEqual(streamed, "The moon" + said["text"] + "\n")

    def older_files(self, newline):
        folder = self.folder / "older"
        folder.mkdir(exist_ok=True)
        model = json.loads(self.made["split_isolated_false"].to_str())["model"]
        (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
        lines = ["#version: 0.2"] + [" ".join(m) for m in model["merges"]]
        (folder / "merges.txt").write_bytes(
            "".join(line + newline for line in lines).encode())
        return folder, model

    def test_merges_with_crlf_are_the_same_merges(self):
        unix = self.tokens_of(self.older_files("\n")[0])
        windows = self.tokens_of(self.older_files("\r\n")[0])
        self.assertEqual(unix[0], windows[0])
        self.assertEqual(unix[1]["tokenizer_hash"],
                         windows[1]["tokenizer_hash"])

    def test_added_tokens_beside_merges_are_read(self):
        folder, model = self.older_files("\r\n")
        size = len(model["vocab"])
        (folder / "added_tokens.json").write_text(
            json.dumps({"<|im_start|>": size, "moon": size + 1}))
        (folder / "special_tokens_map.json").write_text(
            json.dumps({"additional_special_tokens": ["<|im_start|>"]}))
        ids, said, _ = self.tokens_of(folder)
        self.assertEqual(said["vocab_size"], size + 2)
        self.assertEqual(ids.count(size + 1), TEXT.count("moon"))

    def test_what_is_not_read_is_named(self):
        folder, _ = self.older_files("\n")
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "CLIPTokenizer"}))
        (self.folder / "t.txt").write_text("x")
        self.refused("tokenize", self.folder / "t.txt", "--tokenizer", folder,
                     "--out", self.folder / "o", says="CLIPTokenizer")
        state = json.loads(self.made["suffix"].to_str())
        for part, value in (("normalizer", "Nmt"),
                            ("pre_tokenizer", "UnicodeScripts"),
                            ("decoder", "WordPiece")):
            path = self.folder / "tokenizer.json"
            path.write_text(json.dumps(state | {part: {"type": value}}))
            self.refused("tokenize", self.folder / "t.txt", "--tokenizer",
                         path, "--out", self.folder / "o", says=value)


if __name__ == "__main__":
    case.main()
