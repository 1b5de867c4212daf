"""deb_test.py: makes the Debian package of the program in ANNULI_BUILD (default:
build/), has lintian judge it, unpacks it, and uses what it holds without installing
it: the program with its own libraries alone, page, completions and example.
"""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.setdefault("ANNULI_BUILD", str(ROOT / "build")))

folder: Path
package: Path
unpacked: Path


def run(*command, **options):
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, **options
    )


def setUpModule():
    global folder, package, unpacked
    folder = Path(tempfile.mkdtemp(prefix="annuli-deb-"))
    made = run(ROOT / "tools/deb", folder)
    if made.returncode != 0:
        raise AssertionError(made.stderr)
    package = Path(made.stdout.strip())
    unpacked = folder / "unpacked"
    subprocess.run(["dpkg-deb", "-x", package, unpacked], check=True)


def tearDownModule():
    shutil.rmtree(folder)


class Deb(unittest.TestCase):
    def test_lintian_has_nothing_to_say(self):
        judged = run("lintian", "--allow-root", "--fail-on=error,warning", package)
        self.assertEqual((judged.returncode, judged.stdout), (0, ""))

    def test_libraries_are_its_own_or_named(self):
        program = unpacked / "usr/bin/annuli"
        found = run("ldd", program.resolve()).stdout
        self.assertNotIn(str(ROOT), found)
        self.assertIn(str(unpacked / "usr/lib/annuli/torch/lib/libtorch_cpu.so"), found)
        needed = run("dpkg-deb", "-f", package, "Depends").stdout
        self.assertIn("libfmt9", needed)
        self.assertIn("libyaml-cpp0.7", needed)

    def test_the_program_says_what_the_build_says(self):
        program = unpacked / "usr/bin/annuli"
        for words in (["--version"], ["--commands"]):
            mine, its = run(program, *words), run(BUILD / "annuli", *words)
            self.assertEqual((mine.returncode, mine.stdout), (0, its.stdout))

    def test_the_example_runs_where_it_is_copied(self):
        here = folder / "example"
        shutil.copytree(unpacked / "usr/share/doc/annuli/examples", here)
        train = [word for phase in ("dense", "moe", "medium", "large") for word in
                 ("--set", f"phases.{phase}.train.max_steps=2")]
        done = run(unpacked / "usr/bin/annuli", "run", "quick.yaml", *train,
                   "--set", "threads=1", "--set", "allow=[symmetry_breaking]", cwd=here)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue((here / "runs/quick/summary.json").exists())

    def test_shells_and_man_find_theirs(self):
        share = unpacked / "usr/share"
        page = run("mandoc", "-Tlint", "-Werror", share / "man/man1/annuli.1.gz")
        self.assertEqual((page.returncode, page.stdout), (0, ""))
        bash = share / "bash-completion/completions/annuli"
        told = run("bash", "-c", f"source {bash} && complete -p annuli")
        self.assertIn("_annuli annuli", told.stdout)
        zsh = (share / "zsh/vendor-completions/_annuli").read_text()
        self.assertTrue(zsh.startswith("#compdef annuli"))


if __name__ == "__main__":
    unittest.main()
