import ast
import cProfile
import dataclasses
import gc
import importlib
import multiprocessing
import os
import re
import signal
import weakref
from pathlib import Path

import numpy as np
import pytest

from conftest import replace_in
from genmodels import cache, experiments, sources, workers


@pytest.fixture
def quick(monkeypatch, smoke):
    """One small run, trained in seconds."""
    run = dataclasses.replace(experiments.RUNS["vae_kl"], options={"hidden_units": (16,)})
    monkeypatch.setattr(experiments, "RUNS", {"vae_kl": run})
    return run


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        experiments.RUNS["ae"].epochs = 1
    with pytest.raises(TypeError):
        experiments.RUNS["ae"] = None


def test_unknown_run_is_refused():
    with pytest.raises(ValueError, match=r"run must be one of gan, .*got 'vea'"):
        experiments.trained("vea")


def test_second_call_comes_from_the_cache(quick, monkeypatch):
    first = experiments.trained("vae_kl")
    assert experiments.is_trained("vae_kl")
    monkeypatch.setattr(experiments, "train", lambda *_, **__: pytest.fail("trained again"))
    second = experiments.trained("vae_kl")
    assert np.array_equal(first.model.sample(3, seed=0), second.model.sample(3, seed=0))
    assert first.history == second.history


def test_training_from_nothing_twice_gives_the_same_bits(quick, graphs):
    models = [experiments.train(quick)[0] for _ in range(2)]
    assert all(np.array_equal(*pair) for pair in zip(*(model.get_weights() for model in models)))


def test_a_worker_forgets_the_images_of_the_run_that_it_has_trained(quick, graphs, monkeypatch):
    from genmodels import training  # not above: workers import this file, and not all of them need TensorFlow

    kept = weakref.WeakSet()

    class Batches(training.Batches):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            kept.add(self)

    monkeypatch.setattr(training, "Batches", Batches)
    workers._train(quick)
    gc.collect()
    assert experiments.is_trained(quick)
    assert not kept


@pytest.mark.parametrize("change", [{"seed": 2}, {"learning_rate": 1e-4}, {"options": {"hidden_units": (17,)}}])
def test_a_changed_setting_is_another_run(quick, monkeypatch, change):
    before = experiments.key("vae_kl")
    monkeypatch.setattr(experiments, "RUNS", {"vae_kl": dataclasses.replace(quick, **change)})
    assert experiments.key("vae_kl") != before


def test_a_run_tells_why_it_has_to_be_trained_again(quick, package):
    assert experiments.why_stale("vae_kl") == "not trained yet"
    experiments.trained("vae_kl")
    assert experiments.why_stale("vae_kl") == ""
    replace_in(package / "vae.py", "kl_weight * kl", "kl_weight * 2 * kl")
    assert re.fullmatch(r"vae\.py changed since 20\d\d-\d\d-\d\d \d\d:\d\d", experiments.why_stale("vae_kl"))
    assert experiments.why_stale(dataclasses.replace(quick, seed=2)) == "not trained yet"


def test_a_new_summary_is_not(quick, monkeypatch):
    before = experiments.key("vae_kl")
    monkeypatch.setattr(experiments, "RUNS", {"vae_kl": dataclasses.replace(quick, summary="other words")})
    assert experiments.key("vae_kl") == before


