"""Which code a result depends on; tests/pipeline/test_store.py compares it with the code that training runs."""

import importlib.util
import itertools
import os
import subprocess
import sys

import pytest

from conftest import replace_in
from genmodels import experiments
from genmodels.pipeline import fingerprint, store

VAES = {"vae_mc", "vae_kl", "vae_before"}
CVAES = {"cvae_2", "cvae_25", "cvae_25_tuned", "cvae_100", "cvae_plain_25"}
CLASSIFIERS = {"reference", "reference_2", "gan_train"}
GANS = {"gan", "gan_train"}


def counted(function):
    """Checksums of all that counts for a builder."""
    leads, own = fingerprint.of_function(function)
    return {**own, **fingerprint.code(*leads)}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""The variational', '"""# The well-known variational'),
        ("import keras\n", "import keras  # a comment\n\n"),
        ('"""Encode images, sample z', '"""Encode, then sample z'),
        ("count: int, seed: int) -> np.ndarray:", "count: float, seed) -> list:"),
    ],
    ids=["a docstring", "a comment", "the docstring of a method", "annotations"],
)
def test_comments_docstrings_and_annotations_of_functions_do_not_count(package, old, new):
    before = fingerprint.code("models.vae")
    replace_in(package / "models" / "vae.py", old, new)
    assert fingerprint.code("models.vae") == before


def test_code_counts(package):
    before = fingerprint.code("models.vae")
    replace_in(package / "models" / "vae.py", "self.beta * kl", "self.beta * 2 * kl")
    after = fingerprint.code("models.vae")
    assert after["models/vae.py"] != before["models/vae.py"]
    assert {**after, "models/vae.py": None} == {**before, "models/vae.py": None}


def test_fields_of_a_dataclass_count(package):
    before = fingerprint.code("datasets:Split")
    replace_in(package / "images.py", "    images: np.ndarray\n", "    images: list\n")
    assert fingerprint.code("datasets:Split") != before


@pytest.mark.parametrize(
    ("module", "old", "new", "changed"),
    [
        ("models/vae.py", "kl - logpx_z)", "kl - 2 * logpx_z)", VAES | CVAES),
        ("models/gan.py", "1 - decay", "2 - decay", GANS),
        ("training.py", "MIN_DIVERSITY = 0.35", "MIN_DIVERSITY = 0.36", GANS),  # of a file that all trainings use
        ("models/classifier.py", "Dropout(0.5 if", "Dropout(0.6 if", CLASSIFIERS),
        ("models/classifier.py", "(64, 2), (64, 1)", "(64, 2), (96, 1)", CLASSIFIERS),
        ("models/autoencoder.py", "ops.square(targets - y_pred)", "ops.square(y_pred - targets)", {"ae", "ae_plain"}),
        ("models/conditional_vae.py", "+ log_det", "+ 2 * log_det", CVAES),
        ("experiments.py", "count: int = 60_000", "count: int = 50_000", {"gan_train"}),
        ("experiments.py", "beta_1=0.5", "beta_1=0.6", GANS),
        ("experiments.py", "datasets.augment(train.images[chosen], rng)", "train.images[chosen]", CLASSIFIERS),
        ("images.py", "< binarized_share", "<= binarized_share", CLASSIFIERS),
        ("datasets.py", "VALIDATION = 5_000", "VALIDATION = 6_000", set(experiments.RUNS)),
        ("readers/arrays.py", "CHANNELS = 4", "CHANNELS = 3", set()),
        ("layers.py", "SETTLED = 0.9", "SETTLED = 0.8", CVAES),
        ("layers.py", "depth_to_space(channels, 2)", "depth_to_space(channels, 2) + 0", GANS),
        ("distributions.py", "logqz_x - logpz", "logqz_x - 2 * logpz", VAES | CVAES),
        ("canvas.py", "STRIDE * pos_y,", "2 * STRIDE * pos_y,", CVAES),
        ("training.py", "MIN_DIVERSITY = 0.35", "MIN_DIVERSITY = 0.3", GANS),
        ("training.py", "STEPS = 10", "STEPS = 11", set(experiments.RUNS)),
        ("pipeline/store.py", "prepare(run.seed)", "prepare(run.seed + 1)", set(experiments.RUNS)),
        ("pipeline/store.py", '/ "unfinished" /', '/ "half" /', set()),
        ("figures.py", "LIMIT = 4", "LIMIT = 5", set()),
        ("metrics.py", "values.mean()", "values.sum()", set()),
    ],
)
def test_an_edit_retrains_exactly_the_runs_that_use_it(package, module, old, new, changed):
    before = {name: store.key(name) for name in experiments.RUNS}
    replace_in(package / module, old, new)
    after = {name: store.key(name) for name in experiments.RUNS}
    assert {name for name in before if before[name] != after[name]} == changed


def test_code_is_followed_into_other_modules(package):
    before = fingerprint.code("models.vae")
    replace_in(package / "distributions.py", "-0.5 *", "-0.25 *")
    assert fingerprint.code("models.vae") != before


def test_modules_that_count_in_another_way_are_not_followed():
    found = fingerprint.code("pipeline.store:train", but=["training"])
    assert {"pipeline/store.py", "datasets.py"} <= set(found) and "training.py" not in found


def test_the_whole_package_is_every_module():
    found = fingerprint.reached("")
    assert {"cli", "metrics", "models.vae", "pipeline.store"} <= set(found)


def test_unknown_modules_and_names_are_refused():
    with pytest.raises(ValueError, match="expected a module of genmodels, got 'vea'"):
        fingerprint.code("vea")
    with pytest.raises(ValueError, match=r"expected a name of genmodels\.experiments, got 'nothing'"):
        fingerprint.code("experiments:nothing")


def test_edits_after_the_start_of_the_process_are_noticed(package):
    assert fingerprint.edited("models.vae:VAE") == []
    replace_in(package / "models" / "vae.py", "self.beta * kl", "self.beta * 2 * kl")
    replace_in(package / "distributions.py", "-0.5 *", "-0.25 *")
    assert fingerprint.edited("models.vae:VAE") == ["distributions.py", "models/vae.py"]


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("models/vae.py", "import keras\n", "import keras  # a comment\n"),
        ("models/gan.py", "1 - decay", "2 - decay"),
        ("models/gan.py", "1 - decay", "1 - ("),
    ],
    ids=["a comment", "another module", "half of another module"],
)
def test_edits_of_other_code_do_not_count(package, module, old, new):
    replace_in(package / module, old, new)
    assert fingerprint.edited("models.vae:VAE") == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self.beta * kl", "self.beta * ("),
        ("def predict_in_batches", "def predict"),
        ('"""Encode images', '""Encode images'),
    ],
    ids=["half a sentence", "a name that is gone", "an open string"],
)
def test_an_edit_that_is_under_way_is_noticed(package, old, new):
    replace_in(package / "models" / "vae.py", old, new)
    assert fingerprint.edited("models.vae:VAE") == ["models/vae.py"]


