"""`python -m annuli.example [FOLDER]`: a plan and a text to begin with.

Both lie in the package: a tiny model that goes through four phases in seconds.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from ._errors import UserError

_CARRIED = Path(__file__).parent / "quick"


def write(folder: str | os.PathLike[str] = "annuli-example") -> Path:
    """Copies them into a new folder, and returns the path of the plan."""
    out = Path(folder).absolute()
    try:
        out.mkdir(parents=True)
        shutil.copytree(_CARRIED / "village", out / "village")
        text = (_CARRIED / "quick.yaml").read_text(encoding="utf-8")
        text = text.replace("tests/data/village", json.dumps(f"{out}/village"))
        (out / "quick.yaml").write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"writing the example into {out}: {error.strerror}; try another folder"
        ) from None
    return out / "quick.yaml"


def main() -> int:
    try:
        plan = write(*sys.argv[1:2])
    except UserError as error:
        print(f"annuli: {error}", file=sys.stderr)
        return 2
    print(f"wrote {plan}; try: annuli run {os.path.relpath(plan)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