def test_a_run_that_fails_leaves_nothing_behind(quick, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("lost")

    monkeypatch.setattr(experiments, "train", fail)
    with pytest.raises(RuntimeError, match="lost"):
        experiments.trained("vae_kl")
    assert not experiments.is_trained("vae_kl")
    assert not list(cache.directory().glob("runs/*"))


def test_weights_of_code_that_was_edited_meanwhile_are_not_kept(quick, monkeypatch):
    monkeypatch.setattr(sources, "edited_modules", lambda: ["vae.py"])
    with pytest.raises(RuntimeError, match=r"vae\.py changed while vae_kl was trained; start again"):
        experiments.trained("vae_kl")
    assert not experiments.is_trained("vae_kl")


# One run of each function that builds a model; the notebooks, run by nbval in the quick mode, take all the others.
OF_EACH_KIND = {run.build: name for name, run in experiments.RUNS.items()}.values()
NEEDED = {need for name in OF_EACH_KIND for need in experiments.RUNS[name].needs}  # come with those that need them


def executed(action):
    """What `action` gives, and the names "module:name" of the functions and classes whose code it ran."""
    for path in sources.PACKAGE.glob("[!_]*.py"):  # an import, whenever it comes, runs the bodies of all classes
        importlib.import_module(f"genmodels.{path.stem}")
    profile = cProfile.Profile(builtins=False)
    given = profile.runcall(action)
    codes = (entry.code for entry in profile.getstats())
    ours = [code for code in codes if code.co_filename.startswith(str(sources.PACKAGE))]
    places = {(Path(code.co_filename).stem, code.co_firstlineno) for code in ours}
    found = set()
    for module in {module for module, _ in places}:
        for node in ast.parse((sources.PACKAGE / f"{module}.py").read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                if any((module, line) in places for line in range(first, node.end_lineno + 1)):
                    found.add(f"{module}:{node.name}")
    return given, found


@pytest.fixture
def ran(monkeypatch):
    """{run: names of the functions and classes whose code its training ran}."""
    found, train = {}, experiments.train

    def noting(run, *models, **_):
        given, found[run.name] = executed(lambda: train(run, *models))
        return given

    monkeypatch.setattr(experiments, "train", noting)
    return found


@pytest.mark.parametrize("name", [name for name in OF_EACH_KIND if name not in NEEDED])
def test_every_kind_of_run_trains_with_code_that_counts_saves_and_loads_in_the_quick_mode(name, smoke, ran):
    for run in (name, *experiments.needed(name)):  # the first trains the others
        run = experiments.find(run)
        done = experiments.trained(run)
        builds = [f"experiments:{each.build}" for each in (run, *experiments.needed(run))]
        counted = sources.reached(*builds, "experiments:train").keys()
        assert len(ran[run.name]) > 20 and ran[run.name] - counted == {"experiments:Run"}  # whose settings count
        assert done.model.count_params() > 0
        assert done.history and all(len(values) == 1 for values in done.history.values())
        assert all(np.isfinite(values).all() for values in done.history.values())
        assert done.seconds > 0


def test_a_hopeless_run_is_an_error_with_advice_and_is_not_kept(smoke, monkeypatch):
    from genmodels import watch

    run = dataclasses.replace(experiments.RUNS["gan"], epochs=1)
    monkeypatch.setattr(watch, "EPOCHS", 1)  # the quick mode trains for one epoch, which draws next to nothing
    with pytest.raises(
        experiments.TrainingError, match=r"gan: stopped after epoch 1: the generator has collapsed.*lower"
    ):
        experiments.trained(run)
    assert not experiments.is_trained(run)


def test_what_a_run_learns_from_counts_in_its_key(monkeypatch):
    before = experiments.key("pupil")
    slower = dataclasses.replace(experiments.RUNS["gan"], learning_rate=1e-5)
    monkeypatch.setattr(experiments, "RUNS", {**experiments.RUNS, "gan": slower})
    assert experiments.key("pupil") != before


def test_seeds_have_keys_of_their_own():
    assert experiments.key(dataclasses.replace(experiments.RUNS["ae"], seed=2)) != experiments.key("ae")


def test_a_run_that_diverges_is_named_and_others_go_on_where_that_is_asked(smoke, capfd):
    small = dataclasses.replace(experiments.RUNS["vae_kl"], options={"hidden_units": (16,)})
    wild = dataclasses.replace(small, name="wild", learning_rate=1e30)
    assert workers.train_all([wild, small], jobs=1, tolerant=True) == [wild]
    assert re.search(r"wild: stopped in epoch 1, by step \d+ of 8: .* got .*nan", capfd.readouterr().err)
    assert experiments.is_trained(small) and not experiments.is_trained(wild)


class Doomed(experiments.Run):
    """Its worker is killed, or gives it up, before it has begun."""

    def settings(self):
        if multiprocessing.parent_process() and self.summary == "killed":
            os.kill(os.getpid(), signal.SIGTERM)
        elif multiprocessing.parent_process():
            raise experiments.TrainingError(f"{self.name}: given up")
        return super().settings()


def doomed(how, name="doomed"):
    return Doomed(**{**vars(experiments.RUNS["ae"]), "name": name, "summary": how})


def test_the_error_of_a_run_is_raised_where_nothing_else_is_asked(smoke):
    with pytest.raises(experiments.TrainingError, match="doomed: given up"):
        workers.train_all([doomed("given up")], jobs=1)


def test_a_run_whose_worker_is_killed_is_named(smoke):
    with pytest.raises(cache.FaultError, match="run doomed: its process was killed, by the system"):
        workers.train_all([doomed("given up", name="other"), doomed("killed")], jobs=1, tolerant=True)
    assert not list((cache.directory() / "runs").glob("*"))