def test_a_file_that_is_gone_is_noticed(package):
    (package / "models" / "vae.py").unlink()
    assert fingerprint.edited("models.conditional_vae:ConditionalVAE") == ["models/vae.py"]


def test_comments_and_layout_of_a_cell_do_not_count():
    assert fingerprint.normalised("x = (1 +\n  2)  # three\n") == fingerprint.normalised("x = 1 + 2")


def test_magics_and_shell_lines_of_a_cell_count():
    found = {fingerprint.normalised(f"{line}\nx = 1") for line in ("%matplotlib inline", "%run mine.py", "!ls", "")}
    assert len(found) == 4


@pytest.mark.parametrize("text", ["%%bash\nls  # all\n", "%%time\nx = 1  # one\n", "x = (\n"])
def test_text_that_something_else_reads_counts_as_it_is(text):
    assert fingerprint.normalised(text) == text


def used_by(*cells):
    return fingerprint.used_by(map(fingerprint.normalised, cells))


# The cells of a notebook, and what of the package they use.
CELLS = {
    "nothing": (["import numpy as np\nnp.zeros(3)"], set()),
    "a function of a module": (["from genmodels import metrics\nmetrics.crop(x)"], {"metrics:crop"}),
    "a function by its name": (["from genmodels.metrics import crop as f\nf(x)"], {"metrics:crop"}),
    "a module by another name": (["import genmodels.metrics as m\nm.crop(x)"], {"metrics:crop"}),
    "a function by its full name": (["import genmodels\ngenmodels.metrics.crop(x)"], {"metrics:crop"}),
    "a module by its full name": (["import genmodels.metrics\ngenmodels.metrics.crop(x)"], {"metrics:crop"}),
    "a package by another name": (["import genmodels as g\ng.metrics.crop(x)"], {"metrics:crop"}),
    "a module in a folder": (["from genmodels.models import vae\nvae.VAE()"], {"models.vae:VAE"}),
    "a class by its full name": (["import genmodels\ngenmodels.models.vae.VAE().encode(x)"], {"models.vae:VAE"}),
    "a public name": (["from genmodels import VAE\nVAE()"], {"models.vae:VAE"}),
    "a public name by its full name": (["import genmodels\ngenmodels.trained('ae').model"], {"pipeline.store:trained"}),
    "two things by one name": (
        ["from genmodels.metrics import crop as f\nf(x)", "from genmodels.figures import plot_digits as f\nf(x)"],
        {"metrics:crop", "figures:plot_digits"},
    ),
    "names of another cell": (["metrics.crop(x)", "from genmodels import metrics"], {"metrics:crop"}),
    "an import in a function": (
        ["def f():\n    from genmodels import metrics\n    return metrics.crop(x)"],
        {"metrics:crop"},
    ),
    "an import that nothing uses": (["from genmodels import metrics"], set()),
    "all public names": (["from genmodels import *\nVAE()"], {""}),
    "all names of a module": (["from genmodels.metrics import *\ncrop(x)"], {"metrics"}),
    "all names of two modules": (
        ["from genmodels.metrics import *", "from genmodels.figures import *"],
        {"metrics", "figures"},
    ),
    "a module as a value": (["from genmodels import metrics\nm = metrics\nm.crop(x)"], {"metrics"}),
    "an attribute by a string": (["from genmodels import metrics\ngetattr(metrics, name)(x)"], {"metrics"}),
    "a package as a value": (["import genmodels\ng = genmodels"], {""}),
    "a module by a string": (["import importlib\nimportlib.import_module('genmodels.metrics')"], {""}),
    "a magic line": (["%run -m genmodels.cli"], {""}),
    "a shell line": (["!python -m genmodels status"], {""}),
    "a cell magic": (["%%bash\npython -m genmodels status"], {""}),
    "a magic line of something else": (["%matplotlib inline"], set()),
    "an attribute that is not there": (["from genmodels import metrics\nmetrics.nothing(x)"], {"metrics"}),
    "a name that is not there": (["from genmodels.metrics import nothing\nnothing(x)"], {"metrics"}),
    "a public name that is not there": (["import genmodels\ngenmodels.nothing(x)"], {""}),
    "a module under a cell magic": (["from genmodels import metrics", "%%time\nmetrics.crop(x)"], {"metrics"}),
    "a function under a cell magic": (["from genmodels.metrics import crop as f", "%%time\nf(x)"], {"metrics:crop"}),
    "an import under a cell magic": (["%%time\nfrom genmodels import metrics", "metrics.crop(x)"], {""}),
    "a module under a line magic": (["from genmodels import metrics", "%time y = metrics.crop(x)"], {"metrics"}),
    "a module inside a string that is run": (["from genmodels import metrics", "eval('metrics.crop(x)')"], {"metrics"}),
    "a module inside another string": (["from genmodels import metrics", "print('metrics of the VAE')"], set()),
    "a cell that is no Python": (["from genmodels import metrics", "metrics.crop(x"], {"metrics"}),
}


