#!/usr/bin/env python3
"""The driver's parts: load, disturbed steps, losses, groups, tables."""

import contextlib
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from training import cases, load, results, rounds
from training.contestant import Contestant, ContestantError

TICKS = load.TICKS


class Load(unittest.TestCase):
    def test_idle_and_waiting_for_disks_are_not_busy_but_a_thief_is(self):
        line = "cpu  100 20 30 5000 600 7 8 9 40 2\n"
        self.assertAlmostEqual(load.parse_stat(line), 174 / TICKS)

    def test_a_name_with_brackets_and_spaces(self):
        text = "12 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0\n"
        self.assertAlmostEqual(load.parse_process_stat(text), 200 / TICKS)

    def test_a_step_is_disturbed_by_more_than_the_limit(self):
        self.assertFalse(load.is_disturbed(0.05, 2.0))
        self.assertTrue(load.is_disturbed(0.07, 2.0))

    def test_what_the_counters_cannot_see_disturbs_nobody(self):
        self.assertFalse(load.is_disturbed(1.0, 2 / TICKS))
        self.assertTrue(load.is_disturbed(1.0, 5 / TICKS))

    def test_foreign_is_what_is_left_of_busy(self):
        window = load.Window(1)
        with mock.patch.object(load, "busy_seconds", side_effect=[10.0, 15.0]), \
                mock.patch.object(load, "own_seconds", side_effect=[3.0, 6.0]):
            window.begin()
            self.assertAlmostEqual(window.end(2.0), 1.0)

    def test_a_busy_process_beside_a_step_is_seen(self):
        spin = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            with fake("import time; time.sleep(1)") as contestant:
                step = contestant.step()
        finally:
            spin.kill()
            spin.wait()
        self.assertTrue(step["disturbed"], step)


@contextlib.contextmanager
def fake(body, ready='{"ready": true}', answer='{"seconds": 1}'):
    """A contestant that runs `body` for each step."""
    script = (f"import sys\nprint('{ready}', flush=True)\n"
              f"for line in sys.stdin:\n    {body}\n"
              f"    print('{answer}', flush=True)\n")
    with tempfile.TemporaryDirectory() as folder:
        contestant = Contestant("fake", [sys.executable, "-c", script],
                                Path(folder) / "log")
        try:
            contestant.start()
            yield contestant
        finally:
            contestant.stop()


class Contestants(unittest.TestCase):
    def test_the_argument_of_a_step_arrives(self):
        with fake("argument = line[5:].strip()",
                  answer="' + '{\"seconds\": 1, \"got\": %s}' % argument + '"
                  ) as contestant:
            self.assertEqual(contestant.step([[3, 4]])["got"], [[3, 4]])

    def test_its_end_is_told_with_its_last_words(self):
        with fake("sys.exit('no memory')") as contestant:
            with self.assertRaisesRegex(ContestantError, "status 1: no memory"):
                contestant.step()

    def test_an_error_and_nonsense_are_told(self):
        with fake("pass", answer='{"error": "does not compile"}') as contestant:
            with self.assertRaisesRegex(ContestantError, "does not compile"):
                contestant.step()
        with fake("pass", answer="hello") as contestant:
            with self.assertRaisesRegex(ContestantError, "hello"):
                contestant.step()


def step(seconds, disturbed=False, warm_up=False, **more):
    return {"seconds": seconds, "disturbed": disturbed, "warm_up": warm_up,
            "peak_memory_bytes": 1, **more}


class Figures(unittest.TestCase):
    def test_disturbed_steps_and_warm_ups_do_not_count(self):
        found = results.summary([
            step(0.5, warm_up=True), step(0.9, disturbed=True), step(1.0),
            step(1.2), step(2.0)])
        self.assertEqual(found["best_seconds"], 1.0)
        self.assertEqual(found["median_seconds"], 1.2)
        self.assertEqual((found["steps"], found["disturbed_steps"]), (4, 1))
        self.assertFalse(found["disturbed"])

    def test_figures_of_disturbed_steps_only_are_marked(self):
        found = results.summary([step(2.0, True), step(3.0, True)])
        self.assertEqual(found["best_seconds"], 2.0)
        self.assertTrue(found["disturbed"])
        self.assertIn("not usable", results.row_of(
            "ours", {**found, "tokens_per_second": 1.0}, {})[-1])

    def test_shares_and_ratios(self):
        group = group_of(ours=2.0, light=1.5, peer=5.0)
        whole = results.group_result(group, 100)
        results.add_shares([whole])
        found = whole["contestants"]
        self.assertAlmostEqual(found["ours"]["share_of_light"], 0.75)
        self.assertAlmostEqual(found["transformers"]["ours_times_faster"], 2.5)
        self.assertAlmostEqual(found["ours"]["tokens_per_second"], 50)
        rows = results.rows_of({"groups": [whole]})
        text = results.text_table(rows)
        self.assertIn("75.0 %", text)
        self.assertIn("2.50 x", text)
        self.assertRegex(text, "torch.compile +does not run: no compiler")
        self.assertIn("| 2.50 x |", results.markdown_table(rows))


    def test_notes(self):
        whole = results.group_result(group_of(ours=2.0, light=0.5, peer=5.0), 100)
        results.add_shares([whole])
        self.assertEqual(results.notes_of({"groups": [whole]}), [
            "speed of light: products of bf16, 2 GFLOP/s",
            "transformers: experts by eager; 2 graphs, 1 breaks"])

    def test_nothing_is_faster_than_light(self):
        whole = results.group_result(group_of(ours=1.0, light=1.2, peer=5.0), 100)
        results.add_shares([whole])
        self.assertIn("ours: faster than light",
                      results.notes_of({"groups": [whole]})[0])

    def test_shares_of_a_group_without_light(self):
        first = results.group_result(group_of(ours=2.0, light=1.5, peer=5.0), 100)
        second = results.group_result(group_of(ours=4.0, light=None, peer=8.0), 100)
        results.add_shares([first, second])
        peer = second["contestants"]["transformers"]
        self.assertAlmostEqual(peer["share_of_light"], 0.75 / 2)
        self.assertNotIn("share_of_light", second["contestants"]["ours"])


