from genmodels import setups
from genmodels.models.classifier import Classifier
from genmodels.pipeline import experiments


def test_model_builder_registers_a_function_and_leaves_it_as_it_is(monkeypatch):
    monkeypatch.setattr(setups, "BUILDERS", {})

    def build(settings, splits):
        return settings, splits

    assert setups.model_builder("perceptron")(build) is build
    assert setups.BUILDERS == {"perceptron": build}


def test_the_gan_train_classifier_is_built_like_the_second_reference_classifier():
    names = ("gan_train", "reference", "reference_2")
    gan_train, first, second = (Classifier(**experiments.RUNS[name].options) for name in names)
    assert gan_train.architecture == second.architecture != first.architecture
