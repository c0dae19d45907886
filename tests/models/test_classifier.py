import keras
import numpy as np
import pytest

from genmodels.models.classifier import ARCHITECTURES, Classifier


def compiled(architecture="pooled"):
    keras.utils.set_random_seed(3)
    model = Classifier(architecture=architecture)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), loss=loss, metrics=["accuracy"])
    return model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_architecture_gives_128_features_per_image(architecture, rng):
    assert ARCHITECTURES[architecture]()(rng.random((3, 28, 28, 1), "float32")).shape == (3, 128)


@pytest.mark.parametrize(("architecture", "epochs"), [("pooled", 8), ("strided", 40)])  # the second's statistics lag
def test_classifier_learns_digits_and_classifies_as_it_evaluates(architecture, epochs, digits, graphs):
    classifier = compiled(architecture)
    # In one go, because Keras takes long from one epoch to the next.
    images, labels = (np.concatenate([each] * epochs) for each in (digits.images, digits.labels))
    classifier.fit(images, labels, batch_size=16, verbose=0)
    right = (classifier.classify(digits.images) == digits.labels).mean()
    assert right > 0.8
    np.testing.assert_allclose(classifier.evaluate(digits.images, digits.labels, verbose=0)[1], right, atol=1e-6)


def test_saved_classifier_gives_the_same_logits(digits, tmp_path):
    classifier = compiled()
    classifier.fit(digits.images, digits.labels, verbose=0)
    classifier.save(tmp_path / "classifier.keras")
    loaded = keras.models.load_model(tmp_path / "classifier.keras")
    assert np.array_equal(loaded.predict(digits.images, verbose=0), classifier.predict(digits.images, verbose=0))


def test_features_are_what_the_last_layer_sees(digits):
    classifier = compiled()
    logits = classifier.predict(digits.images[:5], verbose=0)
    weights, bias = (keras.ops.convert_to_numpy(weight) for weight in classifier.head.weights)
    np.testing.assert_allclose(classifier.features(digits.images[:5]) @ weights + bias, logits, rtol=1e-4, atol=1e-5)
