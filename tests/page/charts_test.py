"""What the charts of a page show is what the history says."""

import itertools
import json
import time
import xml.etree.ElementTree as xml

from page_case import (PICTURES, PageCase, history, quick_run, step_line, steps,
                       write_run)
from program import main


class Charts(PageCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.run_folder = quick_run()
        cls.steps = steps(cls.run_folder)
        cls.tokens = list(itertools.accumulate(s["tokens"] for s in cls.steps))

    def test_every_step_is_drawn_where_the_history_has_it(self):
        self.page(self.run_folder)
        points = self.drawn("loss-chart")
        self.assertEqual(len(points), len(self.steps))
        for point, step, tokens in zip(points, self.steps, self.tokens):
            self.assertEqual(point[0], tokens)
            self.assertClose(point[1], step["loss"])
        for chart, key in (("speed-chart", "tokens_per_second"),
                           ("memory-chart", "peak_memory_bytes"),
                           ("grad_norm-chart", "grad_norm"),
                           ("learning_rate-chart", "learning_rate")):
            points = self.drawn(chart, "path.line")
            self.assertEqual(len(points), len(self.steps))
            for point, step in zip(points, self.steps):
                self.assertClose(point[1], step[key], key)
        # What is lower on the screen is less.
        heights = [y for _, y in self.pixels("loss-chart")]
        losses = [step["loss"] for step in self.steps]
        self.assertEqual(len(heights), len(losses))
        order = sorted(range(len(losses)), key=lambda i: losses[i])
        for a, b in zip(order, order[1:]):
            self.assertGreaterEqual(heights[a], heights[b] - 0.01)

    def test_growth_is_a_line_between_the_steps_around_it(self):
        self.page(self.run_folder)
        lines = history(self.run_folder)
        expected, done = [], 0
        for line in lines:
            if line["type"] == "step":
                done += line["tokens"]
            if line["type"] == "boundary":
                expected.append((done, line))
        rules = self.js("[...document.querySelectorAll('#loss-chart .rule')].map("
                        "(rule) => [Number(rule.dataset.x), rule.textContent,"
                        " rule.querySelector('line').getBoundingClientRect().x])")
        pixels = [x for x, _ in self.pixels("loss-chart")]
        self.assertEqual([rule[0] for rule in rules], [x for x, _ in expected])
        for (x, line), (_, text, left) in zip(expected, rules):
            self.assertIn(line["operator"], text)
            last = self.tokens.index(x)
            self.assertGreaterEqual(left, pixels[last] - 1.5)
            self.assertLess(left, pixels[last + 1])

    def test_the_pointer_gives_the_figures_of_the_nearest_step(self):
        self.page(self.run_folder)
        for place in (3, 27, 61):
            x, y = self.pixels("loss-chart")[place]
            self.browser.move(x, y + 20)
            said = self.said("loss-chart")
            step = self.steps[place]
            self.assertIn(f"{step['phase']}, step {step['step']};", said)
            self.assertIn(f"loss {step['loss']:.4f}", said)
        boundary = next(line for line in history(self.run_folder)
                        if line["type"] == "boundary")
        x, y = self.pixels("loss-chart")[19]
        self.browser.move(x, y + 20)
        self.assertIn(f"growth: {boundary['operator']}", self.said("loss-chart"))
        self.assertIn("15 of 15 verdicts passed", self.said("loss-chart"))

    def test_arrow_keys_do_what_the_pointer_does(self):
        self.page(self.run_folder)
        self.js("document.querySelector('#loss-chart svg[role=img]').focus()")
        for key in ("Home", "ArrowRight", "ArrowRight"):
            self.browser.press(key)
        self.assertIn(f"loss {self.steps[2]['loss']:.4f}",
                      self.said("loss-chart"))
        self.browser.press("End")
        self.assertIn(f"loss {self.steps[-1]['loss']:.4f}",
                      self.said("loss-chart"))

    def test_what_is_measured_in_some_steps(self):
        self.page(self.run_folder)
        measured = [(tokens, step) for tokens, step in
                    zip(self.tokens, self.steps) if "update_ratio" in step]
        self.assertGreater(len(measured), 12)
        for key in ("copies_apart", "update_apart"):
            wanted = [(x, step[key]) for x, step in measured if key in step]
            points = self.drawn(f"{key}-chart", "path.line")
            self.assertEqual([point[0] for point in points],
                             [x for x, _ in wanted])
            for point, (_, value) in zip(points, wanted):
                self.assertClose(point[1], value, key)
        # The control is a level over each phase that grew.
        levels = self.js("FIGURES.find((one) => one.spec.id === "
                         "'copies_apart-chart').spec.rows()"
                         ".filter((row) => row[0].startsWith('control'))")
        boundaries = [line for line in history(self.run_folder)
                      if line["type"] == "boundary"]
        self.assertEqual(len(levels), 2 * len(boundaries))
        for i, line in enumerate(boundaries):
            for row in levels[2 * i:2 * i + 2]:
                self.assertClose(row[2], line["copies_apart"])
        # A logarithm has no place for those that are 0.
        drawn = self.drawn("copies_apart-chart",
                           "path.line[data-series^=control]")
        self.assertEqual(len(drawn), 2 * sum(
            line["copies_apart"] > 0 for line in boundaries))
        note = self.js("document.querySelector('#copies_apart-chart .note')"
                       ".textContent")
        self.assertIn("moe and large is 0", note)
        # Around the first growth, 20 steps of each phase.
        after = self.drawn("growth-0-update_ratio", "path.line[data-series$=after]")
        moe = [step for _, step in measured if step["phase"] == "moe"]
        after = after[:len(moe)]  # the rest is of the phase behind it
        self.assertEqual([point[0] for point in after],
                         [step["step"] for step in moe])
        for point, step in zip(after, moe):
            self.assertClose(point[1], step["update_ratio"])

    def test_norms_by_depth(self):
        self.page(self.run_folder)
        for number, phase in enumerate(("dense", "moe", "medium", "large")):
            lines = [step for step in self.steps
                     if step["phase"] == phase and "weight_rms" in step]
            for key in ("weight_rms", "stream_rms"):
                for line in (lines[0], lines[-1]):
                    step = line["step"]
                    series = f'path.line[data-series="step {step}"]'
                    points = self.drawn(f"{key}-{number}", series)
                    self.assertEqual([point[0] for point in points],
                                     list(range(len(line[key]))))
                    for point, value in zip(points, line[key]):
                        self.assertClose(point[1], value, (phase, key))
        pixels = self.pixels("stream_rms-1", 'path.line[data-series="step 1"]')
        self.browser.move(pixels[2][0], pixels[2][1])
        self.assertIn("layer 2", self.said("stream_rms-1"))
        self.assertIn("step 1 ", self.said("stream_rms-1"))

    def test_axes_and_scales_are_switched(self):
        self.page(self.run_folder)
        self.click("#loss button[data-value=seconds]")
        spent = list(itertools.accumulate(
            s["tokens"] / s["tokens_per_second"] for s in self.steps))
        grown = 0
        expected = iter(spent)
        points = iter(self.drawn("loss-chart"))
        for line in history(self.run_folder):
            if line["type"] == "boundary":
                grown += line["seconds"]
            if line["type"] == "step":
                self.assertClose(next(points)[0], next(expected) + grown)
        self.click("#loss button[data-value=flops]")
        plan = json.loads(self.done("plan", self.run_folder / "plan.yaml",
                                    "--no-measure", "--json").stdout)
        per_step = {p["name"]: p["step_flops"] for p in plan["phases"]}
        flops = itertools.accumulate(per_step[s["phase"]] for s in self.steps)
        for point, value in zip(self.drawn("loss-chart"), flops):
            self.assertClose(point[0], value)
        heights = [y for _, y in self.pixels("loss-chart")]
        self.click("#loss button[data-value=true]")
        self.assertNotEqual(heights, [y for _, y in self.pixels("loss-chart")])

    def test_a_part_is_seen_larger_and_then_the_whole_again(self):
        self.page(self.run_folder)
        whole = self.pixels("loss-chart")
        (x1, y1), (x2, _) = whole[10], whole[30]
        self.browser.drag(x1, y1 + 30, x2, y1 + 30)
        near = self.pixels("loss-chart")
        self.assertGreater(near[30][0] - near[10][0], 2 * (x2 - x1))
        self.js("document.querySelector('#loss-chart svg[role=img]').focus()")
        self.browser.press("Escape")
        self.assertEqual(self.pixels("loss-chart")[30][0], whole[30][0])

    def test_what_is_taken_away_has_the_same_figures(self):
        self.page(self.run_folder)
        chart = "FIGURES.find((one) => one.spec.id === 'loss-chart')"
        rows = self.js(f"{chart}.csv()").split("\r\n")
        loss = [row.split(",") for row in rows if row.startswith("loss,")]
        for row, step, tokens in zip(loss, self.steps, self.tokens, strict=True):
            self.assertEqual(int(row[1]), tokens)
            self.assertClose(float(row[2]), step["loss"])
        drawing = xml.fromstring(self.js(
            "svgText(document.querySelector('#loss-chart svg[role=img]'))"))
        self.assertEqual(drawing.tag, "{http://www.w3.org/2000/svg}svg")
        self.browser.call("Page.setDownloadBehavior", behavior="allow",
                          downloadPath=str(self.folder))
        for kind in ("CSV", "SVG"):
            self.click(f"#loss-chart [aria-label$='as {kind}']")
            path = self.folder / f"loss-chart.{kind.lower()}"
            for _ in range(200):
                if path.exists() and path.stat().st_size > 0:
                    break
                time.sleep(0.05)
            self.assertGreater(path.stat().st_size, 1000)
        self.click("#loss-chart summary")
        cells = self.js("[...document.querySelectorAll('#loss-chart td')].length")
        self.assertGreater(cells, 2 * len(self.steps))

    def test_runs_beside_each_other(self):
        other, third = (write_run(self.folder / name, [
            step_line(i + 1, start - i / 50) for i in range(count)])
            for name, start, count in (("other", 6, 300), ("third", 5, 100)))
        self.page(self.run_folder, other, third)
        labels = self.js("[...document.querySelectorAll('#loss-chart "
                         "path.line.faint')].map((line) => line.dataset.series)")
        self.assertEqual(len(labels), 3)
        self.assertEqual(len(set(labels)), 3)
        rows = self.js("DATA.comparison")
        self.assertEqual([row["axis"] for row in rows], ["tokens", "seconds"])
        self.assertEqual(rows[0]["at"], 10000, "where the shortest run ends")
        shown = self.js("document.querySelector('#loss tbody').innerText")
        for value in rows[0]["losses"]:
            self.assertIn(f"{value:.4f}", shown)
        self.click(".whose button[data-value='2']")
        self.assertIn("has not grown",
                      self.js("document.querySelector('#growth').innerText"))
        self.browser.whole_page(PICTURES / "three-runs-1440-light.png", 1440)

    def test_a_long_history_keeps_its_spikes_and_is_small(self):
        count = 1_000_000
        spikes = {123_456: 9.0, 123_999: 8.0, 900_001: 7.0}
        folder = self.folder / "long"
        folder.mkdir()
        with open(folder / "training_history.jsonl", "w") as file:
            for i in range(1, count + 1):
                loss = spikes.get(i, 2 + 3 / (1 + i / 50_000) + (i % 7) / 100)
                file.write('{"type":"step","phase":"p","step":%d,"loss":%.4f,'
                           '"grad_norm":1,"learning_rate":0.001,"tokens":256,'
                           '"tokens_per_second":500}\n' % (i, loss))
        page = self.page(folder)
        self.assertLess(page.stat().st_size, 3_000_000)
        drawn = {round(x / 256): y for x, y, _ in self.drawn("loss-chart")}
        for step, loss in spikes.items():
            self.assertEqual(drawn.get(step), loss)
        first = self.js("performance.getEntriesByName('first-chart')[0].startTime")
        print(f"\n  {page.stat().st_size} bytes, first chart after {first:.0f} ms")


if __name__ == "__main__":
    main()
