import dataclasses
import re
import shutil

import keras
import numpy as np
import pytest

import genmodels
from conftest import executed, replace_in
from genmodels import config, datasets, experiments, training
from genmodels.experiments import BUILDERS
from genmodels.pipeline import files, fingerprint, records, store


@pytest.fixture
def quick(monkeypatch, smoke):
    """One small run, trained in seconds."""
    run = dataclasses.replace(experiments.RUNS["vae_kl"], options={"hidden_units": (16,)})
    monkeypatch.setattr(experiments, "RUNS", {"vae_kl": run})
    return run


@pytest.fixture
def no_training(monkeypatch):
    """Call it where nothing may be trained from then on."""
    return lambda: monkeypatch.setattr(store, "train", lambda *_, **__: pytest.fail("trained again"))


def test_unknown_run_is_refused():
    with pytest.raises(ValueError, match=r"run must be one of gan, .*got 'vea'"):
        store.trained("vea")


def test_second_call_comes_from_the_cache(quick, no_training):
    first = store.trained("vae_kl")
    assert store.is_trained("vae_kl")
    no_training()
    second = store.trained("vae_kl")
    assert np.array_equal(first.model.sample(3, seed=0), second.model.sample(3, seed=0))
    assert first.history == second.history


def test_a_run_has_a_folder_of_its_own_and_leaves_nothing_else(quick):
    store.trained("vae_kl")
    (home,) = (config.cache_folder() / "runs").iterdir()
    assert home == store.folder("vae_kl")
    assert {path.name for path in home.iterdir()} == {"model.keras", "training.json", "record.json"}
    assert list((config.cache_folder() / "unfinished").iterdir()) == []


def test_training_from_nothing_twice_gives_the_same_bits(quick, graphs):
    models = [store.train(quick)[0] for _ in range(2)]
    assert all(np.array_equal(*pair) for pair in zip(*(model.get_weights() for model in models)))


@pytest.mark.parametrize("change", [{"seed": 2}, {"learning_rate": 1e-4}, {"options": {"hidden_units": (17,)}}])
def test_a_changed_setting_is_another_run(quick, monkeypatch, change):
    before = store.key("vae_kl")
    monkeypatch.setattr(experiments, "RUNS", {"vae_kl": dataclasses.replace(quick, **change)})
    assert store.key("vae_kl") != before


def test_a_run_tells_why_it_has_to_be_trained_again(quick, package):
    assert store.why_stale("vae_kl") == "not trained yet"
    store.trained("vae_kl")
    assert store.why_stale("vae_kl") == ""
    replace_in(package / "models" / "vae.py", "self.beta * kl", "self.beta * 2 * kl")
    assert re.fullmatch(r"models/vae\.py changed since 20\d\d-\d\d-\d\d \d\d:\d\d", store.why_stale("vae_kl"))
    assert store.why_stale(dataclasses.replace(quick, seed=2)) == "not trained yet"


def test_a_new_summary_is_not(quick, monkeypatch):
    before = store.key("vae_kl")
    monkeypatch.setattr(experiments, "RUNS", {"vae_kl": dataclasses.replace(quick, summary="other words")})
    assert store.key("vae_kl") == before


