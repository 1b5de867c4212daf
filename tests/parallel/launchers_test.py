"""The processes of annuli/parallel/peer_program.cpp, started by launchers that
are not ours."""

import os
import shutil
import subprocess
import sys
import unittest

PEER = os.environ["ANNULI_PARALLEL_PEER"]
LOST = 42  # how a peer ends that has lost another one


def run(*command):
    return subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        timeout=240,
        stdin=subprocess.DEVNULL,
    )


class Torchrun(unittest.TestCase):
    def torchrun(self, scenario, *options, processes=2):
        return run(sys.executable, "-m", "torch.distributed.run", "--standalone",
                   "--nproc-per-node", processes, *options, "--no-python", PEER,
                   scenario)

    def test_operations(self):
        result = self.torchrun("operations", processes=4)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_an_error_of_all_is_theirs(self):
        result = self.torchrun("other_facts")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("the program is '2.0' for rank 1 on ", result.stderr)

    def test_a_second_attempt_is_not_confused_by_the_first(self):
        result = self.torchrun("fails_at_first", "--max-restarts", 1)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout, "attempt 1\n")


@unittest.skipIf(shutil.which("mpirun") is None, "no mpirun on PATH")
class Mpirun(unittest.TestCase):
    def mpirun(self, scenario, processes):
        # A machine may have fewer cores than that, and a container be root's.
        root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
        return run("mpirun", *root, "--oversubscribe", "-n", processes, PEER,
                   scenario)

    def test_operations(self):
        for processes in (2, 4):
            result = self.mpirun("operations", processes)
            self.assertEqual(result.returncode, 0, result.stderr)

    def test_one_that_is_killed(self):
        result = self.mpirun("killed", 2)
        self.assertIn(result.returncode, (LOST, 128 + 9), result.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
