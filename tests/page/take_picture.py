#!/usr/bin/env python3
"""take_picture.py PAGE.html OUT.webp [HEIGHT]: the top of a page, as the pictures
of the documents are made:

    build/annuli report runs/shakespeare --out shakespeare.html
    python3 tests/page/take_picture.py shakespeare.html docs/pictures/shakespeare.webp
"""

import base64
import sys
from pathlib import Path

from browser import Browser

WIDTH = 1200


def main():
    page, out = map(Path, sys.argv[1:3])
    height = int(sys.argv[3]) if len(sys.argv) > 3 else 1230
    browser = Browser()
    try:
        browser.open(page, width=WIDTH, height=height)
        picture = browser.call("Page.captureScreenshot", format="webp", quality=82)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(base64.b64decode(picture["data"]))
    finally:
        browser.close()


if __name__ == "__main__":
    main()
