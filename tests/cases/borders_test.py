"""Ids that a tokenizer does not have, and where documents begin and end: padded
vocabularies, post-processors, the files that name an end token, texts that spell
it. The ids are those of Python's `tokenizers` and transformers."""

import json
import struct

import torch
import transformers
from tokenizers import (Tokenizer, decoders, models, pre_tokenizers, processors,
                        trainers)

from case import PROSE, Case, edit_config, main

NAMES = ("<|begin|>", "<|end|>", "<|turn|>", "<|endoftext|>")
BEGIN, END, TURN, USUAL = range(4)
TEMPLATE = processors.TemplateProcessing
SPECIAL = [("<|begin|>", BEGIN), ("<|end|>", END)]


def trained(size=290, names=NAMES, post=None):
    """A byte-level BPE tokenizer whose first ids are its special tokens."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(
        [PROSE],
        trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(names),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    if post is not None:
        made.post_processor = post
    return made


def with_hole(tokenizer):
    """The same with one token far above the others: ids between have none."""
    description = json.loads(tokenizer.to_str())
    description["model"]["vocab"]["<|far|>"] = 400
    description["added_tokens"].append(
        dict(id=400, content="<|far|>", single_word=False, lstrip=False,
             rstrip=False, normalized=False, special=True))
    return description


def write_json(folder, name, content):
    (folder / name).write_text(json.dumps(content))


def token_file(path):
    """Its documents, and the ids that it records around each, if it does."""
    data = path.read_bytes()
    width, _, count, documents = struct.unpack_from("<IQQQ", data, 12)
    ids = struct.unpack_from(f"<{count}{'H' if width == 2 else 'I'}", data, 256)
    at = 256 + (count * width + 7) // 8 * 8
    ends = [struct.unpack_from("<Q", data, at + 16 * i)[0]
            for i in range(documents)]
    recorded, begin, end = data[168], data[169], data[170]
    border = struct.unpack_from("<20i", data, 172)
    return (
        [list(ids[a:b]) for a, b in zip([0, *ends], ends)],
        (list(border[:begin]), list(border[begin : begin + end]))
        if recorded else None,
    )


class Padding(Case):
    """Vocabularies of the model that are larger than the tokenizer's."""

    def generated(self, folder, *more):
        return json.loads(self.done(
            "generate", folder, "--prompt", "The moon", "--temperature", 5,
            "--max-new-tokens", 400, "--end-token", "none", "--json",
            *more).stdout)

    def test_ids_without_a_token_are_never_drawn(self):
        folder = self.saved(vocab_size=512)
        write_json(folder, "tokenizer.json", with_hole(trained()))
        known = {*range(290), 400}
        for more in [(), ("--top-k", 500), ("--top-p", 0.9999)]:
            drawn = set(self.generated(folder, *more)["tokens"])
            self.assertLessEqual(drawn, known)
            self.assertGreater(len(drawn), 50)
        # The control: a tokenizer that has them all. At temperature 5 the 512
        # ids are nearly even; 400 draws miss the 222 others with 1e-99.
        full = json.loads(trained().to_str())
        full["added_tokens"] += [
            dict(id=id, content=f"<|{id}|>", single_word=False, lstrip=False,
                 rstrip=False, normalized=False, special=True)
            for id in range(290, 512)]
        write_json(folder, "tokenizer.json", full)
        self.assertFalse(set(self.generated(folder)["tokens"]) <= known)

    def test_what_is_shown_is_what_tokenizers_shows(self):
        folder = self.saved(vocab_size=512)
        write_json(folder, "tokenizer.json", with_hole(trained()))
        made = self.generated(folder)
        theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
        ids = made["tokens"]
        # It drops ids that it lacks; ours are none of them.
        self.assertEqual(theirs.decode([350, 511], skip_special_tokens=False), "")
        self.assertEqual(
            made["text"], theirs.decode(ids, skip_special_tokens=False))

    def test_samples_of_a_run(self):
        folder = self.folder / "tokenizer"
        folder.mkdir()
        write_json(folder, "tokenizer.json", with_hole(trained()))
        text = self.folder / "text.txt"
        text.write_text(PROSE)
        plan = dict(
            name="padded", tokenizer=str(folder),
            data=dict(text=[str(text)], sequence_length=32,
                      cache_dir=str(self.folder / "tokens")),
            model=dict(vocab_size=100000, hidden_size=16, intermediate_size=16,
                       num_hidden_layers=1, num_attention_heads=2),
            probe=dict(windows=1, length=32, router_tokens=32),
            # 99709 of 100000 ids are padding.
            samples=dict(prompts=["The moon", ""], temperature=5, top_k=0),
            phases=[dict(name="dense", train=dict(
                max_steps=1, learning_rate=1e-3, batch_size=1))])
        write_json(self.folder, "plan.yaml", plan)
        run = self.done("run", self.folder / "plan.yaml", "--out",
                        self.folder / "run")
        # The empty prompt has no tokens: that is no end of the run.
        self.assertIn("warning: no samples of phase dense: ", run.stderr)
        self.assertTrue((self.folder / "run/summary.json").exists())
        plan["samples"]["prompts"] = ["The moon"]
        write_json(self.folder, "plan.yaml", plan)
        self.done("run", self.folder / "plan.yaml", "--out", self.folder / "two")
        text = (self.folder / "two/samples/dense.txt").read_bytes()
        self.assertIn(b"--- temperature 5, top-k 0\nThe moon", text)


