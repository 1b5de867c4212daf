"""A page that is served follows its runs, and keeps what its reader has chosen."""

import json
import os
import re
import signal

from page_case import ROOT, PageCase, step_line, steps, write_run
from program import annuli, main
from served import Program, Watch, append, until

DRAWN = "document.querySelectorAll('svg').length > 1"


def data_in(page):
    return json.loads(re.search(
        r'<script type="application/json" id="data">(.*?)</script>',
        page.read_text(), re.DOTALL)[1])


class WatchCase(PageCase):
    def tearDown(self):
        """Nothing but the server was asked."""
        allowed = re.compile(r"http://127\.0\.0\.1:\d+/(data|events\?.*|steps\?.*)?$")
        for url in self.browser.requests():
            self.assertRegex(url, allowed)
        self.assertEqual([one for one in self.browser.complaints()
                          if "net::ERR_" not in json.dumps(one)], [])
        self.browser.call("Page.navigate", url="about:blank")

    def watch(self, *runs, ready=DRAWN, options=()):
        served = Watch(self.folder / "watch.log", *runs, *options)
        self.addCleanup(served.end)
        self.browser.visit(served.url, ready)
        return served

    def sees(self, expression):
        """Waits until an expression holds in the page."""
        return until(lambda: self.js(expression), expression)

    def title(self, words):
        self.sees(f"document.title === {json.dumps(words)}")

    def same_as_report(self, *folders):
        """What the page has is what `annuli report` would have."""
        path = self.folder / "same.html"
        self.done("report", *folders, "--out", path)
        report = data_in(path)["runs"]
        drop = "({status, coarse, ...run}) => run"
        for i, run in enumerate(report):
            self.assertEqual(self.js(f"RUNS.map({drop})[{i}]"), run)

    def zoom(self, first, last):
        places = self.pixels("loss-chart")
        y = self.js("document.querySelector('#loss-chart svg[role=img]')"
                    ".getBoundingClientRect().top") + 200
        self.browser.drag(places[first][0], y, places[last][0], y)

    def domain(self):
        return self.js("FIGURES.find((one) => one.spec.id === 'loss-chart')"
                       ".chart.zoom")


