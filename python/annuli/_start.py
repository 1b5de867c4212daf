"""Starts the program, once the torch that it needs has been found.

The program looks for torch's libraries in the folder beside this package. If torch
lies elsewhere on Python's path, as in an environment that sees another's packages,
LD_LIBRARY_PATH says where. Torch is not imported: its folder's name says its version.
"""

from __future__ import annotations

import os
import sys

from ._versions import TORCH

_HERE = os.path.dirname(os.path.abspath(__file__))
_BESIDE = os.path.dirname(_HERE)
_SERIES = ".".join(TORCH.split(".")[:2])


class TorchMissing(Exception):
    """There is no torch, or one of another series. The text is one line."""


def program() -> str:
    """The path of the program."""
    return os.path.join(_HERE, "bin", "annuli")


def environment() -> dict[str, str]:
    """This process's environment, in which the program finds its libraries.

    Raises TorchMissing.
    """
    elsewhere = []
    if (torch := _folder_of_torch()) != _BESIDE:
        elsewhere.append(f"{torch}/torch/lib")
    arrow = next((f for f in _path() if os.path.isdir(f"{f}/pyarrow")), _BESIDE)
    if arrow != _BESIDE:
        elsewhere.append(f"{arrow}/pyarrow")
    found = os.environ.copy()
    if before := found.get("LD_LIBRARY_PATH"):
        elsewhere.append(before)
    if elsewhere:
        found["LD_LIBRARY_PATH"] = ":".join(elsewhere)
    return found


def main() -> int:
    """The command `annuli`: becomes the program."""
    try:
        found = environment()
    except TorchMissing as error:
        print(f"annuli: {error}", file=sys.stderr)
        return 2
    sys.stdout.flush()
    os.execve(program(), ["annuli", *sys.argv[1:]], found)


def _path() -> list[str]:
    # The program takes what is beside it first, wherever Python would look.
    return [_BESIDE, *(os.path.abspath(folder) for folder in sys.path)]


def _version_in(folder: str) -> str | None:
    try:
        names = os.listdir(folder)
    except OSError:
        return None
    for name in names:
        if name.startswith("torch-") and name.endswith(".dist-info"):
            return name.removeprefix("torch-").removesuffix(".dist-info")
    return None


def _folder_of_torch() -> str:
    advice = f"try: {sys.executable} -m pip install 'torch=={_SERIES}.*'"
    for folder in _path():
        version = _version_in(folder)
        if version is None:
            continue
        if version.split(".")[:2] != _SERIES.split("."):
            raise TorchMissing(
                f"starting: found torch {version} in {folder}, expected torch "
                f"{_SERIES}, with whose libraries this program was built; {advice}"
            )
        return folder
    raise TorchMissing(
        f"starting: found no torch on Python's path, expected torch {_SERIES}; "
        f"{advice}"
    )