def test_a_run_that_fails_leaves_nothing_behind(quick, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("lost")

    monkeypatch.setattr(store, "train", fail)
    with pytest.raises(RuntimeError, match="lost"):
        store.trained("vae_kl")
    assert not store.is_trained("vae_kl")
    assert not list(config.cache_folder().glob("runs/*"))


def test_too_little_memory_is_named_with_the_run(quick, monkeypatch):
    monkeypatch.setattr(config, "memory_shortage", lambda: "expected at least 3 GiB, got 1")
    with pytest.raises(files.ResourceError, match="run vae_kl: expected at least 3 GiB, got 1"):
        store.trained("vae_kl")


@pytest.fixture
def edit_meanwhile(quick, package, monkeypatch):
    """Call it with a file of the package and texts, to replace one while a training is under way."""

    def edit(file, old, new):
        def train(*arguments, **options):
            replace_in(package / file, old, new)
            return real(*arguments, **options)

        monkeypatch.setattr(store, "train", train)

    real = store.train
    return edit


USED = {
    "its loss": ("models/vae.py", "self.beta * kl", "self.beta * 2 * kl"),
    "a constant": ("datasets.py", "VALIDATION = 5_000", "VALIDATION = 6_000"),
    "half a sentence": ("models/vae.py", "return mean_over_batch(", "return mean_over_batch(("),
    "a function that is gone": ("distributions.py", "def gaussian_log_density", "def log_density"),
}


@pytest.mark.parametrize("what", USED)
def test_weights_of_code_that_was_edited_meanwhile_are_not_saved(edit_meanwhile, what):
    edit_meanwhile(*USED[what])
    with pytest.raises(store.TrainingError, match=f"^{USED[what][0]} changed while vae_kl was trained; start again$"):
        store.trained("vae_kl")
    assert not list(config.cache_folder().glob("runs/*")) and not list(config.cache_folder().glob("unfinished/*"))


NOT_USED = {
    "a comment": ("models/vae.py", "import keras\n", "import keras  # a comment\n"),
    "a docstring": ("models/vae.py", '"""The variational', '"""The well-known variational'),
    "another model": ("models/gan.py", "1 - decay", "2 - decay"),
    "another layer": ("layers.py", "depth_to_space(channels, 2)", "depth_to_space(channels, 3)"),
    "half a sentence elsewhere": ("figures.py", "LIMIT = 4", "LIMIT = ("),
}


@pytest.mark.parametrize("what", NOT_USED)
def test_an_edit_of_what_a_run_does_not_use_does_not_stop_it(edit_meanwhile, what):
    edit_meanwhile(*NOT_USED[what])
    store.trained("vae_kl")
    assert store.is_trained("vae_kl")


def test_a_comment_in_every_module_neither_stops_a_training_nor_changes_its_weights(quick, package, monkeypatch):
    def train(*arguments, **options):
        for module in package.rglob("*.py"):
            module.write_text(f"{module.read_text(encoding='utf-8')}\n# a comment\n", encoding="utf-8")
        return real(*arguments, **options)

    real, undisturbed = store.train, store.trained("vae_kl").model.get_weights()
    shutil.rmtree(config.cache_folder())
    monkeypatch.setattr(store, "train", train)
    weights = store.trained("vae_kl").model.get_weights()
    assert all(map(np.array_equal, weights, undisturbed))
    assert store.is_trained("vae_kl")


def test_the_text_of_an_error_does_not_change_the_key(quick, package):
    before = store.key("vae_kl")
    replace_in(package / "validation.py", "must be one of", "has to be one of")
    assert store.key("vae_kl") == before


def test_other_data_change_the_key(quick, monkeypatch):
    before = store.key("vae_kl")
    monkeypatch.setattr(datasets, "found", lambda: {**datasets.SHA256, "x_test": "0"})
    assert store.key("vae_kl") != before and store.why_stale("vae_kl") == "not trained yet"


# One run of each builder; the notebooks, run by nbval in the quick mode, take all the others.
OF_EACH_KIND = {run.builder: name for name, run in experiments.RUNS.items()}.values()
NEEDED = {need for name in OF_EACH_KIND for need in experiments.RUNS[name].depends_on}  # come with those that need them


@pytest.fixture
def ran(monkeypatch):
    """{run: names of the functions and classes whose code its training ran}."""
    found, train = {}, store.train

    def noting(run, *models, **_):
        given, found[run.name] = executed(lambda: train(run, *models))
        return given

    monkeypatch.setattr(store, "train", noting)
    return found


@pytest.mark.parametrize("name", [name for name in OF_EACH_KIND if name not in NEEDED])
def test_every_kind_of_run_trains_with_code_that_counts_saves_and_loads_in_the_quick_mode(name, smoke, ran):
    for run in (name, *experiments.dependencies(name)):  # the first trains the others
        run = experiments.find(run)
        done = store.trained(run)
        builders = [BUILDERS[each.builder] for each in (run, *experiments.dependencies(run))]
        builds = [f"experiments:{build.__name__}" for build in builders]
        counted = fingerprint.reached(*builds, "pipeline.store:train").keys()
        assert len(ran[run.name]) > 20
        # Of `Run` the settings count; `_numbers` words the texts of errors, which don't.
        assert ran[run.name] - counted <= {"experiments:Run", "validation:_numbers"}
        assert done.model.count_params() > 0
        assert done.history and all(len(values) == 1 for values in done.history.values())
        assert all(np.isfinite(values).all() for values in done.history.values())
        assert done.seconds > 0


def test_a_failed_run_is_an_error_with_advice_and_is_not_saved(smoke, monkeypatch):
    run = dataclasses.replace(experiments.RUNS["gan"], epochs=1)
    for name in ("PATIENCE", "PATIENCE_STEPS"):  # the quick mode trains for one epoch, which draws next to nothing
        monkeypatch.setattr(training, name, 1)
    with pytest.raises(store.TrainingError, match=r"gan: stopped after epoch 1: the generator has collapsed.*lower"):
        store.trained(run)
    assert not store.is_trained(run)


def test_what_a_run_learns_from_counts_in_its_key(monkeypatch):
    before = store.key("gan_train")
    slower = dataclasses.replace(experiments.RUNS["gan"], learning_rate=1e-5)
    monkeypatch.setattr(experiments, "RUNS", {**experiments.RUNS, "gan": slower})
    assert store.key("gan_train") != before


def test_seeds_have_keys_of_their_own():
    assert store.key(dataclasses.replace(experiments.RUNS["ae"], seed=2)) != store.key("ae")


class Perceptron(keras.Model):
    """A model of a user's own, not registered with Keras."""

    def __init__(self, width, **options):
        super().__init__(**options)
        self.width = width
        self.network = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(width), keras.layers.Dense(10)])

    def call(self, images):
        return self.network(images)

    def get_config(self):
        return {**super().get_config(), "width": self.width}