@pytest.mark.parametrize("how", CELLS)
def test_a_notebook_uses_the_code_that_it_names(how):
    cells, leads = CELLS[how]
    assert used_by(*cells) == leads


@pytest.mark.parametrize("how", CELLS)
def test_what_a_notebook_uses_can_be_followed(how):
    assert fingerprint.reached(*used_by(*CELLS[how][0])).keys() >= CELLS[how][1] - {""}


BUILDER = '''
import keras
import numpy as np

import genmodels
from genmodels import Setup, metrics
from genmodels.models.vae import VAE

splits = genmodels.load_mnist()
WIDTHS = [64, 32]
OPTIONS = {"latent_dim": 2, "kl": "closed_form"}
DIGITS = {3, 5}
MASK = np.eye(28)
images = np.zeros(3)
UNUSED = 1


class Base(VAE):
    strength = 2.0

    @property
    def name_of(self):
        return "base"


class Small(Base):
    """A small model."""

    def encode(self, images):
        return super().encode(images * MASK) * self.strength


def widths():
    return WIDTHS  # of the hidden layers


def unused():
    return UNUSED


def build(settings, splits):
    """Set up the small model."""
    model = Small(hidden_units=widths(), **OPTIONS)
    model.compile("adam")  # as it is
    images = splits.train.images[np.isin(splits.train.labels, list(DIGITS))]
    return genmodels.Setup(model, len(images), lambda chosen, rng: (images[chosen],))


def build_anew(settings, splits):
    return build_anew(settings, splits)
'''


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Call it with the text of a user's module to import it."""

    def load(text):
        path = tmp_path / f"{next(number)}" / "mine.py"
        path.parent.mkdir()
        path.write_text(text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location("mine", path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "mine", module)
        spec.loader.exec_module(module)
        return module

    number = itertools.count()
    return load


def changed(old, new):
    assert BUILDER.count(old) == 1
    return BUILDER.replace(old, new)


def test_a_builder_of_the_package_counts_as_its_code():
    assert counted(experiments.build_vae) == fingerprint.code("experiments:build_vae")


def test_a_builder_of_ones_own_counts_by_its_source_and_what_it_uses_of_the_package(load):
    found = counted(load(BUILDER).build)
    assert {"its builder", "experiments.py", "models/vae.py", "distributions.py"} <= set(found)
    assert not {"metrics.py", "cli.py", "models/gan.py", "pipeline/store.py"} & set(found)


def test_a_builder_counts_the_same_in_every_process(load):
    first, second = (counted(load(BUILDER).build) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('compile("adam")', 'compile("sgd")'),
        ("return WIDTHS", "return WIDTHS[1:]"),
        ("[64, 32]", "[64, 33]"),
        ('"latent_dim": 2', '"latent_dim": 3'),
        ("{3, 5}", "{3, 6}"),
        ("np.eye(28)", "np.ones((28, 28))"),
        ("* self.strength", "+ self.strength"),
        ("strength = 2.0", "strength = 3.0"),
        ('return "base"', 'return "bottom"'),
        ("class Small(Base)", "class Small(VAE)"),
    ],
    ids=[
        "its own code",
        "a helper",
        "a list that a helper uses",
        "a dict",
        "a set",
        "an array that a class uses",
        "a method of a class",
        "an attribute of a base class",
        "a property of a base class",
        "the base of a class",
    ],
)
def test_a_change_of_what_a_builder_uses_counts(load, old, new):
    before = counted(load(BUILDER).build)
    after = counted(load(changed(old, new)).build)
    assert after["its builder"] != before["its builder"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  # as it is", "  # always"),
        ("  # of the hidden layers", ""),
        ("UNUSED = 1", "UNUSED = 2"),
        ("return UNUSED", "return 7"),
        ("images = np.zeros(3)", "images = np.ones(3)"),
        ("splits = genmodels.load_mnist()", "splits = None"),
    ],
    ids=[
        "a comment",
        "a comment in a helper",
        "a constant of something else",
        "a function of something else",
        "a value with the name of its variable",
        "a value with the name of its argument",
    ],
)
def test_a_change_of_something_else_does_not_count(load, old, new):
    before = counted(load(BUILDER).build)
    assert counted(load(changed(old, new)).build) == before


