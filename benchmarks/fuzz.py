"""Every reader of files is given damaged and mad ones: it takes them or refuses them in plain words, and nothing else.

`python -m benchmarks.fuzz 60` does so for 60 seconds; then come names of readers, if not all are meant. A finding names
its reader and case; `python -m benchmarks.fuzz 0 READER CASE` repeats one.
"""

import collections
import contextlib
import dataclasses
import io
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np

from genmodels import cache, cli, data, document, experiments, notebooks, report, store

SLOW = 30  # seconds that no reader may take
# What readers stumble over: numbers, nesting, formats, code.
MAD = (
    b"1e999",
    b"-0",
    b"9" * 5_000,
    b"[" * 3_000,
    b"{" * 3_000,
    b"null",
    b'"\\ud800"',
    b"\xff\xfe",
    b"\x00",
    b"NaN",
    b"{}",
    b"[]",
)
MAD += (
    b"{{a.b}}",
    b"{{",
    b'```{=typst}\n#read("/etc/passwd")\n```',
    b"<script>",
    b"![](/etc/passwd)",
    b"$\\frac{$",
    b"---\n",
)
MAD += (
    b"{.ustalone}",
    b'{claim="os.exit()"}',
    b"::: obok\n",
    b"[@",
    b"(99999999999,)",
    b"'|O'",
    b"<<",
    b">>",
    b"endobj",
    b"stream\n",
)


def mutated(content, chance):
    """Bytes with one to four changes at random places."""
    for _ in range(chance.randint(1, 4)):
        place, length = chance.randrange(len(content) + 1), chance.choice((1, 1, 4, 40, 400))
        head, tail = content[:place], content[place + length :]
        kind = chance.randrange(6)
        if kind == 0 and content[place:]:
            content = head + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :]
        elif kind == 1:
            content = head + tail
        elif kind == 2:
            content = head + content[place : place + length] * 2 + tail
        elif kind == 3:
            content = head + chance.randbytes(length) + tail
        elif kind == 4:
            content = head + chance.choice(MAD) + content[place:]
        elif kind == 5:
            content = head if chance.randrange(8) == 0 else content
    return content


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def in_checkout(name, read):
    """A reader of a file of the copied checkout, and its valid content, which comes back after each reading."""
    path = data.checkout() / name
    good = path.read_bytes()

    def run(root, content):
        try:
            put(path, content)
            read()
        finally:
            put(path, good)

    return run, good


def read_sealed_arrays(root, content):
    path = cache.directory() / "unfinished" / "run.npz"
    put(path, cache._seal(path, content) + content)
    cache.read_arrays(path)


def read_stamp(root, content):
    cache.read_json(put(cache.directory() / "stamps" / "document.json", content), {})


def read_mnist(root, content):
    data.read(put(root / "mnist.npz", content))


SMALL = dataclasses.replace(experiments.RUNS["vae_kl"], options={"hidden_units": (2,), "waves": 0})


def read_model(root, content):
    """Of somebody who made the checksums too."""
    home = experiments.folder(SMALL)
    put(home / "model.keras", content)
    cache.write_json(home / "training.json", {"history": {}, "seconds": 1.0})
    cache.write_json(home / "sums.json", store.sums(home, home.name))
    store.kept(SMALL, home)


def read_markdown(root, content):
    put(root / "report" / "generative_models.md", content)
    document._write_pdf(root / "report" / "fuzzed.pdf")


def read_pdf(root, content):
    document._contents(put(root / "fuzzed.pdf", content))


def arrays(**content):
    stored = io.BytesIO()
    np.savez(stored, **content)
    return stored.getvalue()


def small_model():
    from genmodels.vae import VAE

    model = VAE(seed=1, **SMALL.options)
    model.compile("adam")
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        return (Path(folder) / "model.keras").read_bytes()


def small_pdf(root):
    import typst

    source = (
        '#set document(title: "x")\n= Title\nText $x^2$.\n#image("data/report/cover.png", width: 10%, alt: "cover")'
    )
    put(root / "small.typ", source.encode())
    return typst.compile(str(root / "small.typ"), root=str(root))


MARKDOWN = """---
title: Próba
author: Ktoś
programme: P
course: C
lang: pl
cover-alt: Okładka z cyfr
---

Liczba {{zadanie_1.mse.mean:.4f}} i [$x$]{alt="iks"}, [0,5]{.ustalone}. [Tak.]{claim="zadanie_1.mse.mean > 0"}

![Podpis.](../data/report/grid_ae.png){#fig-siatka alt="Co widać."}

Patrz @fig-siatka.
"""
NOTEBOOK = "notebooks/zadanie_1_autoenkoder.ipynb"


def readers(root):
    """{name: (the function that reads, a valid file)}."""
    found = {
        name: in_checkout(f"data/report/{name}", lambda: list(document.foreign()))
        for name in ("metrics.json", "provenance.json", "study.json")
    }
    return found | {
        "notebook": in_checkout(NOTEBOOK, lambda: notebooks.results(report.NOTEBOOKS[0])),
        "stamp": (read_stamp, b'{"parts": {}, "sums": {}}'),
        "arrays": (read_sealed_arrays, arrays(a=np.zeros((3, 2)), seconds=np.array(1.5), history=np.array("{}"))),
        "mnist": (read_mnist, arrays(**{name: np.zeros((3, 28, 28), "uint8") for name in data.SHA256})),
        "model": (read_model, small_model()),
        "pdf": (read_pdf, small_pdf(root)),
        "markdown": (read_markdown, MARKDOWN.encode()),
    }


def attempt(root, name, read, good, case):
    """What a reader does with the case of that number: taken, the name of a plain error, a finding with its trace."""
    chance = random.Random(f"{name} {case}")
    content, begun = mutated(good, chance), time.monotonic()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            read(root, content)
        said = "taken"
    except cli.PLAIN as error:
        said = type(error).__name__
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        said = f"finding: {name} {case}: {traceback.format_exc()}"
    if (seconds := time.monotonic() - begun) > SLOW:
        said = f"finding: {name} {case} took {seconds:.0f} s"
    return said


def main(seconds, names=(), case=None):
    """Prints how often each reader took, refused or stumbled over a file; returns the findings."""
    counts, findings = collections.defaultdict(collections.Counter), []
    document.PATIENCE = SLOW - 10
    with tempfile.TemporaryDirectory() as folder:
        root, origin = Path(folder), data.checkout()
        for part in ("report", "notebooks", "data/report"):
            shutil.copytree(origin / part, root / part)
        os.environ["GENMODELS_CACHE"], data.checkout = str(root / "cache"), lambda: root
        chosen = {name: pair for name, pair in readers(root).items() if name in names or not names}
        spent, begun = dict.fromkeys(chosen, 0.0), time.monotonic()
        number = case or 0
        while time.monotonic() - begun < seconds or (case is not None and number == case):
            name = min(spent, key=spent.get)  # as much time for each
            at = time.monotonic()
            said = attempt(root, name, *chosen[name], number)
            spent[name] += time.monotonic() - at + 1e-6
            number += 1
            counts[name][said.partition(":")[0]] += 1
            if said.startswith("finding"):
                findings.append(said)
        data.checkout = lambda: origin
    for name, count in counts.items():
        print(f"{name:16} {count.total():6}  " + ", ".join(f"{kind} {times}" for kind, times in count.most_common()))
    print(*findings, sep="\n")
    return findings


if __name__ == "__main__":
    case = int(sys.argv.pop()) if sys.argv[-1].isdigit() and len(sys.argv) > 2 else None
    sys.exit(bool(main(float(sys.argv[1]), sys.argv[2:], case)))
