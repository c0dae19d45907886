import ast
import cProfile
import gc
import importlib
import json
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pytest

from genmodels.config import use_device  # makes the package's settings for TensorFlow, before a test imports it

use_device("cpu")

# Contents of metrics.json after other trainings than the committed ones, {which: numbers}. All were measured.
OTHER = Path(__file__).parent / "tests" / "metrics_of_other_trainings.json"
OTHER_TRAININGS = json.loads(OTHER.read_text(encoding="utf-8"))
BUDGET = os.environ.get("GENMODELS_BUDGET", "full")  # the caller's


def pytest_configure(config):
    """Give nbval this environment's kernel, and files instead of TCP, which work without any network."""
    import nbval.kernel

    from genmodels.pipeline.kernel import OwnKernel

    options = {"kernel_spec_manager": OwnKernel()}
    if os.name == "posix":
        sockets = tempfile.TemporaryDirectory()
        config.add_cleanup(sockets.cleanup)
        options |= {"transport": "ipc", "ip": f"{sockets.name}/kernel"}
    nbval.kernel.KernelManager = partial(nbval.kernel.KernelManager, **options)


def pytest_collection_modifyitems(items):
    """Run the longest files first, so that two workers, which take a file at a time, finish together."""
    longest = "notebooks honest cluster mutations keras_json store crash document damage training parallel cli".split()
    first = {f"test_{name}.py": place for place, name in enumerate(longest)}
    items.sort(key=lambda item: (item.path.suffix != ".ipynb", first.get(item.path.name, len(first))))


def pytest_terminal_summary(terminalreporter):
    """Report a stale study and a stale benchmark, which no test makes anew."""
    from genmodels import cli

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENMODELS_BUDGET", "full")
        for text in cli.what_is_stale():
            terminalreporter.write_line(text)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Give notebooks the caller's budget, and tests the full one."""
    os.environ["GENMODELS_BUDGET"] = BUDGET if item.path.suffix == ".ipynb" else "full"


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Set up TensorFlow as for the runs of the report, before anything else starts it."""
    from genmodels.training import prepare

    prepare(0)
    gc.freeze()  # spares each garbage collection the many objects of TensorFlow and Keras


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Give each test a cache of its own, so that no test sees or spoils the cache of the checkout."""
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def no_figures():
    """Close the figures that a test left open, so that the next one starts with none."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


@pytest.fixture
def no_device(monkeypatch):
    """No device chosen, as in a user's process. Variables that a test sets are unset after it."""
    for name in ("GENMODELS_DEVICE", "CUDA_VISIBLE_DEVICES", "TF_FORCE_GPU_ALLOW_GROWTH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def gpu(no_device, monkeypatch):
    """TensorFlow as if it saw one GPU. It is a failure to hide it from this process."""
    import tensorflow as tf

    one = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: [one])
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *_: pytest.fail("hid a device"))
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda _: {"device_name": "NVIDIA H200"})


@pytest.fixture
def smoke(monkeypatch):
    monkeypatch.setenv("GENMODELS_BUDGET", "smoke")


@pytest.fixture(autouse=True)
def eagerly():
    """Run steps of models as plain Python. Tracing a graph takes seconds; the few steps of a small test do not."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)


@pytest.fixture
def graphs(eagerly):
    """Run steps as graphs, as outside tests: for tests of bits, tracing and memory, and of many steps."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(False)


@pytest.fixture
def rng():
    return np.random.default_rng(20)


@pytest.fixture(scope="session")
def digits():
    """Return 128 real training digits."""
    from genmodels.datasets import Split, load_mnist

    train = load_mnist().train
    return Split(train.images[:128], train.labels[:128])


