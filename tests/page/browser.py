"""Headless Chromium, by its debugging protocol over two pipes: no driver and no
library between."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
         "--disable-dev-shm-usage", "--disable-extensions", "--hide-scrollbars",
         "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--force-color-profile=srgb",
         "--remote-debugging-pipe"]


class Browser:
    """A browser with one page. `events` is all that the page has told since it
    was opened; `close` ends it."""

    def __init__(self):
        if CHROMIUM is None:
            raise RuntimeError("no chromium here; tools/setup --python installs it")
        self.home = tempfile.mkdtemp(prefix="annuli-browser-")
        to_it, self.write_end = os.pipe()
        self.read_end, from_it = os.pipe()

        def hand_over():
            # The browser reads from 3 and writes to 4.
            first, second = os.dup(to_it), os.dup(from_it)
            os.dup2(first, 3)
            os.dup2(second, 4)

        self.process = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={self.home}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, preexec_fn=hand_over, close_fds=False)
        os.close(to_it)
        os.close(from_it)
        self.pending = b""
        self.number = 0
        self.session = None
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target,
                                 flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def close(self):
        os.close(self.write_end)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.read_end)
        shutil.rmtree(self.home, ignore_errors=True)

    def read(self):
        while b"\0" not in self.pending:
            more = os.read(self.read_end, 1 << 16)
            if not more:
                raise RuntimeError("the browser has ended")
            self.pending += more
        message, _, self.pending = self.pending.partition(b"\0")
        return json.loads(message)

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.write_end, data):]
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def open(self, path, width=1440, height=1000, dark=False, touch=False):
        """Opens a file from disk and waits until its charts are drawn."""
        self.visit(path.resolve().as_uri(), "document.querySelectorAll('svg')"
                   ".length > 1", width, height, dark, touch)

    def visit(self, address, ready="true", width=1440, height=1000, dark=False,
              touch=False):
        """Opens an address and waits until an expression holds."""
        self.events.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width,
                  height=height, deviceScaleFactor=1, mobile=touch)
        self.colours(dark)
        self.call("Page.navigate", url=address)
        deadline = time.monotonic() + 30
        while not self.evaluate("document.readyState === 'complete' && "
                                f"({ready})"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"nothing was drawn: {self.complaints()}")
            time.sleep(0.05)
        self.settle()

    def colours(self, dark):
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def settle(self):
        """Lets the page draw what it was told to."""
        self.evaluate("new Promise((done) => requestAnimationFrame(() => "
                      "requestAnimationFrame(() => done(true))))")

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression,
                           returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression[:200]}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def move(self, x, y):
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.settle()

    def drag(self, x1, y1, x2, y2):
        for kind, x, y in (("mousePressed", x1, y1), ("mouseMoved", x2, y2),
                           ("mouseReleased", x2, y2)):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y,
                      button="left", buttons=1, clickCount=1)
        self.settle()

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)
        self.settle()

    def screenshot(self, path, whole=True):
        """A PNG of the whole page, or of what is to be seen."""
        picture = self.call("Page.captureScreenshot", format="png",
                            captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(picture["data"]))

    def whole_page(self, path, width):
        height = self.evaluate("document.documentElement.scrollHeight")
        self.call("Emulation.setDeviceMetricsOverride", width=width,
                  height=min(height, 16000), deviceScaleFactor=1, mobile=False)
        self.settle()
        self.screenshot(path)

    def told(self, method):
        return [event["params"] for event in self.events
                if event.get("method") == method]

    def requests(self):
        """What the page asked for, but for itself and data in it."""
        asked = [event["request"]["url"]
                 for event in self.told("Network.requestWillBeSent")]
        return [url for url in asked[1:] if not url.startswith("data:")]

    def complaints(self):
        """Errors and warnings of scripts and of the browser."""
        return ([event["exceptionDetails"] for event in
                 self.told("Runtime.exceptionThrown")] +
                [event["entry"] for event in self.told("Log.entryAdded")] +
                [event["args"] for event in self.told("Runtime.consoleAPICalled")
                 if event["type"] in ("error", "warning", "assert")])
