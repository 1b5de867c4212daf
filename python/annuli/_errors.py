"""What ends a call of the program other than well."""

from __future__ import annotations

from typing import Any


class Error(Exception):
    """The program failed. The text is the one line that it printed."""


class UserError(Error):
    """The input was wrong (exit status 2): the line says what was found, what was
    expected, and what to try."""


class VerdictError(Error):
    """A check failed, or a plan does not fit (exit status 1).

    `verdicts` are those of the proof, passed and failed; empty where there was
    none. `report` is all that the program wrote as JSON, or None.
    """

    def __init__(
        self,
        line: str,
        verdicts: list[dict[str, Any]] | None = None,
        report: Any = None,
    ) -> None:
        super().__init__(line)
        self.verdicts = verdicts or []
        self.report = report


class ProgramError(Error):
    """A bug of the program (exit status 3), or its sudden end. Please report it,
    with what `annuli env` prints."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or another signal that asks for an end. A run has finished its step
    and saved its state: the text says how to go on. `signal` is its number."""

    def __init__(self, line: str, signal: int) -> None:
        super().__init__(line)
        self.signal = signal
