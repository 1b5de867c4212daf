"""Whatever texts a run holds, they are shown as texts."""

import json

from page_case import PageCase, step_line, write_run
from program import main

HOSTILE = [
    "</script><script>window.taken = 1</script>",
    "<img src=x onerror='window.taken = 2'>",
    "<!-- <script> -->",
    "\" onmouseover=\"window.taken = 3",
    "javascript:window.taken=4",
    "@@DATA@@",
    "${window.taken = 5}",
    "&lt;b&gt; \u2028 \u202e \u0000 \U0001f600",
    "__proto__",
    "constructor",
    "=cmd|' /C calc'!A0",
    "x" * 3000,
]


def verdict(text):
    return dict(check=text, aspect=text, passed=False, allowed=False,
                measured=2.0, limit=1.0, note=text, tensor=text)


class Hostile(PageCase):
    def test_texts_of_every_kind_are_only_shown(self):
        for text in HOSTILE:
            with self.subTest(text[:40]):
                self.page(self.hostile(text))
                self.assertIsNone(self.js("window.taken ?? null"))
                self.assertEqual(self.js("RUNS[0].phases[0].name"), text)
                shown = self.js("document.body.textContent")
                self.assertIn(text, shown)
                self.assertEqual(self.js("document.scripts.length"), 3)
                self.assertEqual(self.js("RUNS[0].sessions.length"), 2)
                self.assertEqual(self.js("document.querySelectorAll('img, iframe,"
                                         " object, embed').length"), 0)
                self.assertEqual(self.browser.requests(), [])

    def hostile(self, text):
        lines = [step_line(1, 3.0, text),
                 dict(type="boundary", phase=text, operator=text,
                      arguments={text: text}, exact=True, jump=0.5,
                      probe_loss_before=1, probe_loss_after=1.5, seconds=1),
                 step_line(1, 3.0, text + " b", expert_load=[[1, 2], [3, 0]]),
                 dict(type="evaluation", phase=text, step=1, eval_loss=2.0),
                 dict(type="rollback", phase=text, step=1, reason=text,
                      to_phase=text, to_step=0)]
        folder = write_run(self.folder / "run", lines)
        record = dict(operator=text, arguments={text: text}, seed=1, parent="",
                      child=text, tensors=[], verdicts=[verdict(text)],
                      versions={"annuli": text})
        (folder / "lineage.json").write_text(
            json.dumps(dict(format_version=1, records=[record])))
        machine = dict(processor=text, hardware_threads=1, memory_bytes=1,
                       kernels=text, processes=1)
        session = dict(started=text, phase=text, after_step=1, processes=1,
                       threads=1, program={text: text}, machines=[machine])
        (folder / "sessions.jsonl").write_text("".join(
            json.dumps(one) + "\n" for one in
            (session, session | {"machines": text}, text, None, {},
             session | {"threads": text}, session)) + "{")
        self.beside(folder / "verify", f"{text}.json",
                    json.dumps({"growth": [verdict(text)]}))
        self.beside(folder / "samples", f"{text}.txt",
                    f"=== {text}\n--- greedy\n{text} {text}\n")
        return folder

    @staticmethod
    def beside(folder, name, content):
        """Where a file can have that name."""
        folder.mkdir(exist_ok=True)
        try:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
        except (OSError, ValueError):
            pass

    def test_a_spreadsheet_gets_no_formula(self):
        self.page(self.hostile("=1+1"))
        cells = self.js("FIGURES.find((one) => one.spec.id === 'lineage-chart')"
                        ".csv()")
        self.assertIn("'=1+1", cells)
        self.assertNotIn(",=1+1", cells)

    def test_numbers_beyond_all_measure(self):
        lines = [step_line(1, 1e100), step_line(2, -1e100), step_line(3, 0),
                 step_line(4, 5e-324), step_line(-9, 1),
                 dict(type="evaluation", phase="dense", eval_loss="low"),
                 dict(type="boundary", phase="dense", jump=[1], operator=5)]
        lines[1].update(tokens=1e100, grad_norm=-1, learning_rate=None)
        lines[2].update(tokens_per_second=0, peak_memory_bytes=-1)
        self.page(write_run(self.folder / "run", lines))
        for axis in ("tokens", "seconds", "index"):
            for log in ("true", "false"):
                self.click(f"#loss button[data-value={axis}]")
                self.click(f"#loss button[data-value={log}]")
        rows = self.js("FIGURES.find((one) => one.spec.id === 'loss-chart')"
                       ".spec.rows()")
        self.assertNotIn("low", [row[2] for row in rows])
        drawn = self.js("[...document.querySelectorAll('path, line, circle')]"
                        ".every((one) => !/NaN|Infinity/.test(one.outerHTML))")
        self.assertTrue(drawn)


if __name__ == "__main__":
    main()
