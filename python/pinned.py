"""The package's version and what it depends on, out of the files that say it."""

import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

# What tools/wheel packs, and what stands in a source distribution only.
STAGED = Path("build/wheel/annuli/_versions.py")
UNPACKED = Path("PKG-INFO")


def _match(text: str, pattern: str, where: str | Path) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"reading {where}: found nothing like {pattern}")
    return match[1]


def _found(path: str | Path, pattern: str) -> str:
    return _match(Path(path).read_text(), pattern, path)


def _series(path: str | Path, pattern: str) -> str:
    return _found(path, pattern + r"([0-9]+\.[0-9]+)\.")


def _installed() -> str:
    """The series of the torch with which pip builds the sources."""
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        raise RuntimeError(
            "building annuli: found no torch, expected the one with whose libraries "
            "the program shall be built; install it, then pass --no-build-isolation"
        ) from None
    return _match(version, r"^([0-9]+\.[0-9]+)\.", "torch's version")


def _dependency(series: str) -> str:
    return f"torch=={series}.*"


def dynamic_wheel(settings: Mapping[str, Any]) -> dict[str, bool]:
    """Sources depend on the torch that they will be built with."""
    return {"dependencies": True}


def dynamic_metadata(
    settings: Mapping[str, Any], project: Mapping[str, Any]
) -> dict[str, Any]:
    """Of torch and of Arrow the minor series that the program is linked with:
    LibTorch's ABI changes with each. Of two packages of one version the one for
    another torch than the default has a local version, "0.1.0+torch2.15"."""
    version = _found("CMakeLists.txt", r"^project\(annuli VERSION ([0-9.]+)")
    torch = "torch"
    if UNPACKED.exists():
        torch = _dependency(_installed())
    elif STAGED.exists():
        series = _series(STAGED, '^TORCH = "')
        if series != _series("tools/locks/torch.txt", "^torch=="):
            version += f"+torch{series}"
        torch = _dependency(series)
    arrow = _series("tools/locks/arrow.txt", "^pyarrow==")
    return {
        "version": version,
        "dependencies": [torch],
        "optional-dependencies": {"parquet": [f"pyarrow=={arrow}.*"]},
    }