class Prompts(Case):
    """What add_special_tokens puts before a prompt."""

    # Each with the ids that it puts before and after a text.
    POSTS = [
        (None, [], []),
        (processors.ByteLevel(trim_offsets=False), [], []),
        (TEMPLATE(single="<|begin|> $A", special_tokens=SPECIAL), [BEGIN], []),
        (TEMPLATE(single="$A <|end|>", special_tokens=SPECIAL), [], [END]),
        (TEMPLATE(single="<|begin|> $A <|end|>", special_tokens=SPECIAL),
         [BEGIN], [END]),
        (TEMPLATE(single="<|end|> <|begin|> $A", special_tokens=SPECIAL),
         [END, BEGIN], []),
        (processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            TEMPLATE(single="<|begin|> $A", special_tokens=SPECIAL)]),
         [BEGIN], []),
        (processors.RobertaProcessing(("<|end|>", END), ("<|begin|>", BEGIN)),
         [BEGIN], [END]),
    ]

    def test_ids_are_those_of_tokenizers_with_and_without(self):
        folder = self.saved()
        write_json(folder, "tokenizer_config.json",
                   {"tokenizer_class": "PreTrainedTokenizerFast"})
        for post, begin, end in self.POSTS:
            trained(post=post).save(str(folder / "tokenizer.json"))
            auto = transformers.AutoTokenizer.from_pretrained(folder)
            ours = self.prompt_tokens(folder, *self.PROMPTS)
            bare = self.prompt_tokens(folder, *self.PROMPTS, more=(
                "--begin-token", "none"))
            for i, prompt in enumerate(self.PROMPTS):
                with self.subTest(begin=begin, end=end, prompt=prompt):
                    ids = auto(prompt, add_special_tokens=False).input_ids
                    self.assertEqual(auto(prompt).input_ids, begin + ids + end)
                    # What is to be continued does not end; what begins as a
                    # text does not begin twice.
                    spelled = ids[: len(begin)] == begin
                    self.assertEqual(ours[i], ids if spelled else begin + ids)
                    self.assertEqual(bare[i], ids)

    PROMPTS = ("The moon rose", "<|begin|>The moon", "é <|turn|>\n")

    def prompt_tokens(self, folder, *prompts, more=()):
        flags = [flag for prompt in prompts for flag in ("--prompt", prompt)]
        made = json.loads(self.done(
            "generate", folder, *flags, "--max-new-tokens", 1, "--json",
            *more).stdout)
        return [one["prompt_tokens"] for one in made]

    def test_vocab_and_merges_with_add_bos_token(self):
        folder = self.saved()
        trained().model.save(str(folder))
        write_json(folder, "tokenizer_config.json",
                   dict(tokenizer_class="GPT2Tokenizer", add_bos_token=True,
                        bos_token="<|endoftext|>", eos_token="<|endoftext|>"))
        auto = transformers.AutoTokenizer.from_pretrained(folder)
        prompts = ("The moon", "rose")
        ids = [auto(prompt).input_ids for prompt in prompts]
        self.assertEqual(ids[0][0], USUAL)
        self.assertEqual(self.prompt_tokens(folder, *prompts), ids)


class Tokenizing(Case):
    """Token files of a text with the tokenizer of a model's folder."""

    def setUp(self):
        super().setUp()
        self.parent = self.saved()
        (self.parent / "generation_config.json").unlink()
        edit_config(self.parent, drop=["eos_token_id", "bos_token_id"])
        trained().save(str(self.parent / "tokenizer.json"))
        self.text = self.folder / "text.jsonl"
        self.text.write_text("".join(
            json.dumps({"text": f"The moon {i} rose.\n"}) + "\n"
            for i in range(20)))

    def tokenized(self, *more, text=None):
        out = self.folder / "text.tokens"
        result = self.done("tokenize", text or self.text, "--tokenizer",
                           self.parent, "--out", out, "--force", "--json", *more)
        return json.loads(result.stdout), *token_file(out)