def group_of(ours, light, peer):
    group = mock.Mock(failures={"torch.compile": "no compiler"},
                      losses={"transformers": 0.0})
    group.contestants = []
    for name, seconds in ((cases.OURS, ours), (cases.LIGHT, light),
                          ("transformers", peer)):
        if seconds is None:
            continue
        contestant = Contestant(name, [], None)
        contestant.steps = [step(seconds, flops=1e9)]
        if name == cases.LIGHT:
            contestant.facts = {"products": "bf16"}
        if name == "transformers":
            contestant.facts = {"experts": "eager", "graphs": 2, "graph_breaks": 1}
        group.contestants.append(contestant)
    return group


class Losses(unittest.TestCase):
    def check(self, ours, theirs, dtype="fp32"):
        contestants = []
        for name, loss in ((cases.OURS, ours), ("transformers", theirs)):
            contestant = Contestant(name, [], None)
            contestant.steps = [{"loss": loss}]
            contestants.append(contestant)
        return rounds.first_losses(contestants, dtype)

    def test_rounding_is_let_pass_and_told(self):
        difference = self.check(10.8200, 10.8201)["transformers"]
        self.assertAlmostEqual(difference, 1e-4 / 10.8201)

    def test_another_model_fails(self):
        with self.assertRaisesRegex(ContestantError, "10.82.*10.83"):
            self.check(10.82, 10.83)
        with self.assertRaises(ContestantError):
            self.check(float("nan"), 10.83)

    def test_bf16_is_told_only(self):
        self.assertGreater(self.check(10.82, 10.83, "bf16")["transformers"], 1e-4)


class Groups(unittest.TestCase):
    plan = {"parameters": 340_000_000}
    case = cases.Case("mixture", "fp32")

    def test_a_large_machine_takes_all_at_once(self):
        peers = list(cases.PEERS)
        self.assertEqual(cases.packs(self.case, peers, self.plan, 1e12),
                         ([[cases.OURS, cases.LIGHT] + peers], {}))

    def test_groups_hold_what_fits_and_lose_nobody(self):
        peers = list(cases.PEERS)
        limit = 22e9
        groups, too_large = cases.packs(self.case, peers, self.plan, limit)
        self.assertEqual(too_large, {})
        self.assertGreater(len(groups), 1)
        members = [name for group in groups for name in group[1:]]
        self.assertEqual(sorted(members), sorted([cases.LIGHT] + peers))
        self.assertEqual(groups[0][:2], [cases.OURS, cases.LIGHT])
        for group in groups:
            self.assertEqual(group[0], cases.OURS)
            sizes = [cases.memory_of(self.case, name, self.plan)
                     for name in group]
            idle = sum(size[0] for size in sizes)
            for rest, peak in sizes:
                self.assertLessEqual(idle - rest + peak, limit)

    def test_without_peers_there_is_one_group(self):
        self.assertEqual(cases.packs(self.case, [], self.plan, 12e9),
                         ([[cases.OURS, cases.LIGHT]], {}))

    def test_a_peer_that_fits_nowhere_is_told_and_ours_must_fit(self):
        groups, too_large = cases.packs(self.case, ["transformers"], self.plan, 12e9)
        self.assertEqual(groups, [[cases.OURS, cases.LIGHT]])
        self.assertRegex(too_large["transformers"], "beside ours, 12.0 GB are free")
        with self.assertRaisesRegex(ContestantError, "speed of light takes"):
            cases.packs(self.case, [], self.plan, 1e9)

    def test_cases_by_part_of_their_name(self):
        names = lambda words: [case.name for case in cases.parse_cases(words)]
        self.assertEqual(len(names([])), 4)
        self.assertEqual(names(["bf16"]), ["dense bf16", "mixture bf16"])
        self.assertEqual(names(["mixture-fp32", "mixture"]),
                         ["mixture fp32", "mixture bf16"])
        with self.assertRaisesRegex(ValueError, "fp16"):
            names(["fp16"])


if __name__ == "__main__":
    unittest.main()
