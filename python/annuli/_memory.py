"""Calls the library that grows tensors in memory, `bin/libannuli_python.so`.

Calls and answers are JSON; tensors cross by their address, so nothing is copied.
Their memory is Python's: it is held here as long as the library may look at it.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
from collections.abc import Mapping
from typing import Any

import torch

from ._errors import ProgramError, UserError, VerdictError
from ._versions import TORCH

_PATH = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "bin", "libannuli_python.so"
)

_WORDS = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int64: "I64",
}
_TYPES = {word: dtype for dtype, word in _WORDS.items()}


def dtype_of(word: str) -> torch.dtype:
    """The type that a word of the library stands for."""
    return _TYPES[word]


def words_of(name: str, tensor: torch.Tensor) -> dict[str, Any]:
    """A tensor in words. It must outlive whoever is told them."""
    word = _WORDS.get(tensor.dtype)
    if word is None:
        raise UserError(
            f"growing in memory: tensor '{name}' is {tensor.dtype}, expected a "
            "floating type of 16, 32 or 64 bits"
        )
    return {
        "name": name,
        "dtype": word,
        "shape": list(tensor.shape),
        "strides": list(tensor.stride()),
        "data": tensor.data_ptr(),
    }


def all_words(tensors: Mapping[str, torch.Tensor]) -> list[dict[str, Any]]:
    return [words_of(name, tensor) for name, tensor in tensors.items()]


@functools.cache
def _library() -> ctypes.CDLL:
    series = ".".join(TORCH.split(".")[:2])
    if torch.__version__.split(".")[:2] != series.split("."):
        raise UserError(
            f"growing in memory: found torch {torch.__version__}, expected torch "
            f"{series}, with whose libraries this package was built"
        )
    library = ctypes.CDLL(_PATH)
    library.annuli_call.argtypes = [ctypes.c_char_p]
    library.annuli_call.restype = ctypes.c_void_p
    library.annuli_free.argtypes = [ctypes.c_void_p]
    library.annuli_free.restype = None
    return library


_ERRORS: dict[str, type[Exception]] = {
    "user": UserError,
    "verdict": VerdictError,
    "bug": ProgramError,
}


def call(verb: str, **order: Any) -> Any:
    """The library's answer. Raises what it refuses, with its one line."""
    library = _library()
    text = json.dumps({"do": verb, **order}).encode()
    pointer = library.annuli_call(text)
    try:
        answer = json.loads(ctypes.string_at(pointer))
    finally:
        library.annuli_free(pointer)
    if "error" in answer:
        raise _ERRORS[answer["error"]](answer["line"])
    return answer["result"]


class Freed:
    """Gives memory that Python has let go of back to the system, some of it at a
    time: the C library keeps what lies between other allocations."""

    _AT_ONCE = 64 << 20

    def __init__(self) -> None:
        self._bytes = 0

    def add(self, count: int) -> None:
        self._bytes += count
        if self._bytes >= self._AT_ONCE:
            self.trim()

    def trim(self) -> None:
        self._bytes = 0
        ctypes.CDLL(None).malloc_trim(0)