def test_package_code_that_a_builder_uses_counts(load, package):
    module = load(BUILDER)
    before = counted(module.build)
    replace_in(package / "models" / "vae.py", "self.beta * kl", "self.beta * 2 * kl")
    after = counted(module.build)
    assert {file for file in before if before[file] != after[file]} == {"models/vae.py"}


def test_package_code_that_a_builder_does_not_use_does_not_count(load, package):
    module = load(BUILDER)
    before = counted(module.build)
    replace_in(package / "models" / "gan.py", "1 - decay", "2 - decay")
    replace_in(package / "metrics.py", "values.mean()", "values.sum()")
    assert counted(module.build) == before


def test_a_builder_that_names_itself_is_read_once(load):
    assert counted(load(BUILDER).build_anew).keys() == {"its builder"}


# Runs cells in one IPython shell, as a notebook does, and prints what counts of the function `build` after each.
SHELL = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell()
for cell in sys.argv[1:]:
    shell.run_cell(cell).raise_error()
    shell.run_cell(
        "from genmodels.pipeline import fingerprint; print(fingerprint.of_function(build)[1]['its builder'])"
    ).raise_error()
"""
NOTEBOOK = """
class Options:
    width = 32

class Base:
    strength = 2.0
    @property
    def name(self):
        return "base"
    @staticmethod
    def scale(x):
        return x
    def double(self, x):
        return 2 * x

