import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from genmodels import canvas, experiments
from genmodels.experiments import BUILDERS
from genmodels.models.classifier import Classifier
from genmodels.pipeline import store


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        experiments.RUNS["ae"].epochs = 1
    with pytest.raises(TypeError):
        experiments.RUNS["ae"] = None


def test_unknown_run_is_refused():
    with pytest.raises(ValueError, match=r"run must be one of gan, .*got 'vea'"):
        experiments.find("vea")


def test_every_run_has_a_builder():
    assert {run.builder for run in experiments.RUNS.values()} == set(BUILDERS)


def test_a_run_of_ones_own_is_found_as_it_is():
    mine = dataclasses.replace(experiments.RUNS["ae"], name="mine")
    assert experiments.find(mine) is mine


@pytest.mark.parametrize(("seed", "name"), [(1, "ae"), (2, "ae, seed 2")])
def test_a_run_is_named_with_another_seed_than_1(seed, name):
    assert str(dataclasses.replace(experiments.RUNS["ae"], seed=seed)) == name


def test_the_summary_is_no_setting():
    assert "summary" not in experiments.RUNS["ae"].settings()


def test_a_quick_run_trains_for_one_epoch(smoke):
    assert experiments.RUNS["ae"].settings()["epochs"] == 1 < experiments.RUNS["ae"].epochs


def test_a_run_depends_on_others_with_its_own_seed():
    (gan,) = experiments.dependencies(dataclasses.replace(experiments.RUNS["gan_train"], seed=7))
    assert gan == dataclasses.replace(experiments.RUNS["gan"], seed=7)


@pytest.mark.parametrize("ablation", experiments.ABLATIONS, ids=lambda ablation: ablation.name)
def test_an_ablation_changes_the_run_and_names_something_else(ablation):
    run = ablation.run()
    assert store.key(run) != store.key(ablation.of)
    assert run.name not in experiments.RUNS and run.builder == experiments.RUNS[ablation.of].builder


@pytest.mark.parametrize("ablation", experiments.ABLATIONS, ids=lambda ablation: ablation.name)
def test_an_ablation_says_in_both_languages_what_it_changes(ablation):
    assert ablation.what.keys() == {"pl", "en"} and all(ablation.what.values())


def test_names_of_ablations_are_unique():
    assert len({ablation.name for ablation in experiments.ABLATIONS}) == len(experiments.ABLATIONS)


def test_model_builder_registers_a_function_and_leaves_it_as_it_is(monkeypatch):
    monkeypatch.setattr(experiments, "BUILDERS", {})

    def build(settings, splits):
        return settings, splits

    assert experiments.model_builder("perceptron")(build) is build
    assert experiments.BUILDERS == {"perceptron": build}


def test_the_gan_train_classifier_is_built_like_the_second_reference_classifier():
    names = ("gan_train", "reference", "reference_2")
    gan_train, first, second = (Classifier(**experiments.RUNS[name].options) for name in names)
    assert gan_train.architecture == second.architecture != first.architecture


def test_a_conditional_vae_goes_on_from_the_networks_of_the_run_it_depends_on(digits):
    splits = SimpleNamespace(train=digits, validation=digits)
    options = {"hidden_units": (8,), "prior": "flow"}
    settings = {**experiments.RUNS["cvae_25_tuned"].settings(), "options": options}
    start = BUILDERS["conditional_vae"](settings, splits).model
    tuned = BUILDERS["conditional_vae"](
        {**settings, "seed": 2, "options": {**options, "classifier_weight": 6.0}}, splits, start
    )
    asked = canvas.all_conditions(1)
    assert np.array_equal(tuned.model.sample(asked, seed=0), start.sample(asked, seed=0))
