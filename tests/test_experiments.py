import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from genmodels import experiments
from genmodels.experiments import BUILDERS
from genmodels.models.classifier import Classifier
from genmodels.models.conditional_vae import ConditionalVAE
from genmodels.models.loading import load_model
from genmodels.pipeline import store
from genmodels.training import Batches, fit


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


def test_a_tuned_prior_changes_the_flow_of_its_model_alone_and_is_saved_with_it(digits, tmp_path):
    splits = SimpleNamespace(train=digits, validation=digits)
    settings = {**experiments.RUNS["cvae_25"].settings(), "options": {"hidden_units": (8,), "prior": "flow"}}
    vae = BUILDERS["conditional_vae"](settings, splits).model
    before = [part.get_weights() for part in (vae.encoder, vae.decoder, vae.flow)]
    setup = BUILDERS["tuned_prior"]({**experiments.RUNS["cvae_25_tuned"].settings(), "seed": 1}, splits, vae)
    fit(
        setup.model,
        Batches(setup.count, 32, setup.make_batch, seed=1),
        epochs=2,
        name="tuned",
        validation=setup.validation,
    )
    setup.model.save(tmp_path / "tuned.keras")
    assert isinstance(load_model(tmp_path / "tuned.keras"), ConditionalVAE)
    same = [
        all(map(np.array_equal, part.get_weights(), weights))
        for part, weights in zip((vae.encoder, vae.decoder, vae.flow), before)
    ]
    assert same == [True, True, False]
