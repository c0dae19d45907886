import gc
import json
import os
import shutil
import tempfile
from functools import lru_cache, partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest

import genmodels  # noqa: F401  its settings for TensorFlow, before a test imports it

# What metrics.json was after other trainings than those of the present one, {which: numbers}; all were measured.
OTHER = Path(__file__).parent / "tests" / "metrics_of_other_trainings.json"
OTHER_TRAININGS = json.loads(OTHER.read_text(encoding="utf-8"))
BUDGET = os.environ.get("GENMODELS_BUDGET", "full")  # the caller's


def pytest_configure(config):
    """Lets nbval talk to its kernels through files instead of TCP: it works where there is no network at all."""
    import nbval.kernel

    if os.name == "posix":
        sockets = tempfile.TemporaryDirectory()
        config.add_cleanup(sockets.cleanup)
        ipc = {"transport": "ipc", "ip": f"{sockets.name}/kernel"}
        nbval.kernel.KernelManager = partial(nbval.kernel.KernelManager, **ipc)


def pytest_collection_modifyitems(items):
    """The longest files first, so that two workers, which take a file at a time, finish together."""
    longest = ("kill", "mutations", "experiments", "document", "damage", "training", "notebooks")
    first = {f"test_{name}.py": place for place, name in enumerate(longest)}
    items.sort(key=lambda item: (item.path.suffix != ".ipynb", first.get(item.path.name, len(first))))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """The caller's budget is that of notebooks; no test depends on it."""
    os.environ["GENMODELS_BUDGET"] = BUDGET if item.path.suffix == ".ipynb" else "full"


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """TensorFlow as the runs of the report use it; set before anything else wakes it."""
    from genmodels.training import prepare

    prepare(0)
    gc.freeze()  # or each search for garbage goes over all that TensorFlow and Keras brought along


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test sees, or spoils, the cache of the checkout."""
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def smoke(monkeypatch):
    monkeypatch.setenv("GENMODELS_BUDGET", "smoke")


@pytest.fixture(autouse=True)
def eagerly():
    """Steps of models as plain Python: making graphs of them takes seconds, the few of a small test do not."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)


@pytest.fixture
def graphs(eagerly):
    """Steps as graphs, as they are outside tests: for tests of bits, tracing and memory, and of many steps."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(False)


@pytest.fixture
def rng():
    return np.random.default_rng(20)


@pytest.fixture(scope="session")
def digits():
    """128 real training digits."""
    from genmodels import data

    train = data.load().train
    return data.Split(train.images[:128], train.labels[:128])


def numbers_of(training):
    """One of OTHER_TRAININGS; the benchmark, which was not run with them, is the present one."""
    from genmodels import report

    return {**OTHER_TRAININGS[training], "benchmark": report.metrics()["benchmark"]}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of its own, in a folder with a space and a Polish letter: report/, notebooks/ and data/report/."""
    return copy_checkout(tmp_path / "kopia źródeł", monkeypatch)


def copy_checkout(root, monkeypatch):
    """Copies what the report is made from to `root`, and makes it the checkout."""
    from genmodels import cache, data, notebooks, report, study

    for folder in ("report", "notebooks", "data/report"):
        built = shutil.ignore_patterns("generative_models.pdf", "generative_models.html", ".*")
        shutil.copytree(data.checkout() / folder, root / folder, ignore=built)
    monkeypatch.setattr(data, "checkout", lambda: root)
    begun = notebooks.origin()
    noted = {
        name: notebooks.provenance({result: (made, parts) for result, made, parts in of}, begun) for name, of in made()
    }
    sums = study.sums(cache.read_json(report.study_path()))
    if benchmark := cache.read_json(root / "data" / "report" / "provenance.json", {}).get("benchmark"):
        noted["benchmark"] = benchmark
    noted["study"] = {**begun, "parts": study.parts(), "sums": sums}
    cache.write_json(notebooks.provenance_path(), noted)
    return root


def build_copy(root, monkeypatch):
    """A copy of the checkout, made the checkout, with a cache of its own and its real report built."""
    from genmodels import document

    copy_checkout(root, monkeypatch)
    monkeypatch.setenv("GENMODELS_CACHE", str(root / ".cache"))
    document.build()
    return root


@lru_cache
def made():
    """What results are made from, so that those of a copied checkout pass as made by the present code."""
    from genmodels import notebooks, report

    found = {name: notebooks.results(name).items() for name in report.NOTEBOOKS}
    return [(name, [(result, made, notebooks.parts(made)) for result, made in of]) for name, of in found.items()]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package's source, to be edited."""
    from genmodels import sources

    copy = tmp_path / "package"
    shutil.copytree(sources.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sources, "PACKAGE", copy)
    return copy


def record_numbers(**sections):
    """Writes metrics.json, and provenance.json as if notebooks had just written these sections."""
    from genmodels import cache, notebooks, report

    cache.write_json(report.output() / "metrics.json", sections)
    provenance = cache.read_json(notebooks.provenance_path())
    for of in provenance.values():
        of["results"] = {name: made for name, made in of.get("results", {}).items() if name.endswith(".png")}
    made = {"cell": 1, "runs": {}, "parts": {}, "key": "0" * 16}
    results = {name: {**made, "sums": notebooks.checksums(name)} for name in sections}
    provenance["zadanie_1_autoenkoder"]["results"] |= results
    cache.write_json(notebooks.provenance_path(), provenance)


def replace_in(path, old, new):
    """Replaces the first place where a text file says `old`, which it has to."""
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{path.name} does not say {old!r}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