def numbers_of(training):
    """Return one of OTHER_TRAININGS, with the committed benchmark, which was not run with these trainings."""
    from genmodels.pipeline import results

    return {**OTHER_TRAININGS[training], "benchmark": results.metrics()["benchmark"]}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Return a checkout for one test, in a folder with spaces and Polish letters: report/, notebooks/, data/report/."""
    return copy_checkout(tmp_path / "kopia źródeł", monkeypatch)


def copy_checkout(root, monkeypatch):
    """Copy the sources of the report to `root`, make it the checkout, and record its results as fresh."""
    from genmodels import config
    from genmodels.pipeline import document, files, records, results, study

    for folder in ("report", "notebooks", "data/report"):
        built = shutil.ignore_patterns(
            "generative_models.pdf", "generative_models.html", "explorer.html", "build", ".*"
        )
        shutil.copytree(config.checkout() / folder, root / folder, ignore=built)
    monkeypatch.setattr(config, "checkout", lambda: root)
    origin, committed = records.origin(), records.provenance()
    for name, inputs in made_from().items():
        was = committed[name]
        runs = {label: {**of, "inputs": run_inputs(of["name"])} for label, of in was.runs.items()}
        records.note(name, records.Record(inputs, results.outputs(was.results), origin, was.results, runs))
    measured = committed["benchmark"]
    records.note("benchmark", replace(measured, inputs=document.benchmark_inputs(measured)))
    found = study.read()
    for entry, inputs in study_inputs().items():
        found["records"][entry] = records.Record(inputs, study.outputs(entry, found), origin).as_json()
    files.write_json(study.path(), found)
    return root


def build_copy(root, monkeypatch):
    """Copy the checkout to `root` as `copy_checkout` does, give the copy a cache, and build its real report."""
    from genmodels.pipeline import document

    copy_checkout(root, monkeypatch)
    monkeypatch.setenv("GENMODELS_CACHE", str(root / ".cache"))
    document.build()
    return root


@lru_cache
def made_from():
    """Return the present inputs of each notebook, cached because all copies are equal."""
    from genmodels.pipeline import notebooks, records

    committed = records.provenance()
    return {name: notebooks.inputs(name, committed[name]) for name in notebooks.names()}


@lru_cache
def run_inputs(name):
    from genmodels.pipeline import store

    return store.inputs(name)


@lru_cache
def study_inputs():
    from genmodels.pipeline import study

    return {entry: study.inputs(entry) for entry in study.entries()}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a copy of the package's source, to be edited by a test."""
    from genmodels.pipeline import fingerprint

    copy = tmp_path / "package"
    shutil.copytree(fingerprint.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprint, "PACKAGE", copy)
    return copy


def executed(action):
    """Return the result of `action`, and the leads "module:name" of the functions and classes that it executed."""
    from genmodels.pipeline import fingerprint

    names = fingerprint.modules(fingerprint.PACKAGE)
    for name in names:  # import everything first, because an import executes the bodies of all classes
        importlib.import_module(f"genmodels.{name}")
    profile = cProfile.Profile(builtins=False)
    given = profile.runcall(action)
    places = {(entry.code.co_filename, entry.code.co_firstlineno) for entry in profile.getstats()}
    found = set()
    for name in names:
        path = importlib.import_module(f"genmodels.{name}").__file__
        for node in ast.parse(Path(path).read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                if any((path, line) in places for line in range(first, node.end_lineno + 1)):
                    found.add(f"{name}:{node.name}")
    return given, found


def record_numbers(**sections):
    """Write metrics.json, and change provenance.json as if the first notebook had just written these sections."""
    from genmodels.pipeline import files, notebooks, records, results

    files.write_json(records.output() / "metrics.json", sections)
    for name, record in records.provenance().items():
        if name not in notebooks.names():
            continue
        figures = {result: how for result, how in record.results.items() if result.endswith(".png")}
        made = {**figures, **{section: {"cell": 1, "runs": {}} for section in sections}}
        made = made if name == notebooks.names()[0] else figures
        records.note(name, records.Record(record.inputs, results.outputs(made), record.origin, made, record.runs))


def replace_in(path, old, new):
    """Replace the first `old` in a text file by `new`; fail if there is none."""
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{path.name} does not say {old!r}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
