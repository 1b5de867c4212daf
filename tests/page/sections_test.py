"""Every section of a page: there for new runs and old, at any width, in both
colours, and for those who do not see it."""

import json

from page_case import PICTURES, PageCase, quick_run, step_line, write_run
from program import main

SECTIONS = ["run", "loss", "growth", "rates", "experts", "parting", "depth",
            "cost", "verdicts", "samples", "lineage"]


class Sections(PageCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.run_folder = quick_run()

    def text(self, selector):
        return self.js(f"document.querySelector('{selector}').innerText")

    def test_pictures_without_a_serious_fault(self):
        for width in (1440, 390):
            for dark in (False, True):
                self.page(self.run_folder, width=width, dark=dark)
                self.assertEqual(self.faults(), [], f"{width} {dark}")
                over = self.js("document.documentElement.scrollWidth")
                self.assertLessEqual(over, width, "something is too wide")
                name = f"quick-{width}-{'dark' if dark else 'light'}.png"
                self.browser.whole_page(PICTURES / name, width)

    def test_axe_would_find_a_fault(self):
        self.page(self.run_folder)
        self.js("document.querySelector('.facts dd').style.color = '#eee'; "
                "document.documentElement.removeAttribute('lang')")
        self.assertEqual([fault[0] for fault in self.faults()],
                         ["color-contrast", "html-has-lang"])

    def test_what_the_run_is(self):
        self.page(self.run_folder)
        said = self.text("#run")
        for words in ("quick, seed 42", "adamw, fp32", "upcycle", "4 \u00d7 64",
                      "8 experts top-2", "verdicts passed"):
            self.assertIn(words, said)
        session = json.loads((self.run_folder / "sessions.jsonl").read_text())
        for words in (session["machines"][0]["processor"],
                      session["machines"][0]["kernels"] + " kernels",
                      f"{session['threads']} thread", session["started"][:10],
                      session["program"].get("commit", "annuli")):
            self.assertIn(words, said)
        self.assertIn("A finished run", self.text("header"))
        ids = self.js("[...document.querySelectorAll('section')].map((s) => s.id)")
        self.assertEqual(sorted(ids), sorted(SECTIONS))

    def test_verdicts_are_those_of_the_files(self):
        self.page(self.run_folder)
        written = []
        for path in sorted((self.run_folder / "verify").iterdir()):
            for verdicts in json.loads(path.read_text()).values():
                written += [(v["aspect"], v["measured"]) for v in verdicts]
        shown = self.js("FIGURES.find((one) => one.spec.id === 'verdict-chart')"
                        ".spec.rows().map((row) => [row[3], row[4]])")
        self.assertEqual(sorted(map(tuple, shown)), sorted(written))
        marks = self.js("document.querySelectorAll('#verdict-chart .row').length")
        self.assertEqual(marks, len(written))
        # A measure stands left of the limit if it holds.
        places = self.js(
            "[...document.querySelectorAll('#verdict-chart circle')].every("
            "(mark) => mark.getBoundingClientRect().left < document"
            ".querySelector('#verdict-chart .limit').getBoundingClientRect().left)")
        self.assertTrue(places)

    def test_load_lineage_and_samples(self):
        self.page(self.run_folder)
        load = self.js("FIGURES.find((one) => one.spec.id === 'load-chart')"
                       ".spec.rows()")
        first = next(json.loads(line) for line in
                     (self.run_folder / "training_history.jsonl").open()
                     if "expert_load" in line)
        slots = first["expert_load"][1]
        row = next(row for row in load if row[1:4] == [21, 1, 3])
        self.assertAlmostEqual(row[4], slots[3] * len(slots) / sum(slots),
                               delta=0.0051)
        records = json.loads((self.run_folder / "lineage.json").read_text())
        shown = self.js("[...document.querySelectorAll('.node-hash')]"
                        ".map((node) => node.textContent)")
        self.assertEqual(shown, [r["child"][:16] for r in records["records"]])
        self.assertIn("The miller", self.text("#samples"))
        phases = self.js("[...document.querySelectorAll('.samples')][0]"
                         ".querySelectorAll('h4').length")
        self.assertEqual(phases, 4)

    def test_an_old_run_has_what_it_has(self):
        lines = [dict(type="step", phase="only", step=i, loss=3.0 - i / 10,
                      tokens=10) for i in range(1, 6)]
        self.page(write_run(self.folder / "old", lines))
        for place, words in (("#experts", "no experts"), ("#growth", "not grown"),
                             ("#samples", "no samples"), ("#rates", "neither"),
                             ("#parting", "has not recorded"),
                             ("#depth", "has not recorded"),
                             ("#run", "not recorded by this run"),
                             ("#verdicts", "no verdicts"),
                             ("#lineage", "no lineage"),
                             ("header", "not finished")):
            self.assertIn(words, self.text(place))
        self.assertEqual(self.faults(), [])

    def test_a_run_of_one_step(self):
        self.page(write_run(self.folder / "one", [step_line(1, 3.0)]))
        self.assertNotIn("NaN", self.js("document.querySelector('main').innerHTML"))
        self.assertIn("phase dense, step 1", self.text("header"))

    def test_a_run_that_is_being_written(self):
        folder = write_run(self.folder / "live", [step_line(1, 3.0)])
        with open(folder / "training_history.jsonl", "a") as file:
            file.write('{"type":"step","phase":"de')
        result = self.done("report", folder, "--out", self.folder / "live.html")
        self.assertIn("last line", result.stdout)
        self.browser.open(self.folder / "live.html")
        self.assertIn("Its last line is cut", self.text("header"))

    def test_colours_follow_the_switch(self):
        self.page(self.run_folder)
        ground = "getComputedStyle(document.body).backgroundColor"
        light = self.js(ground)
        self.click("header button[data-value=dark]")
        dark = self.js(ground)
        self.assertNotEqual(light, dark)
        self.click("header button[data-value=auto]")
        self.assertEqual(self.js(ground), light)


if __name__ == "__main__":
    main()
