"""The cards of models that the program wrote, read by the Hub's own library."""

import json
import re
import xml.etree.ElementTree as xml
from pathlib import Path

from huggingface_hub import ModelCard

from case import Case, main

ROOT = Path(__file__).resolve().parents[2]


class ModelCards(Case):
    def card(self, name):
        return ModelCard.load(self.folder / name / "README.md")

    def test_of_a_model_of_the_hub(self):
        parent = self.saved("models--acme--tiny/snapshots/0")
        (parent / "README.md").write_text(
            "---\nlicense: apache-2.0\nbase_model: acme/older\n---\n# Tiny\n")
        self.done("grow", "upcycle", parent, "--out", self.folder / "child",
                  "--num-experts", 4)
        card = self.card("child")
        self.assertEqual(card.data.base_model, ["acme/tiny"])
        self.assertEqual(card.data.license, "apache-2.0")
        self.assertEqual(card.data.library_name, "transformers")
        self.assertLessEqual({"annuli", "upcycle", "moe"}, set(card.data.tags))
        self.assertIn("It was grown by `upcycle`", card.text)
        # A grandchild is still of that model.
        self.done("grow", "widen", self.folder / "child", "--out",
                  self.folder / "grandchild")
        self.assertEqual(self.card("grandchild").data.base_model, ["acme/tiny"])
        self.done("export", self.folder / "grandchild", "--out",
                  self.folder / "copy", "--dtype", "bf16")
        self.assertEqual(self.card("copy").data.license, "apache-2.0")

    def test_of_several_models(self):
        for name in ("one", "two"):
            self.saved(f"models--acme--{name}/snapshots/0")
        self.done("grow", "merge-experts",
                  self.folder / "models--acme--one/snapshots/0", "--with",
                  self.folder / "models--acme--two/snapshots/0",
                  "--out", self.folder / "merged")
        data = self.card("merged").data.to_dict()
        self.assertEqual(data["base_model"], ["acme/one", "acme/two"])
        self.assertEqual(data["base_model_relation"], "merge")

    def test_of_a_run(self):
        run = self.folder / "run"
        self.done("run", "plans/tiny.yaml", "--out", run, "--set",
                  f"data.cache_dir={self.folder / 'tokens'}", cwd=ROOT)
        self.done("export", run / "checkpoints/medium_moe_final.pt",
                  "--out", self.folder / "medium")
        card = self.card("medium")
        history = [json.loads(line) for line in
                   (run / "training_history.jsonl").read_text().splitlines()]
        held_out = [line for line in history if line["type"] == "evaluation"
                    and line["phase"] == "medium"]
        results = {result.metric_type: result.metric_value
                   for result in card.data.eval_results}
        self.assertAlmostEqual(results["loss"], held_out[-1]["eval_loss"], 4)
        self.assertIn("| dense | 3 |", card.text)
        self.assertNotIn("| large |", card.text)
        svg = re.search("<svg.*</svg>", card.text, re.DOTALL).group()
        points = xml.fromstring(svg).find(
            "{http://www.w3.org/2000/svg}polyline").get("points").split()
        steps = [line for line in history if line["type"] == "step"
                 and line["phase"] in ("dense", "moe", "medium")]
        self.assertEqual(len(points), len(steps))


if __name__ == "__main__":
    main()