def build(settings, splits):
    return Base().double(Options.width)
"""


def test_classes_in_a_notebook_count_with_all_that_they_hold(tmp_path):
    edits = [
        ("return 2 * x", "return 3 * x"),
        ("strength = 2.0", "strength = 3.0"),
        ('return "base"', 'return "bottom"'),
        ("return x", "return -x"),
        ("width = 32", "width = 64"),
        ("Base().double", "-Base().double"),
    ]
    cells = [NOTEBOOK, *(NOTEBOOK.replace(old, new) for old, new in edits), f"# again\n{NOTEBOOK}"]
    done = subprocess.run(
        [sys.executable, "-c", SHELL, *cells],
        env={**os.environ, "IPYTHONDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    first, *others, again = done.stdout.split()
    assert first == again and len({first, *others}) == len(edits) + 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('raise ValueError(f"', 'raise ValueError(f"Sadly, '),
        ('wrong = f"', 'wrong = f"Sadly, '),
        ('print(f"', 'print(f"Now: '),
        ('assert sides, "', 'assert sides, "Really: '),
    ],
    ids=["an error", "a part of an error", "a line of progress", "an assertion"],
)
def test_texts_of_messages_do_not_count(tmp_path, monkeypatch, old, new):
    module = tmp_path / "squares.py"
    module.write_text(
        'def area(sides):\n    wrong = f"expected a side, {HINT}"\n    assert sides, "no sides"\n    if sides[0] < 0:\n'
        '        raise ValueError(f"{wrong}, got {sides}")\n    print(f"squaring {sides}")\n    return sides[0] ** 2\n'
        'HINT = "such as 3"\n',
        encoding="utf-8",
    )
    monkeypatch.setattr(fingerprint, "PACKAGE", tmp_path)
    before = fingerprint.reached("squares:area")
    replace_in(module, old, new)
    assert fingerprint.reached("squares:area") == before
    replace_in(module, "** 2", "** 3")
    assert fingerprint.reached("squares:area") != before


def test_a_text_that_is_also_returned_counts(tmp_path, monkeypatch):
    module = tmp_path / "names.py"
    module.write_text('def name(digit):\n    text = f"digit {digit}"\n    return text\n', encoding="utf-8")
    monkeypatch.setattr(fingerprint, "PACKAGE", tmp_path)
    before = fingerprint.reached("names:name")
    replace_in(module, "digit {", "number {")
    assert fingerprint.reached("names:name") != before


def test_names_imported_from_the_package_root_are_followed(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    model = tmp_path / "models" / "vae.py"
    model.write_text("class VAE:\n    size = 2\n", encoding="utf-8")
    (tmp_path / "tasks.py").write_text("from genmodels import VAE\ndef build():\n    return VAE()\n", encoding="utf-8")
    monkeypatch.setattr(fingerprint, "PACKAGE", tmp_path)
    before = fingerprint.code("tasks:build")
    assert set(before) == {"tasks.py", "models/vae.py"}
    replace_in(model, "size = 2", "size = 3")
    assert fingerprint.code("tasks:build")["models/vae.py"] != before["models/vae.py"]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A function that writes modules of a small package, {name of the file: text}."""
    monkeypatch.setattr(fingerprint, "PACKAGE", tmp_path)

    def write(**texts):
        for name, text in texts.items():
            path = tmp_path / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        fingerprint.modules.cache_clear()

    yield write
    fingerprint.modules.cache_clear()


