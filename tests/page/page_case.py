"""What the tests of the page share: a run, its page, and the browser on it."""

import fcntl
import json
import os
import shutil
from pathlib import Path

from browser import Browser
from program import ANNULI, ProgramCase, annuli

ROOT = Path(os.environ["ANNULI_ROOT"])
PICTURES = Path(os.environ["ANNULI_PICTURES"])
AXE = (ROOT / "build/axe/axe_playwright_python/axe.min.js").read_text()
PICTURES.mkdir(parents=True, exist_ok=True)


def history(folder):
    lines = (Path(folder) / "training_history.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def steps(folder):
    return [line for line in history(folder) if line["type"] == "step"]


def step_line(number, loss, phase="dense", **more):
    return dict(type="step", phase=phase, step=number, loss=loss, grad_norm=1.0,
                learning_rate=1e-3, tokens=100, tokens_per_second=1000.0,
                peak_memory_bytes=10**8, **more)


def write_run(folder, lines, **files):
    """A run's folder of these lines of a history, and texts by their path."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "training_history.jsonl").write_text(text)
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def quick_run():
    """The run of plans/quick.yaml that the tests look at. The first test that asks
    makes it, whichever process that is; it is made anew for a new program."""
    base = PICTURES.parent
    base.mkdir(parents=True, exist_ok=True)
    with open(base / "run.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = base / f"run-{os.stat(ANNULI).st_mtime_ns}" / "quick"
        if (folder / "summary.json").exists():
            return folder
        for old in base.glob("run-*"):
            shutil.rmtree(old)
        made = annuli("run", "plans/quick.yaml", "--out", folder, "--set",
                      f"data.cache_dir={folder.parent / 'tokens'}", cwd=ROOT)
        if made.returncode != 0:
            raise RuntimeError(made.stderr)
        return folder


class PageCase(ProgramCase):
    """A test with one browser for all methods. Whatever a page does, it asks for
    nothing and has no complaint."""

    @classmethod
    def setUpClass(cls):
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)

    def page(self, *runs, name="page.html", **view):
        """Makes the page of runs and opens it; returns its path."""
        path = self.folder / name
        self.done("report", *runs, "--out", path, cwd=ROOT)
        self.browser.open(path, **view)
        return path

    def tearDown(self):
        self.assertEqual(self.browser.requests(), [])
        self.assertEqual(self.browser.complaints(), [])

    def js(self, expression):
        return self.browser.evaluate(expression)

    def click(self, selector):
        found = self.js(f"(() => {{ const found = document.querySelector("
                        f"{json.dumps(selector)}); found?.click(); "
                        f"return found !== null; }})()")
        self.assertTrue(found, selector)
        self.browser.settle()

    def faults(self):
        """What axe-core finds to be serious."""
        self.js(AXE + ";true")
        found = self.js("axe.run().then((result) => result.violations.filter("
                        "(one) => ['serious', 'critical'].includes(one.impact))"
                        ".map((one) => [one.id, one.nodes.length,"
                        " one.nodes[0].html, one.nodes[0].failureSummary]))")
        return found

    def drawn(self, chart, series="path.line.faint"):
        """The points of a drawn line, as [x, y, place]."""
        return self.js(f"d3.select('#{chart} {series}').datum()")

    def said(self, chart):
        """The text at the pointer."""
        return self.js(f"document.querySelector('#{chart} .says').innerText")

    def pixels(self, chart, series="path.line.faint"):
        """Where the points of a line are on the screen."""
        return self.js(
            f"(() => {{ const path = document.querySelector('#{chart} {series}');"
            " path.scrollIntoView({block: 'center', behavior: 'instant'});"
            " const box = path.ownerSVGElement.getBoundingClientRect();"
            " return path.getAttribute('d').slice(1).split('L').map((place) =>"
            " place.split(',').map(Number))"
            ".map(([x, y]) => [x + box.left, y + box.top]); })()")

    def assertClose(self, ours, theirs, where=""):
        # The page has seven digits.
        self.assertAlmostEqual(ours, theirs, delta=1e-6 * abs(theirs) + 1e-30,
                               msg=where)