def build_perceptron(settings, splits, model=Perceptron):
    images, labels = splits.train.images, splits.train.labels
    model = model(**settings["options"])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return genmodels.Setup(model, len(labels), lambda chosen, rng: (images[chosen], labels[chosen]))


@pytest.fixture
def mine(smoke, monkeypatch):
    """A run of a model of one's own."""
    monkeypatch.setitem(BUILDERS, "perceptron", None)
    genmodels.model_builder("perceptron")(build_perceptron)
    return genmodels.Run("mine", "perceptron", options={"width": 8}, epochs=1, batch_size=64, learning_rate=1e-3)


def test_a_run_of_ones_own_trains_and_comes_from_the_cache(mine, digits, no_training):
    first = genmodels.trained(mine)
    assert store.is_trained(mine) and len(first.history["loss"]) == 1
    no_training()
    second = genmodels.trained(mine)
    assert np.array_equal(*(done.model.predict(digits.images, verbose=0) for done in (first, second)))
    assert type(second.model) is Perceptron and second.run == mine


def test_another_builder_is_another_run(mine, monkeypatch):
    genmodels.trained(mine)

    def build(settings, splits):
        setup = build_perceptron(settings, splits)
        setup.model.optimizer.learning_rate = 1.0
        return setup

    monkeypatch.setitem(BUILDERS, "perceptron", build)
    assert re.fullmatch(r"its builder changed since 20.*", store.why_stale(mine))


class Forgetful(Perceptron):
    """A model that Keras cannot load again."""

    def get_config(self):
        return keras.Model.get_config(self)