class Watching(WatchCase):
    def test_new_steps_appear_where_the_charts_are(self):
        run = write_run(self.folder / "run",
                        [step_line(i, 5 - i / 100) for i in range(1, 41)])
        self.watch(run)
        self.title("run \u00b7 Annuli")
        self.js("window.mark = document.querySelector('#loss-chart')")
        for i in range(41, 100):
            append(run, step_line(i, 5 - i / 100))
        self.sees("d3.select('#loss-chart path.line.faint').datum().length === 99")
        self.assertTrue(self.js("window.mark.isConnected"), "drawn in its place")
        self.assertIn("step 99", self.js("document.querySelector('header').innerText"))
        self.assertIn("99", self.js("document.querySelector('#run table').innerText"))
        self.same_as_report(run)
        # A phase more: sections are built anew.
        append(run, dict(type="phase", phase="dense", active_parameters=10),
               dict(type="boundary", phase="moe", operator="upcycle", jump=0.01,
                    arguments={}, seconds=2.0),
               *(step_line(i, 4, "moe", expert_load=[[1, 2, 3, i]])
                 for i in range(1, 30)))
        self.sees("document.querySelectorAll('#loss-chart .rule').length === 1")
        self.sees("RUNS[0].steps.count === 128 && RUNS[0].loads.length === 1")
        self.same_as_report(run)
        append(run, step_line(30, 4, "moe", expert_load=[[1, 2, 3, 4]]))
        self.sees("FIGURES.find((one) => one.spec.id === 'growth-0-loss')"
                  ".spec.series()[1].points.length === 30")

    def test_zoom_and_switches_stay(self):
        lines = [step_line(i, 5 - i / 100) for i in range(1, 61)]
        run = write_run(self.folder / "run", lines)
        self.watch(run)
        self.click("#loss button[data-value=true]")
        self.click("#loss button[data-value=index]")
        self.zoom(10, 30)
        zoomed = self.domain()
        self.assertAlmostEqual(zoomed[0], 11, delta=1)
        self.click("#loss-chart summary")
        self.js("document.querySelector('#loss input').focus()")
        append(run, step_line(61, 3))
        self.sees("RUNS[0].steps.count === 61")
        self.assertEqual(self.domain(), zoomed)
        # So they do where all is built anew.
        append(run, dict(type="phase", phase="dense", active_parameters=10),
               step_line(1, 3, "second"))
        self.sees("RUNS[0].phases.length === 2")
        self.assertEqual(self.domain(), zoomed)
        self.assertEqual(self.js("choice.axis + choice.log"), "indextrue")
        self.assertTrue(self.js("document.querySelector('#loss-chart details').open"))
        self.assertEqual(self.js("document.activeElement.type"), "checkbox")
        pressed = self.js("document.querySelector('#loss button[data-value=index]')"
                          ".getAttribute('aria-pressed')")
        self.assertEqual(pressed, "true")

    def test_what_the_pointer_is_at_stays(self):
        run = write_run(self.folder / "run",
                        [step_line(i, 5 - i / 100) for i in range(1, 61)])
        self.watch(run)
        x, y = self.pixels("loss-chart")[20]
        self.browser.move(x, y + 20)
        self.assertIn("step 21;", self.said("loss-chart"))
        append(run, step_line(61, 3))
        self.sees("RUNS[0].steps.count === 61")
        self.assertIn("step 21;", self.said("loss-chart"))

    def test_the_title_says_what_is_wrong(self):
        run = write_run(self.folder / "run", [step_line(i, 3) for i in range(1, 9)])
        self.watch(run)
        self.title("run \u00b7 Annuli")
        self.assertEqual(self.js("document.querySelector('#live').innerText"), "Live.")
        self.assertEqual(self.js("document.querySelector('#live').ariaLive"), "polite")
        append(run, step_line(9, 8, loss_rise=5.0), step_line(10, 3))
        self.title("(!) spike at step 9 - run")
        self.assertEqual(self.faults(), [])
        self.assertIn("spike at step 9",
                      self.js("document.querySelector('#live').innerText"))
        (run / "verify").mkdir()
        (run / "verify/dense.json").write_text(json.dumps({"growth": [dict(
            check="tensor_audit", aspect="a", passed=False, measured=2, limit=1)]}))
        self.title("(!) failed: tensor_audit (dense), spike at step 9 - run")
        append(run, *(step_line(i, 3) for i in range(11, 111)))
        self.title("(!) failed: tensor_audit (dense) - run")
        (run / "verify/dense.json").write_text("{}")
        (run / "summary.json").write_text("{}")
        self.title("ended - run")
        self.same_as_report(run)

    def test_a_run_that_has_stalled(self):
        run = write_run(self.folder / "run", [step_line(i, 3) for i in range(1, 9)])
        os.utime(run / "training_history.jsonl", (1, 1))
        self.watch(run)
        self.title("(!) stalled - run")
        append(run, step_line(9, 3))
        self.title("run \u00b7 Annuli")

    def test_a_run_without_a_first_step(self):
        run = self.folder / "run"
        run.mkdir()
        (run / "plan.yaml").write_text((ROOT / "plans/tiny.yaml").read_text())
        self.watch(run, ready="document.title === 'waiting - Annuli'")
        self.assertIn("waiting for its first step",
                      self.js("document.body.innerText"))
        append(run, step_line(1, 3))
        self.sees("RUNS.length === 1 && " + DRAWN)
        self.same_as_report(run)
        # A run that begins anew takes its history away for a while.
        (run / "training_history.jsonl").unlink()
        self.title("waiting - Annuli")

    def test_texts_of_every_kind_are_only_shown(self):
        run = write_run(self.folder / "run", [step_line(1, 3)])
        self.watch(run)
        text = ("</script><script>window.taken = 1</script>\r\n\nevent: end\n\n"
                "<img src=x onerror='window.taken = 2'> \u2028 __proto__")
        append(run, dict(type="boundary", phase=text, operator=text, jump=0.5,
                         arguments={text: text}), step_line(1, 3, text),
               dict(type="rollback", phase=text, step=1, reason=text,
                    to_phase=text, to_step=0))
        self.sees(f"RUNS[0].phases.length === 2 && RUNS[0].phases[1].name === "
                  f"{json.dumps(text)}")
        self.sees(f"document.body.textContent.includes({json.dumps(text)})")
        self.assertIsNone(self.js("window.taken ?? null"))
        self.assertEqual(self.js("document.querySelectorAll('img').length"), 0)

    def test_a_history_that_is_cut_back(self):
        lines = [step_line(i, 5 - i / 100) for i in range(1, 61)]
        run = write_run(self.folder / "run", lines)
        self.watch(run)
        write_run(run, lines[:30] + [step_line(i, 2) for i in range(31, 70)])
        self.sees("RUNS[0].steps.count === 69")
        self.same_as_report(run)
        self.assertEqual(self.drawn("loss-chart")[30][1], 2)

    def test_a_zoom_into_a_long_history_asks_for_more(self):
        count = 30000
        run = write_run(self.folder / "run", [
            step_line(i, 3 + (i * 7919 % 100) / 100) for i in range(1, count + 1)])
        self.watch(run)
        self.click("#loss button[data-value=index]")
        reduced = self.js("RUNS[0].steps.index.length")
        self.assertLess(reduced, count / 2)
        self.zoom(reduced // 3, reduced * 2 // 5)
        first, last = (round(x) for x in self.domain())
        self.sees("RUNS[0].steps.index.filter((i) => i > %d && i < %d).length"
                  " >= %d" % (first, last, last - first - 1))
        self.zoom_further()
        # What comes meanwhile is put behind both.
        append(run, step_line(count + 1, 2))
        self.sees(f"RUNS[0].steps.count === {count + 1}")
        self.assertEqual(self.js("RUNS[0].steps.index.at(-1)"), count + 1)
        self.js("document.querySelector('#loss-chart svg[role=img]').focus()")
        self.browser.press("Escape")
        self.sees(f"RUNS[0].steps.index.length === {reduced + 1}")

    def zoom_further(self):
        """Into so few steps that all of them are drawn."""
        near = self.js("RUNS[0].steps.index.findIndex((i) => "
                       f"i > {sum(self.domain()) / 2})")
        self.zoom(near, near + 400)
        self.sees("(() => { const [a, b] = FIGURES.find((one) => one.spec.id === "
                  "'loss-chart').chart.zoom; const inside = d3.select("
                  "'#loss-chart path.line.faint').datum().filter((p) => p[0] > a &&"
                  " p[0] < b); return inside.length > 0 && inside.length === "
                  "inside.at(-1)[0] - inside[0][0] + 1; })()")
        a, b = self.domain()
        shown = [p for p in self.drawn("loss-chart") if a < p[0] < b]
        for x, y, _ in shown:
            self.assertAlmostEqual(y, 3 + (x * 7919 % 100) / 100, delta=1e-5)

    def test_runs_beside_each_other(self):
        a = write_run(self.folder / "a", [step_line(i, 3) for i in range(1, 9)])
        b = write_run(self.folder / "b", [step_line(i, 4) for i in range(1, 9)])
        self.watch(a, b)
        append(b, step_line(9, 9, loss_rise=5.0))
        self.title("(!) spike at step 9 (b) - a \u00b7 b")
        self.same_as_report(a, b)
        append(a, step_line(9, 3))
        self.sees("DATA.comparison[0].at === 900")
        self.sees("document.querySelector('#loss tbody').innerText.includes('900')")

    def test_a_server_that_ends_and_comes_back(self):
        run = write_run(self.folder / "run", [step_line(1, 3)])
        served = self.watch(run)
        self.assertEqual(served.end(), 128 + signal.SIGTERM)
        self.assertIn("stopped watching", served.said())
        self.sees("document.querySelector('#live').innerText.includes("
                  "'the server has ended')")
        self.assertTrue(self.js("document.title.startsWith('(!)')"))
        append(run, step_line(2, 3))
        again = Watch(self.folder / "again.log", run, "--port", str(served.port))
        self.addCleanup(again.end)
        self.sees("RUNS[0].steps.count === 2")
        self.title("run \u00b7 Annuli")

    def test_ctrl_c_ends_it(self):
        run = write_run(self.folder / "run", [step_line(1, 3)])
        self.assertEqual(self.watch(run).end(signal.SIGINT), 128 + signal.SIGINT)


class Running(WatchCase):
    """Runs of the program itself."""

    def quick(self, *more):
        return ("run", "plans/tiny.yaml", "--out", self.folder / "run", "--set",
                f"data.cache_dir={self.folder / 'tokens'}", *more)

    def test_a_run_killed_and_resumed_under_its_page(self):
        run = self.folder / "run"
        many = ("--set", "phases.0.train.max_steps=3000", "--set", "save_steps=50")
        first = Program(self.folder / "run.log", *self.quick(*many), cwd=ROOT)
        self.addCleanup(first.end, signal.SIGKILL)
        history = run / "training_history.jsonl"
        until(lambda: history.exists() and len(steps_so_far(history)) > 120)
        self.watch(run)
        before = self.js("RUNS[0].steps.count")
        self.sees(f"RUNS[0].steps.count > {before}")
        first.end(signal.SIGKILL)
        left = len(steps_so_far(history))
        self.sees(f"RUNS[0].steps.count === {left}")
        resumed = Program(self.folder / "resumed.log",
                          *self.quick(*many, "--resume"), cwd=ROOT)
        self.addCleanup(resumed.end, signal.SIGKILL)
        self.sees(f"RUNS[0].steps.count > {left + 50}")
        resumed.end()
        count = len(steps(run))
        self.sees(f"RUNS[0].steps.count === {count}")
        numbers = self.js("RUNS[0].steps.step")
        self.assertEqual(numbers, list(range(1, count + 1)))
        self.same_as_report(run)

    def test_a_run_with_its_page(self):
        beside = Program(self.folder / "run.log", *self.quick(
            "--watch=0", "--set", "phases.0.train.max_steps=2000"), cwd=ROOT)
        self.addCleanup(beside.end)
        self.browser.visit(beside.address(), DRAWN + " || document.title === "
                           "'waiting - Annuli'")
        self.sees("RUNS.length === 1 && RUNS[0].steps.count > 10")
        self.sees("document.querySelector('#live').innerText.includes("
                  "'the server has ended')")
        self.assertEqual(beside.process.wait(60), 0, beside.said())
        self.assertIn("has ended with the run", beside.said())
        self.assertTrue(self.js("RUNS[0].finished"), "the last of it was given")
        self.same_as_report(self.folder / "run")

    def test_the_page_of_several_processes_ends_with_them(self):
        beside = Program(self.folder / "run.log", *self.quick(
            "--watch=0", "--processes", "2", "--set",
            "phases.0.train.max_steps=100000", "--set",
            "phases.large.train.batch_size=2", *(word for i in range(4) for word in
            ("--set", f"phases.{i}.train.micro_batch_size=1"))), cwd=ROOT)
        self.addCleanup(beside.end, signal.SIGKILL)
        self.browser.visit(beside.address(), DRAWN + " || document.title === "
                           "'waiting - Annuli'")
        self.assertEqual(beside.said().count("watching "), 1)
        self.sees("RUNS.length === 1 && RUNS[0].steps.count > 3")
        beside.end(signal.SIGKILL)
        self.sees("document.querySelector('#live').innerText.includes('Not live')")

    def test_a_port_that_is_taken_is_said_before_anything_is_made(self):
        run = write_run(self.folder / "other", [step_line(1, 3)])
        served = self.watch(run)
        for arguments in (self.quick(f"--watch={served.port}"),
                          ("watch", run, "--port", served.port)):
            result = annuli(*arguments, cwd=ROOT)
            self.assertEqual(result.returncode, 2)
            self.assertEqual(result.stderr.count("\n"), 1)
            self.assertIn("another program has it", result.stderr)
        self.assertFalse((self.folder / "run").exists())


def steps_so_far(history):
    lines = history.read_text().splitlines(keepends=True)
    return [line for line in lines
            if line.endswith("\n") and '"type":"step"' in line]


if __name__ == "__main__":
    main()
