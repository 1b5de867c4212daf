"""Runs: training by a plan, and the history that it leaves."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import _program
from ._errors import UserError

# A line of a run's history: docs/formats.md, "training_history.jsonl".
Record = dict[str, Any]

_HISTORY = "training_history.jsonl"


def history(run: str | os.PathLike[str]) -> list[Record]:
    """The history of a run, also of one that is going on: one dict a line, which
    `pandas.DataFrame` takes. "type" tells steps from evaluations, phases and
    growths. A last line that is not whole yet is left out.
    """
    path = Path(run) / _HISTORY
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"reading {path}: {error.strerror}; expected the folder of a run"
        ) from None
    return [json.loads(line) for line in _whole_lines(data)]


def plan_help() -> str:
    """Every field of a plan, with its default and what it means."""
    return _program.call(["run"], [], {"plan-help": True})


def _whole_lines(data: bytes) -> list[bytes]:
    return data.split(b"\n")[:-1]


class Tail:
    """What a run adds to its history from now on.

    A run that goes on cuts its history back to where its state stood, and adds the
    steps anew: those are told, what stands before them is not. The records told
    are whole lines, in order, each once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: list[int] = []  # checksums of the lines seen
        self._bytes = 0  # that they take
        self._last = b""
        self._look()

    def new(self) -> list[Record]:
        """The records that were added since the last call."""
        return [json.loads(line) for line in self._look()]

    def _look(self) -> list[bytes]:
        try:
            with open(self._path, "rb") as file:
                if not self._is_continued(file.fileno()):
                    return self._read_anew(file.read())
                file.seek(self._bytes)
                return self._take(file.read())
        except FileNotFoundError:
            return []

    def _is_continued(self, descriptor: int) -> bool:
        begin = self._bytes - len(self._last)
        return os.pread(descriptor, len(self._last), begin) == self._last

    def _read_anew(self, data: bytes) -> list[bytes]:
        known, self._known, self._bytes, self._last = self._known, [], 0, b""
        lines = self._take(data)
        same = 0
        for before, now in zip(known, self._known):
            if before != now:
                break
            same += 1
        return lines[same:]

    def _take(self, data: bytes) -> list[bytes]:
        lines = _whole_lines(data)
        for line in lines:
            self._known.append(zlib.crc32(line))
            self._bytes += len(line) + 1
            self._last = line[-4096:] + b"\n"
        return lines


def run(
    plan: _program.Text,
    options: Mapping[str, Any],
    on_record: Callable[[Record], object] | None,
    quiet: bool,
) -> Path:
    folder = _folder_of(plan, options)
    tail = Tail(folder / _HISTORY) if on_record else None

    def tell() -> None:
        if tail is not None and on_record is not None:
            for record in tail.new():
                on_record(record)

    begin = time.time()
    _program.show(
        ["run"],
        [plan],
        options,
        quiet=quiet,
        on_look=tell,
        report_of=lambda: _verdicts_since(folder, begin),
    )
    return folder


def _folder_of(plan: _program.Text, options: Mapping[str, Any]) -> Path:
    if options.get("out") is not None:
        return Path(str(options["out"]))
    planned = _program.call_json(
        ["plan"], [plan], {"set": options.get("set"), "no-measure": True}
    )
    return Path(planned["output_dir"])


def _verdicts_since(folder: Path, begin: float) -> dict[str, Any] | None:
    """What the growth step that was just refused wrote."""
    written = [
        path
        for path in folder.glob("verify/*.json")
        if path.stat().st_mtime >= begin
    ]
    if not written:
        return None
    newest = max(written, key=lambda path: path.stat().st_mtime)
    report: dict[str, Any] = json.loads(newest.read_bytes())
    parts = ("growth", "after_phase")
    found = [verdict for part in parts for verdict in report.get(part, [])]
    return {**report, "verdicts": found}
