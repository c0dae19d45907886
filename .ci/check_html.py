"""Checks one HTML file in headless Chromium, wide and on a phone, light and dark, and prints each finding in a line.

Finds what axe-core does, a page that scrolls sideways, anything from outside the file, links that lead nowhere.
`npm ci --prefix .ci` brings axe-core; Chromium is the package `chromium`.
"""

import argparse
import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
FLAGS += "--disable-component-update --disable-sync --hide-scrollbars --remote-debugging-pipe"
WIDTHS = {"wide": 1280, "phone": 360}
SIZE = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
REFERENCES = r"""[...document.querySelectorAll('*')].flatMap(e => [...e.attributes].filter(a =>
    /^(src|srcset|(xlink:)?href|poster|data|action|background)$/.test(a.name) && !/^(data:|#)/.test(a.value)
    && !(e.tagName == 'A' && /^https:/.test(a.value)) || a.name == 'style' && /url\(/.test(a.value))
    .map(a => `from outside: <${e.tagName} ${a.name}="${a.value.slice(0, 80)}">`)).concat(
    [...document.querySelectorAll('style')].flatMap(s =>
    s.textContent.match(/@import.*|url\((?!["']?(data:|#)).*/g) ?? []).map(css => `from outside: ${css}`),
    [...document.links].filter(a => /^#/.test(a.getAttribute('href')) && !document.getElementById(
    decodeURIComponent(a.hash.slice(1)))).map(a => `leads nowhere: ${decodeURIComponent(a.hash)}`))"""
UNFOLD = "document.querySelectorAll('details').forEach(d => d.open = true)"  # axe passes over what is folded away
RUN_AXE = """axe.run().then(result => result.violations.map(({id, help, nodes}) => `${id}: ${help}: ` +
    nodes.slice(0, 3).map(node => node.target.flat()).join(' | ') + (nodes[3] ? ` | ${nodes.length - 3} more` : '')))"""


class Browser:
    """Chromium on its debugging pipe, descriptors 3 and 4: no driver, no port, and the page stays as it is."""

    def __init__(self, profile):
        (reads, to), (back, writes) = os.pipe(), os.pipe()
        command = ["bash", "-c", f'exec "$@" 3<&{reads} 4>&{writes}', "bash", "chromium", *FLAGS.split()]
        command += [f"--user-data-dir={profile}", "about:blank"]
        self.log = Path(profile) / "stderr"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, pass_fds=(reads, writes), stderr=log)
        os.close(reads)
        os.close(writes)
        self.to, self.messages, self.events, self.page, self.sent = os.fdopen(to, "wb"), self.receive(back), [], {}, 0
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.page = {"sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}

    def receive(self, back):
        rest = b""
        while chunk := os.read(back, 1 << 20):
            *whole, rest = (rest + chunk).split(b"\0")
            yield from map(json.loads, whole)

    def wait(self, key, value):
        for message in self.messages:
            self.events.append((message.get("method"), message.get("params")))
            if message.get(key) == value:
                return message
        raise RuntimeError(f"Chromium has ended, having said: {self.log.read_text()[-2000:]}")

    def call(self, method, **parameters):
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": parameters, **self.page}
        self.to.write(json.dumps(message).encode() + b"\0")
        self.to.flush()
        answer = self.wait("id", self.sent)
        if "error" in answer or "exceptionDetails" in answer["result"]:
            raise RuntimeError(f"{method}: {answer}")
        return answer["result"]

    def value(self, script):
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        return answer["result"].get("value")


def look(browser, url, width, scheme, picture):
    """The findings in one variant."""
    browser.events.clear()
    phone = width < 500
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=phone)
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.call("Page.navigate", url=url)
    browser.wait("method", "Page.loadEventFired")
    if picture:
        clip = {"x": 0, "y": 0, "width": width, "height": browser.value(SIZE)[1], "scale": 1}
        shot = browser.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        picture.write_bytes(base64.b64decode(shot["data"]))
    browser.value(UNFOLD)
    findings = browser.value(REFERENCES)
    wide = browser.value(SIZE)[0]
    findings += [f"scrolls sideways: {wide} px"] if wide > width else []
    requests = [event["request"]["url"] for method, event in browser.events if method == "Network.requestWillBeSent"]
    findings += [f"request: {asked[:80]}" for asked in requests if asked != url and not asked.startswith("data:")]
    logged = [event["entry"] for method, event in browser.events if method == "Log.entryAdded"]
    # What the page's Content-Security-Policy refuses comes as an error, too.
    findings += [f"browser: {entry['text'][:160]}" for entry in logged if entry["level"] == "error"]
    browser.value(AXE.read_text())
    return findings + browser.value(RUN_AXE)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--pictures", type=Path, help="a folder for a picture of the whole page in each variant")
    arguments = parser.parse_args()
    signal.alarm(300)  # a check takes seconds; Chromium ends when its pipe does
    if arguments.pictures:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
    found = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(profile)
        for domain in ("Page", "Network", "Log"):
            browser.call(f"{domain}.enable")
        for (name, width), scheme in product(WIDTHS.items(), ("light", "dark")):
            picture = arguments.pictures and arguments.pictures / f"{name}-{scheme}.png"
            for finding in look(browser, arguments.file.resolve(strict=True).as_uri(), width, scheme, picture):
                found.setdefault(finding, []).append(f"{name} {scheme}")
        browser.call("Browser.close")
        browser.process.wait()
    for finding, variants in found.items():
        print(f"{finding} ({', '.join(variants)})")
    print(f"{arguments.file.name}: {len(found)} findings")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