def test_a_model_that_keras_cannot_load_again_is_refused_in_one_line_with_the_remedy(mine, monkeypatch, no_training):
    def build(settings, splits):
        return build_perceptron(settings, splits, Forgetful)

    monkeypatch.setitem(BUILDERS, "perceptron", build)
    for _ in range(2):
        with pytest.raises(store.TrainingError, match="run mine: expected a model that Keras can load") as stopped:
            genmodels.trained(mine)
        assert "get_config" in str(stopped.value) and "\n" not in str(stopped.value)
        no_training()


def test_an_unknown_builder_is_refused_in_one_line_with_the_remedy():
    run = genmodels.Run("mine", "perceptrn", epochs=1, batch_size=64, learning_rate=1e-3)
    with pytest.raises(ValueError, match=r"run mine: builder must be one of .*vae.*got 'perceptrn'") as stopped:
        genmodels.trained(run)
    assert "model_builder" in str(stopped.value) and "\n" not in str(stopped.value)


def test_a_run_has_as_many_latent_dimensions_as_are_asked_for(quick):
    assert store.trained("vae_kl", latent_dim=2).model.latent_dim == 2


def test_another_number_of_latent_dimensions_is_refused_in_one_line_with_the_remedy(quick):
    run = dataclasses.replace(quick, name="three", options={"hidden_units": (4,), "latent_dim": 3})
    message = r"run three: expected latent_dim=2 .*got 3; change it in the run's options, or .*"
    with pytest.raises(store.TrainingError) as stopped:
        store.trained(run, latent_dim=2)
    assert re.fullmatch(message, str(stopped.value))


def test_a_model_without_latent_dimensions_is_refused_where_they_are_asked_for(mine):
    with pytest.raises(store.TrainingError, match=r"run mine: expected latent_dim=2 .*got None"):
        genmodels.trained(mine, latent_dim=2)


@pytest.fixture
def filed(quick, tmp_path, monkeypatch):
    """A finished folder of the run, without a training, and then an empty cache: what `packed` returned."""
    home = store.folder(quick)
    home.mkdir(parents=True)
    (home / "model.keras").write_bytes(b"weights")
    (home / "training.json").write_text('{"history": {}, "seconds": 1.0}')
    record = records.Record(store.identity(quick), store._checksums(home))
    files.write_json(home / "record.json", {"run": record.as_json()})
    found = store.packed(quick)
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path / "another machine"))
    return found


def test_a_packed_folder_is_as_good_in_another_cache(quick, filed):
    assert list(filed) == [store.folder(quick).name] and not store.is_trained(quick)
    store.unpack(filed)
    assert store.is_trained(quick) and store.packed(quick) == filed
    assert store.packed(dataclasses.replace(quick, seed=2)) == {}


def test_a_folder_that_was_changed_on_its_way_is_refused(quick, filed):
    (contents,) = filed.values()
    contents["model.keras"] = b"other weights"
    with pytest.raises(store.TrainingError, match=r"the files that its record names, got another model\.keras$"):
        store.unpack(filed)
    assert not list((config.cache_folder() / "runs").iterdir())


def test_a_folder_of_another_kind_of_machine_is_kept_apart(quick, filed, monkeypatch):
    monkeypatch.setattr(config, "numerics", lambda: {"processor": "another"})
    store.unpack(filed)
    assert not store.is_trained(quick) and store.packed(quick) == filed


def test_a_folder_gets_no_path_outside_the_cache(quick, filed):
    ((name, contents),) = filed.items()
    with pytest.raises(store.TrainingError):
        store.unpack({name: {f"../../{file}": content for file, content in contents.items() if file != "record.json"}})
    with pytest.raises(store.TrainingError):
        store.unpack({f"../{name}": contents})
    assert not [path for path in config.cache_folder().rglob("*.keras")]
