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


def _series(lock: str, name: str) -> str:
    series = _found(lock, rf"^{name}==([0-9]+\.[0-9]+)\.")
    return f"{name}=={series}.*"


def dynamic_metadata(
    settings: Mapping[str, Any], project: Mapping[str, Any]
) -> dict[str, Any]:
    """Of torch and of Arrow the minor series that the program is linked with:
    LibTorch's ABI changes with each."""
    return {
        "version": _found("CMakeLists.txt", r"^project\(annuli VERSION ([0-9.]+)"),
        "dependencies": [_series("tools/locks/torch.txt", "torch")],
        "optional-dependencies": {
            "parquet": [_series("tools/locks/arrow.txt", "pyarrow")]
        },
    }
