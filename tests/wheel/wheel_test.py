"""wheel_test.py: makes the wheel of the program in ANNULI_BUILD (default: build/),
installs it into fresh environments, and tests what is installed.

The environments see the torch of the Python that runs this, so that none is fetched:
one by a .pth file, as an environment that sees another's packages, one by links
beside the package, as where pip has installed both. The module's own tests
(module_test.py, memory_test.py, optimizer_test.py, dynamics_test.py, trainer_test.py,
peak.py) and the examples of docs/python.md run in the first.
"""

import json
import os
import re
import shutil
import site
import subprocess
import sys
import tarfile
import tempfile
import unittest
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PACKAGES = Path(site.getsitepackages()[0])
BUILD = Path(os.environ.setdefault("ANNULI_BUILD", str(ROOT / "build")))
MOST_BYTES = 20e6
MOST_SOURCE_BYTES = 3e6

folder: Path
wheel: Path


def run(*command, **options):
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, **options
    )


def setUpModule():
    global folder, wheel
    folder = Path(tempfile.mkdtemp(prefix="annuli-wheel-"))
    made = run(ROOT / "tools/wheel", folder / "dist")
    if made.returncode != 0:
        raise AssertionError(made.stderr)
    wheel = Path(made.stdout.strip())


def tearDownModule():
    shutil.rmtree(folder)


def environment(name):
    """A fresh environment with the wheel in it, and its folder of packages."""
    venv.create(folder / name, with_pip=False)
    python = folder / name / "bin/python"
    installed = run(
        sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check",
        "install", "--no-index", "--no-deps", wheel)
    if installed.returncode != 0:
        raise AssertionError(installed.stderr)
    return python, next((folder / name).glob("lib/python3*/site-packages"))


def link_torch(packages):
    for name in ("torch", "nvidia"):
        (packages / name).symlink_to(PACKAGES / name)
    info = next(PACKAGES.glob("torch-*.dist-info"))
    (packages / info.name).symlink_to(info)


def examples():
    """The Python of docs/python.md, in one piece."""
    text = (ROOT / "docs/python.md").read_text()
    return "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.M | re.S))


class Wheel(unittest.TestCase):
    def test_holds_nothing_of_others_and_names_torch(self):
        self.assertLess(wheel.stat().st_size, MOST_BYTES)
        self.assertRegex(wheel.name, r"-py3-none-manylinux_2_\d+_x86_64\.whl$")
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            metadata = next(n for n in names if n.endswith("/METADATA"))
            text = archive.read(metadata).decode()
        libraries = [n for n in names if ".so" in n]
        alien = [n for n in libraries if re.search("torch|c10|nvidia|cuda|gomp|arrow", n)]
        self.assertEqual(alien, [])
        linked = json.loads(run(BUILD / "annuli", "--commands").stdout)["torch"]
        series = ".".join(linked.split(".")[:2])
        self.assertIn(f"Requires-Dist: torch=={series}.*\n", text)

    def test_licences_of_what_it_carries(self):
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
        carried = [n for n in names if n.startswith("annuli.libs/lib")]
        self.assertTrue(carried)
        licences = " ".join(n for n in names if "/licenses/" in n)
        for library in carried:
            stem = re.match(r"annuli\.libs/lib([a-z]+)", library)[1]
            # libcrypto and libbrotlidec are of the packages libssl3 and libbrotli1.
            stem = {"crypto": "ssl"}.get(stem, stem)
            self.assertIn(stem[:6], licences, library)

    def test_finds_nothing_by_paths_of_the_machine_that_made_it(self):
        python, packages = environment("paths")
        for binary in (packages / "annuli/bin").iterdir():
            found = run("readelf", "-d", binary).stdout
            (path,) = re.findall(r"\(RPATH\).*\[(.*)\]", found)
            for part in path.split(":"):
                self.assertTrue(part.startswith("$ORIGIN"), f"{binary.name}: {path}")
            self.assertNotIn("RUNPATH", found)

    def test_torch_beside_it(self):
        python, packages = environment("beside")
        command = python.parent / "annuli"
        before = run(command, "--version")
        self.assertEqual((before.returncode, before.stdout), (2, ""))
        self.assertRegex(
            before.stderr, r"\Aannuli: starting: found no torch .*pip install.*\n\Z")
        link_torch(packages)
        expected = run(BUILD / "annuli", "--version").stdout
        for words in ((command,), (python, "-m", "annuli")):
            after = run(*words, "--version")
            self.assertEqual((after.returncode, after.stdout), (0, expected))
        self.assert_reads_parquet(python, packages)

    def assert_reads_parquet(self, python, packages):
        """Once pyarrow stands beside it, and in one line before."""
        made = run(
            sys.executable, "-c",
            "import pyarrow, sys, pyarrow.parquet as p;"
            "p.write_table(pyarrow.table({'text': ['a' * 99]}), sys.argv[1])",
            folder / "a.parquet")
        self.assertEqual(made.stderr, "")
        words = (
            python, "-m", "annuli", "tokenize", folder / "a.parquet", "--tokenizer",
            "bytes", "--out", folder / "a.tokens")
        without = run(*words)
        self.assertEqual(without.returncode, 2)
        self.assertRegex(without.stderr, r"\A.*pip install 'annuli\[parquet\]'\n\Z")
        (packages / "pyarrow").symlink_to(PACKAGES / "pyarrow")
        self.assertEqual(run(*words).returncode, 0)

    def test_torch_of_another_series(self):
        python, packages = environment("other")
        link_torch(packages)
        info = next(packages.glob("torch-*.dist-info"))
        info.unlink()
        (packages / "torch-2.99.1+cpu.dist-info").mkdir()
        other = run(python.parent / "annuli", "--version")
        self.assertEqual((other.returncode, other.stdout), (2, ""))
        self.assertRegex(
            other.stderr,
            r"\Aannuli: starting: found torch 2\.99\.1\+cpu .*, expected torch \d.*\n\Z")
        # The module says the same.
        raised = run(
            python, "-c",
            "import annuli\ntry: annuli.env()\n"
            "except annuli.UserError as error: print('annuli:', error)")
        self.assertEqual(raised.stdout, other.stderr)