class Ends(Tokenizing):
    """The files that name the end token."""

    def expect_ends(self, ids, *more):
        """Every document of the token file ends with these, and holds none."""
        figures, documents, recorded = self.tokenized(*more)
        self.assertEqual(figures["end_ids"], ids)
        self.assertEqual(len(documents), 20)
        tokenizer = trained()
        for i, document in enumerate(documents):
            plain = tokenizer.encode(f"The moon {i} rose.\n").ids
            self.assertEqual(document, plain + ids)
        self.assertEqual(recorded, None if ids == [USUAL] else ([], ids))
        return figures

    def test_the_tokenizers_files_as_transformers_reads_them(self):
        turn = {"content": "<|turn|>", "special": True}
        for config, special_map in [
            ({"eos_token": "<|end|>"}, None),
            ({"eos_token": turn | {"__type": "AddedToken"}}, None),
            (None, {"eos_token": "<|turn|>"}),
            ({}, {"eos_token": turn}),
            ({"eos_token": "<|end|>"}, {"eos_token": "<|turn|>"}),
            ({"eos_token": "<|end|>", "added_tokens_decoder": {
                "2": turn}}, {"eos_token": "<|turn|>"}),
        ]:
            for name, content in [("tokenizer_config.json", config),
                                  ("special_tokens_map.json", special_map)]:
                (self.parent / name).unlink(missing_ok=True)
                if content is not None:
                    write_json(self.parent, name, content)
            config = {"tokenizer_class": "PreTrainedTokenizerFast"} | (config or {})
            write_json(self.parent, "tokenizer_config.json", config)
            auto = transformers.AutoTokenizer.from_pretrained(self.parent)
            with self.subTest(config=config, map=special_map):
                self.expect_ends([auto.eos_token_id])

    def test_the_models_files(self):
        edit_config(self.parent, eos_token_id=END)
        self.expect_ends([END])
        edit_config(self.parent, eos_token_id=[TURN, USUAL])
        self.expect_ends([USUAL])

    def test_what_the_tokenizer_lacks_is_said(self):
        edit_config(self.parent, eos_token_id=50256)
        write_json(self.parent, "tokenizer_config.json", {"eos_token": "</s>"})
        notices = self.expect_ends([USUAL])["notices"]
        self.assertEqual(len(notices), 2)
        self.assertIn("eos_token '</s>' is no token", notices[0])
        self.assertIn("eos_token_id 50256 of config.json", notices[1])

    def test_where_none_is_known_a_flag_sets_it(self):
        trained(names=NAMES[:3]).save(str(self.parent / "tokenizer.json"))
        figures, documents, _ = self.tokenized()
        self.assertIn("names no end token", figures["notices"][0])
        self.assertEqual(figures["end_ids"], [])
        figures, documents, recorded = self.tokenized(
            "--end-token", "<|end|>", "--begin-token", str(BEGIN))
        self.assertEqual(figures["notices"], [])
        self.assertEqual(recorded, ([BEGIN], [END]))
        for document in documents:
            self.assertEqual((document[0], document[-1]), (BEGIN, END))
            self.assertEqual(sum(id < 3 for id in document), 2)
        self.refused("tokenize", self.text, "--tokenizer", self.parent, "--out",
                     self.folder / "x", "--end-token", "<eos>",
                     says=["end token", "'<eos>'", "none"])

    def test_post_processors_around_documents(self):
        post = TEMPLATE(single="<|begin|> $A <|end|>", special_tokens=SPECIAL)
        trained(post=post).save(str(self.parent / "tokenizer.json"))
        _, documents, recorded = self.tokenized()
        self.assertEqual(recorded, ([BEGIN], [END]))
        theirs = trained(post=post)
        for i, document in enumerate(documents):
            self.assertEqual(
                document, theirs.encode(f"The moon {i} rose.\n").ids)

    def test_all_ids_of_a_list_stop_as_in_transformers(self):
        model = transformers.AutoModelForCausalLM.from_pretrained(
            self.parent, dtype=torch.float32)
        prompt = trained().encode("The moon").ids
        greedy = self.greedy(model, prompt, 60)
        for ids in [[greedy[7]], [greedy[20], greedy[9]], greedy[3]]:
            write_json(self.parent, "generation_config.json",
                       {"eos_token_id": ids})
            theirs = self.greedy(model, prompt, 60, eos_token_id=ids)
            stops = ids if isinstance(ids, list) else [ids]
            self.assertIn(theirs.pop(), stops)
            ours = json.loads(self.done(
                "generate", self.parent, "--prompt", "The moon", "--json",
                "--max-new-tokens", 60).stdout)
            self.assertEqual(ours["tokens"], theirs)

    def greedy(self, model, prompt, count, **options):
        made = model.generate(
            torch.tensor([prompt]), do_sample=False, max_new_tokens=count,
            pad_token_id=0, suppress_tokens=[*range(290, 300)], **options)
        return made[0, len(prompt):].tolist()


