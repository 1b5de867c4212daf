"""The package's version and what it depends on, out of the files that say it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def _found(path: str, pattern: str) -> str:
    match = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    if match is None:
        raise RuntimeError(f"reading {path}: found nothing like {pattern}")
    return match[1]


def _series(path: str, pattern: str) -> str:
    return _found(path, pattern + r"([0-9]+\.[0-9]+)\.")


def dynamic_metadata(
    settings: Mapping[str, Any], project: Mapping[str, Any]
) -> dict[str, Any]:
    """Of torch and of Arrow the minor series that the program is linked with:
    LibTorch's ABI changes with each. Of two packages of one version the one for
    another torch than the default has a local version, "0.1.0+torch2.15"."""
    version = _found("CMakeLists.txt", r"^project\(annuli VERSION ([0-9.]+)")
    torch = _series("build/wheel/annuli/_versions.py", '^TORCH = "')
    if torch != _series("tools/locks/torch.txt", "^torch=="):
        version += f"+torch{torch}"
    arrow = _series("tools/locks/arrow.txt", "^pyarrow==")
    return {
        "version": version,
        "dependencies": [f"torch=={torch}.*"],
        "optional-dependencies": {"parquet": [f"pyarrow=={arrow}.*"]},
    }
