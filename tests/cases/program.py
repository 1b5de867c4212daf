"""The program as a user runs it, for the cases; what needs no torch."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

ANNULI = os.environ["ANNULI"]


def annuli(*arguments, cwd=None, **environment):
    """Runs the program; the result has returncode, stdout and stderr."""
    return subprocess.run(
        [ANNULI, *map(str, arguments)],
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        cwd=cwd,
        env=dict(os.environ, OMP_NUM_THREADS="1", TERM="dumb", **environment),
    )


class ProgramCase(unittest.TestCase):
    """A test with an empty folder, `self.folder`."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="annuli-case-")
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def done(self, *arguments, **options):
        """Runs what must succeed."""
        result = annuli(*arguments, **options)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result

    def refused(self, *arguments, says=(), **options):
        """Runs what must be refused: status 2 and one line, which holds each
        of the words of `says`."""
        result = annuli(*arguments, **options)
        self.assertEqual(result.returncode, 2, result.stdout + result.stderr)
        self.assertEqual(len(result.stderr.strip().splitlines()), 1, result.stderr)
        for words in [says] if isinstance(says, str) else says:
            self.assertIn(words, result.stderr)
        return result


def main():
    unittest.main(verbosity=2)