UNSEEN_ONCE = {
    "a relative import": (
        "models__vae",
        {"models__vae": "from ..layers import SIZE\ndef build(): return SIZE\n", "layers": "SIZE = 1\n"},
        {"layers": "SIZE = 2\n"},
    ),
    "a relative import of a module": (
        "models__vae",
        {"models__vae": "from . import parts\ndef build(): return parts.SIZE\n", "models__parts": "SIZE = 1\n"},
        {"models__parts": "SIZE = 2\n"},
    ),
    "a patch of another module": (
        "vae",
        {"vae": "from genmodels import parts\nparts.size = 1\ndef build(): return 2\n", "parts": "size = 0\n"},
        {"vae": "from genmodels import parts\nparts.size = 3\ndef build(): return 2\n"},
    ),
    "an import for its effect": (
        "vae",
        {"vae": "from genmodels import tweak\ndef build(): return 2\n", "tweak": "X = 1\n"},
        {"tweak": "X = 2\n"},
    ),
    "a message that draws": (
        "vae",
        {"vae": "def build(rng):\n    print(rng.random())\n    return rng.random()\n"},
        {"vae": "def build(rng):\n    print(rng.random(5))\n    return rng.random()\n"},
    ),
    "a text that draws": (
        "vae",
        {"vae": "def build(rng):\n    text = f'{rng.random()}'\n    return rng.random()\n"},
        {"vae": "def build(rng):\n    text = f'{rng.random(5)}'\n    return rng.random()\n"},
    ),
    "two targets": (
        "vae",
        {"vae": "def build(self):\n    mode = self.kl = 'a'\n"},
        {"vae": "def build(self):\n    mode = self.kl = 'b'\n"},
    ),
    "a global text": (
        "vae",
        {"vae": "def build():\n    global MODE\n    MODE = 'a'\n"},
        {"vae": "def build():\n    global MODE\n    MODE = 'b'\n"},
    ),
    "a text of an outer function": (
        "vae",
        {"vae": "def build():\n    kl = ''\n    def set():\n        nonlocal kl\n        kl = 'a'\n    return kl\n"},
        {"vae": "def build():\n    kl = ''\n    def set():\n        nonlocal kl\n        kl = 'b'\n    return kl\n"},
    ),
    "an attribute of an inner class": (
        "vae",
        {"vae": "def build():\n    class A:\n        kind = 'a'\n    return A\n"},
        {"vae": "def build():\n    class A:\n        kind = 'b'\n    return A\n"},
    ),
    "a text read by locals": (
        "vae",
        {"vae": "def build():\n    kind = 'a'\n    return locals()\n"},
        {"vae": "def build():\n    kind = 'b'\n    return locals()\n"},
    ),
    "an exception that carries data": (
        "vae",
        {"vae": "def build(seed):\n    raise StopIteration(seed + 1)\n"},
        {"vae": "def build(seed):\n    raise StopIteration(seed + 2)\n"},
    ),
    "the order of statements": (
        "vae",
        {"vae": "X = 100\nif True:\n    X = 5\ndef build(): return X\n"},
        {"vae": "if True:\n    X = 5\nX = 100\ndef build(): return X\n"},
    ),
    "a name of a try statement": (
        "vae",
        {
            "vae": "from genmodels.parts import fast\ndef build(): return fast\n",
            "parts": "try:\n    fast = 1\nfinally: ...\n",
        },
        {"parts": "try:\n    fast = 2\nfinally: ...\n"},
    ),
}


@pytest.mark.parametrize("case", UNSEEN_ONCE)
def test_what_an_attacker_found_counts(files, case):
    module, before, after = UNSEEN_ONCE[case]
    files(**before)
    lead = f"{module.replace('__', '.')}:build"
    was = fingerprint.reached(lead)
    files(**after)
    assert fingerprint.reached(lead) != was


def test_a_line_of_progress_that_is_new_does_not_count(files):
    files(vae="def build(epoch):\n    if epoch:\n        print(f'epoch {epoch}')\n    return 2\n")
    before = fingerprint.reached("vae:build")
    files(vae="def build(epoch):\n    print('start')\n    if epoch:\n        print(f'now {epoch:.2f}')\n    return 2\n")
    assert fingerprint.reached("vae:build") == before