class Separators(Tokenizing):
    """Texts that spell what parts their documents."""

    STORY = "Tim had a red ball number {}.\nHe was glad.\n"

    def stories(self, name, separator="<|endoftext|>\n", count=20):
        path = self.folder / name
        path.write_text("".join(
            self.STORY.format(i) + separator for i in range(count)))
        return path

    def test_stories(self):
        text = self.stories("stories.txt")
        figures, documents, _ = self.tokenized(text=text)
        self.assertEqual(len(documents), 1)
        self.assertEqual(sum(id == USUAL for id in documents[0]), 1)
        (notice,) = figures["notices"]
        self.assertIn("in 20 places ('<|endoftext|>' 20)", notice)
        self.assertIn("--split-at '<|endoftext|>'", notice)
        figures, documents, _ = self.tokenized("--split-at", "<|endoftext|>",
                                               text=text)
        self.assertEqual(figures["notices"], [])
        tokenizer = trained()
        self.assertEqual(documents, [
            tokenizer.encode(self.STORY.format(i)).ids + [USUAL]
            for i in range(20)])

    def test_other_separators(self):
        for i, (separator, split_at) in enumerate([
            ("\n%\n", "\n%\n"), ("<|endoftext|>\r\n", "<|endoftext|>"),
            ("<|end|>", "<|end|>"), ("***\n", "***")]):
            text = self.stories(f"{i}.txt", separator)
            _, documents, _ = self.tokenized("--split-at", split_at, text=text)
            self.assertEqual(len(documents), 20, separator)

    def test_texts_of_json_lines(self):
        text = self.folder / "stories.jsonl"
        text.write_text("".join(
            json.dumps({"text": f"a {i}<|endoftext|>b {i}\n<|endoftext|>\n"}) + "\n"
            for i in range(5)))
        _, documents, _ = self.tokenized("--split-at", "<|endoftext|>", text=text)
        tokenizer = trained()
        self.assertEqual(documents, [
            tokenizer.encode(words).ids + [USUAL]
            for i in range(5) for words in (f"a {i}", f"b {i}\n")])

    def test_evaluate_reads_as_tokenize_writes(self):
        text = self.stories("stories.txt")
        flags = ("--split-at", "<|endoftext|>", "--end-token", "<|end|>",
                 "--begin-token", "<|begin|>")
        self.tokenized(*flags, text=text)
        common = ("--sequence-length", 32, "--windows", 4, "--json")

        def loss(*arguments):
            result = self.done("evaluate", self.parent, *arguments, *common)
            return json.loads(result.stdout)["loss"]

        same = loss("--tokens", self.folder / "text.tokens")
        self.assertEqual(loss("--text", text, *flags), same)
        self.assertNotEqual(loss("--text", text), same)

    def test_a_plan(self):
        text = self.stories("stories.txt", count=60)
        cache = self.folder / "tokens"
        plan = dict(
            name="parted", tokenizer=str(self.parent),
            data=dict(text=[str(text)], sequence_length=16, cache_dir=str(cache),
                      split_at="<|endoftext|>", end_token=str(END),
                      begin_token="<|begin|>"),
            model=dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                       num_attention_heads=2),
            probe=dict(windows=1, length=16, router_tokens=16),
            phases=[dict(name="dense", train=dict(
                max_steps=1, learning_rate=1e-3, batch_size=1))])
        write_json(self.folder, "plan.yaml", plan)
        self.done("run", self.folder / "plan.yaml", "--out", self.folder / "run")
        (path,) = cache.glob("*.tokens")
        documents, recorded = token_file(path)
        self.assertEqual(recorded, ([BEGIN], [END]))
        tokenizer = trained()
        self.assertEqual(documents, [
            [BEGIN, *tokenizer.encode(self.STORY.format(i)).ids, END]
            for i in range(60)])
        # The checkpoint remembers: the same model with the same borders.
        made = json.loads(self.done(
            "generate", self.folder / "run/checkpoints/dense.pt", "--prompt",
            "Tim", "--max-new-tokens", 1, "--json").stdout)
        self.assertEqual(made["prompt_tokens"],
                         [BEGIN, *tokenizer.encode("Tim").ids])
        self.refused("run", self.folder / "plan.yaml", "--out",
                     self.folder / "other", "--set", "data.end_token=<eos>",
                     says="found '<eos>'")


if __name__ == "__main__":
    main()