class Metadata(unittest.TestCase):
    """What python/pinned.py says of a package, in a folder of few files."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        shutil.copytree(ROOT / "tools/locks", self.folder / "tools/locks")
        shutil.copy(ROOT / "CMakeLists.txt", self.folder)
        text = (ROOT / "tools/locks/torch.txt").read_text()
        self.default = re.search(r"^torch==(\d+\.\d+)\.", text, re.M)[1]

    def said(self):
        done = run(
            sys.executable, "-c",
            "import json, pinned; print(json.dumps(pinned.dynamic_metadata({}, {})))",
            cwd=self.folder, env=os.environ | {"PYTHONPATH": str(ROOT / "python")})
        self.assertEqual(done.returncode, 0, done.stderr)
        said = json.loads(done.stdout)
        return said["version"], said["dependencies"]

    def stage(self, torch):
        staged = self.folder / "build/wheel/annuli"
        staged.mkdir(parents=True, exist_ok=True)
        (staged / "_versions.py").write_text(f'VERSION = "9"\nTORCH = "{torch}"\n')

    def test_a_wheel_names_the_torch_it_was_linked_with(self):
        self.stage(f"{self.default}.7")
        version, depends = self.said()
        self.assertRegex(version, r"\A\d+\.\d+\.\d+\Z")
        self.assertEqual(depends, [f"torch=={self.default}.*"])
        self.stage("2.99.1+cpu")
        self.assertEqual(self.said(), (f"{version}+torch2.99", ["torch==2.99.*"]))

    def test_sources_name_none_until_they_are_built(self):
        version, depends = self.said()
        self.assertEqual(depends, ["torch"])
        (self.folder / "PKG-INFO").touch()
        self.stage("2.99.1")
        import torch

        series = ".".join(torch.__version__.split(".")[:2])
        self.assertEqual(self.said(), (version, [f"torch=={series}.*"]))


class Sources(unittest.TestCase):
    def test_hold_what_git_holds_and_nothing_made(self):
        made = run(ROOT / "tools/wheel", "--sdist", folder / "sources")
        self.assertEqual(made.returncode, 0, made.stderr)
        archive = Path(made.stdout.strip())
        self.assertRegex(archive.name, r"\Aannuli-\d+\.\d+\.\d+\.tar\.gz\Z")
        self.assertLess(archive.stat().st_size, MOST_SOURCE_BYTES)
        with tarfile.open(archive) as tar:
            held = {name.split("/", 1)[1] for name in tar.getnames()} - {"PKG-INFO"}
        # What is new and not yet in git is there too, as it is built.
        kept = run(
            "git", "-C", ROOT, "ls-files", "--cached", "--others",
            "--exclude-standard").stdout.splitlines()
        left_out = re.compile(
            r"\.|(benchmarks|plans/studies)/results/|docs/pictures/")
        self.assertEqual(held, {name for name in kept if not left_out.match(name)})


class Module(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.python, packages = environment("module")
        # The second has what transformers' Trainer needs.
        (packages / "tests.pth").write_text(f"{PACKAGES}\n{ROOT / 'build/trainer'}\n")

    def run_here(self, *words):
        (folder / "work").mkdir(exist_ok=True)
        done = run(self.python, *words, cwd=folder / "work")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done

    def test_module(self):
        self.run_here(HERE / "module_test.py")

    def test_growth_in_memory(self):
        self.run_here(HERE / "memory_test.py")

    def test_optimizers_of_growth_in_memory(self):
        self.run_here(HERE / "optimizer_test.py")

    def test_exact_dynamics(self):
        self.run_here(HERE / "dynamics_test.py")

    def test_growth_in_a_trainer(self):
        self.run_here(HERE / "trainer_test.py")

    def test_memory_that_growth_takes(self):
        """Of 0.5 GB, where the limits of 1 GB leave out no term."""
        for words in ((), ("--consume",)):
            self.run_here(HERE / "peak.py", "50", *words)

    def test_examples(self):
        (folder / "examples.py").write_text(examples())
        self.run_here(folder / "examples.py")

    def test_types(self):
        checked = run(
            sys.executable, "-m", "mypy", "--strict", "--python-executable", self.python,
            "--cache-dir", folder / "mypy", "-p", "annuli",
            env=os.environ | {"PYTHONPATH": str(ROOT / "build/wheel_tools")})
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        wrong = 'annuli.grow.widen("a", out="b", facter=2)\nannuli.export("a", out="b", dtype="f8")\n'
        files = [path.read_text() for path in sorted((ROOT / "examples").glob("*.py"))]
        right = [(text, 0) for text in (examples(), *files)]
        for text, status in (*right, ("import annuli\n" + wrong, 1)):
            (folder / "typed.py").write_text(text)
            checked = run(
                sys.executable, "-m", "mypy", "--strict", "--python-executable",
                self.python, "--cache-dir", folder / "mypy", folder / "typed.py",
                env=os.environ | {"PYTHONPATH": str(ROOT / "build/wheel_tools")})
            self.assertEqual(checked.returncode, status, checked.stdout + checked.stderr)
            self.assertEqual(checked.stdout.count("error: "), 2 * status)


if __name__ == "__main__":
    unittest.main()
