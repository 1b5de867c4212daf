"""Calls the program, and turns its exit status into an exception."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from ._errors import Error, Interrupted, ProgramError, UserError, VerdictError
from ._start import TorchMissing, environment, program

# What the program reads as text: a path, a size, a number.
Text = str | os.PathLike[str] | int | float

# Seconds between two looks at what a run has written.
_LOOK = 0.1

_SIGNALLED = 128


class Joined:
    """Values that one option takes with commas between them."""

    def __init__(self, values: Text | Sequence[Text] | None) -> None:
        self.values = _as_list(values)


def _as_list(values: Text | Sequence[Text] | None) -> list[str]:
    if values is None:
        return []
    if isinstance(values, (list, tuple)):
        return [_text(value) for value in values]
    return [_text(values)]


def _text(value: Any) -> str:
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)


def _flags(options: Mapping[str, Any]) -> list[str]:
    words = []
    for name, value in options.items():
        if value is None or value is False:
            continue
        if value is True:
            words.append(f"--{name}")
        elif isinstance(value, Joined):
            if value.values:
                words.append(f"--{name}={','.join(value.values)}")
        else:
            words += [f"--{name}={text}" for text in _as_list(value)]
    return words


class _Child:
    """The program while it works: its lines, and its end.

    It has a process group of its own, so that a terminal's Ctrl-C reaches it once,
    from here: the second one ends it without saving.
    """

    def __init__(self, words: Sequence[str]) -> None:
        try:
            found = environment()
        except TorchMissing as error:
            raise UserError(str(error)) from None
        self._process = subprocess.Popen(
            [program(), *words],
            env=found,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            process_group=0,
        )
        # Lines of standard output; None is their end.
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._errors: list[str] = []
        self._threads = [
            threading.Thread(target=self._read_lines, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def finish(
        self, on_line: Callable[[str], object], on_look: Callable[[], object]
    ) -> int:
        """Hands on each line, looks around meanwhile, and returns the status.

        If either raises, or on Ctrl-C, the program is asked to stop, and it is
        waited for, before the exception goes on.
        """
        try:
            while not self._is_done(on_line):
                on_look()
            on_look()
            return self._process.wait()
        except KeyboardInterrupt:
            self._stop()
            raise self.interrupted(signal.SIGINT) from None
        except BaseException:
            self._stop()
            raise

    def interrupted(self, number: int) -> Interrupted:
        return Interrupted(self.error_line() or "interrupted", number)

    def error_line(self) -> str:
        """The last line of standard error; those before it are handed on."""
        for thread in self._threads:
            thread.join()
        lines = [line for line in self._errors if line.strip()]
        for line in lines[:-1]:
            print(line, file=sys.stderr)
        return lines[-1].removeprefix("annuli: ") if lines else ""

    def say_notices(self) -> None:
        for thread in self._threads:
            thread.join()
        for line in self._errors:
            print(line, file=sys.stderr)

    def _is_done(self, on_line: Callable[[str], object]) -> bool:
        try:
            line = self._lines.get(timeout=_LOOK)
            while line is not None:
                on_line(line)
                line = self._lines.get_nowait()
            return True
        except queue.Empty:
            return False

    def _stop(self) -> None:
        while self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait()
            except KeyboardInterrupt:  # once more: at once
                continue

    def _read_lines(self) -> None:
        for line in _stream(self._process.stdout):
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def _read_errors(self) -> None:
        for line in _stream(self._process.stderr):
            self._errors.append(line.rstrip("\n"))


def _stream(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def _raise(child: _Child, status: int, report: Any) -> None:
    line = child.error_line()
    if status < 0:  # ended by a signal that it does not handle
        wanted = -status in (signal.SIGINT, signal.SIGTERM)
        if wanted:
            raise Interrupted(line or "interrupted", -status)
        raise ProgramError(line or f"the program was ended by signal {-status}")
    if status > _SIGNALLED:
        raise Interrupted(line, status - _SIGNALLED)
    if status == 1:
        found = report.get("verdicts") if isinstance(report, dict) else None
        raise VerdictError(line, found, report)
    raise {2: UserError, 3: ProgramError}.get(status, Error)(line)


def _read(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return None
    return json.loads(text) if text else None


def call(
    words: Sequence[str], arguments: Sequence[Any], options: Mapping[str, Any]
) -> str:
    """Returns what the program printed."""
    return _call(words, arguments, options, lambda text: None)


def call_json(
    words: Sequence[str], arguments: Sequence[Any], options: Mapping[str, Any]
) -> Any:
    """Returns the JSON that the program printed."""
    return _documents(
        _call(words, arguments, {**options, "json": True}, _documents)
    )


def _documents(text: str) -> Any:
    """One value, or a list of them where several follow one another."""
    values = []
    decoder = json.JSONDecoder()
    rest = text.strip()
    while rest:
        value, end = decoder.raw_decode(rest)
        values.append(value)
        rest = rest[end:].lstrip()
    return values[0] if len(values) == 1 else values or None


def _call(
    words: Sequence[str],
    arguments: Sequence[Any],
    options: Mapping[str, Any],
    report_of: Callable[[str], Any],
) -> str:
    child = _Child(command_line(words, arguments, options))
    lines: list[str] = []
    status = child.finish(lines.append, lambda: None)
    text = "".join(f"{line}\n" for line in lines)
    if status != 0:
        _raise(child, status, report_of(text))
    child.say_notices()
    return text


def call_report(
    words: Sequence[str],
    arguments: Sequence[Any],
    options: Mapping[str, Any],
    report: Text | None,
) -> dict[str, Any]:
    """Returns the report that the program wrote as JSON, which is kept in the file
    `report` if there is one."""
    with tempfile.TemporaryDirectory(prefix="annuli-") as folder:
        path = os.path.join(folder, "report.json")
        if report is not None:
            path = _text(report)
        child = _Child(
            command_line(words, arguments, {**options, "json": path})
        )
        status = child.finish(lambda line: None, lambda: None)
        if status != 0:
            _raise(child, status, _read(path) if status == 1 else None)
        child.say_notices()
        return _read(path) or {}


def show(
    words: Sequence[str],
    arguments: Sequence[Any],
    options: Mapping[str, Any],
    *,
    quiet: bool = False,
    on_look: Callable[[], object] = lambda: None,
    report_of: Callable[[], Any] = lambda: None,
) -> None:
    """Prints each line of the program as it comes."""
    child = _Child(command_line(words, arguments, options))
    status = child.finish((lambda line: None) if quiet else _say, on_look)
    if status != 0:
        _raise(child, status, report_of() if status == 1 else None)
    child.say_notices()


def _say(line: str) -> None:
    print(line, flush=True)


def command_line(
    words: Sequence[str], arguments: Sequence[Any], options: Mapping[str, Any]
) -> list[str]:
    """Arguments are paths; one that begins with a hyphen is made to look so."""
    texts = [text for value in arguments for text in _as_list(value)]
    paths = [f"./{text}" if text.startswith("-") else text for text in texts]
    return [*words, *_flags(options), *paths]
