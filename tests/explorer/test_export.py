import re

import keras
import numpy as np
import pytest
import reference
from keras import layers

from genmodels.canvas import all_conditions
from genmodels.explorer import export
from genmodels.layers import DepthToSpace, FourierFeatures
from genmodels.models.autoencoder import AE
from genmodels.models.conditional_vae import ConditionalVAE, one_hot_condition
from genmodels.models.gan import ConditionalGAN
from genmodels.models.vae import VAE

SMALL = {"hidden_units": (12, 9)}


def shaken(model, rng):
    """Return a model with random weights in which nothing is zero or one, as after a training."""
    for weight in model.weights:
        if weight.dtype == "float32":
            scale = 0.2 / max(1, weight.shape[0] if len(weight.shape) > 1 else 1) ** 0.25
            values = rng.normal(0, scale, weight.shape)
            weight.assign(1 + abs(values) if "variance" in weight.path or "gamma" in weight.path else values)
    return model


def compare(network, *inputs, tolerance=2e-5):
    """Compare a description with Keras, which holds the same rounded weights."""
    description = export.describe(network)
    with export.rounded_weights(description):
        expected = network.predict_on_batch(inputs[0] if len(inputs) == 1 else list(inputs))
    np.testing.assert_allclose(reference.run(description.as_json(), *inputs), expected, atol=tolerance)


def codes(rng, count, axes):
    return rng.normal(0, 2, (count, axes)).astype("float32")


def one_hot(rng, count, classes=10):
    return np.eye(classes, dtype="float32")[rng.integers(0, classes, count)]


def on_image(*added):
    image = value = keras.Input((6, 4, 3))
    for layer in added:
        value = layer(value)
    return keras.Model(image, value)


def on_numbers(*added):
    numbers = value = keras.Input((6,))
    for layer in added:
        value = layer(value)
    return keras.Model(numbers, value)


def used_twice(numbers):
    dense = layers.Dense(5)(numbers)
    return layers.Concatenate()([dense, layers.BatchNormalization()(dense)])


# Networks of the kinds of layers that the models of the report lack, or use in one way only.
NETWORKS = {
    **{name: lambda name=name: on_numbers(layers.Dense(5, activation=name)) for name in export.ACTIVATIONS},
    "normalisation alone": lambda: on_numbers(layers.BatchNormalization()),
    "normalisation of a value that is used twice": lambda: on_numbers(used_twice),
    "slice": lambda: on_numbers(lambda x: x[:, 1:-1], layers.Dense(2)),
    "fourier": lambda: on_numbers(FourierFeatures(3)),
    "depth to space": lambda: on_image(layers.Conv2D(8, 1, padding="same"), DepthToSpace()),
    **{
        f"{kind}, {size} pixels, stride {stride}": lambda kind=kind, size=size, stride=stride: on_image(
            getattr(layers, kind)(4, size, stride, padding="same"), layers.BatchNormalization()
        )
        for kind in ("Conv2D", "Conv2DTranspose")
        for size in (1, 3, 4)
        for stride in (1, 2, 3)
    },
}


@pytest.mark.parametrize("name", NETWORKS)
def test_each_kind_of_layer_computes_what_keras_computes(name, rng):
    network = shaken(NETWORKS[name](), rng)
    compare(network, rng.normal(0, 1, (7, *network.input_shape[1:])).astype("float32"))


@pytest.mark.parametrize("options", [{}, {"normalise": False}, {"normalise_codes": False, "num_frequencies": 0}])
def test_an_autoencoder(options, rng):
    model = shaken(AE(**SMALL, **options), rng)
    compare(model.encoder, rng.random((5, 28, 28, 1), "float32"))
    compare(model.decoder, codes(rng, 5, 2))


def test_a_vae_of_small_colour_images(rng):
    model = shaken(VAE(image_shape=(4, 6, 3), latent_dim=3, likelihood="gaussian", **SMALL), rng)
    compare(model.encoder, rng.random((5, 4, 6, 3), "float32"))
    compare(model.decoder, codes(rng, 5, 3))


@pytest.mark.parametrize("settled", [True, False])
def test_a_conditional_vae_with_its_window(settled, rng):
    model = shaken(ConditionalVAE(latent_dim=5, prior="flow", **SMALL), rng)
    if settled:
        model.window.columns.assign(np.eye(3))
    conditions = all_conditions(1)[::7]
    placed = np.array(one_hot_condition(conditions))
    compare(model.decoder, codes(rng, len(placed), 5), placed)


def test_a_conditional_vae_without_a_window(rng):
    model = shaken(ConditionalVAE(latent_dim=5, window=False, **SMALL), rng)
    compare(model.decoder, codes(rng, 4, 5), one_hot(rng, 4, 16))


@pytest.mark.parametrize("latent_dim", [2, 5])
def test_a_learned_prior_turns_noise_into_codes(latent_dim, rng):
    model = shaken(ConditionalVAE(latent_dim=latent_dim, prior="flow", **SMALL), rng)
    flow, noise, conditions = export.describe_flow(model.flow), codes(rng, 6, latent_dim), all_conditions(1)[::15]
    read = {**flow, "networks": [network.as_json(exact=True) for network in flow["networks"]]}
    label = np.array(one_hot_condition(conditions))[:, :10]
    expected = model.from_noise(noise, conditions)
    np.testing.assert_allclose(reference.from_noise(read, noise, label), expected, atol=2e-5)


def test_a_generator(rng):
    model = shaken(ConditionalGAN(channels=4, noise_dim=3), rng)
    compare(model.averaged_generator, codes(rng, 3, 3), one_hot(rng, 3))


def test_normalisation_behind_a_dense_layer_costs_the_browser_no_layer():
    kinds = [layer.kind for layer in export.describe(AE().decoder).layers]
    assert kinds == ["input", "fourier", *3 * ["dense", "activation"], "dense"]


def test_the_network_has_its_own_weights_after_a_comparison(rng):
    network = shaken(AE(**SMALL), rng).encoder
    before = network.get_weights()
    with export.rounded_weights(export.describe(network)):
        assert not all(map(np.array_equal, before, network.get_weights()))
    assert all(map(np.array_equal, before, network.get_weights()))


UNKNOWN = {
    "LayerNormalization 'mine'": lambda: on_numbers(layers.LayerNormalization(name="mine")),
    "Conv2D 'mine' with other options than padding='same'": lambda: on_image(layers.Conv2D(2, 3, name="mine")),
    "Dense 'mine' with the activation 'softplus'": lambda: on_numbers(layers.Dense(2, "softplus", name="mine")),
    "BatchNormalization 'mine' with axis 1": lambda: on_image(layers.BatchNormalization(axis=1, name="mine")),
    "with other indices than x[:, start:stop]": lambda: on_numbers(lambda x: x[:, ::2]),
    "Sequential 'mine' with no network of": lambda: keras.Sequential([keras.Input((6,)), layers.Dense(2)], name="mine"),
    "with reading; it can only write": lambda: ConditionalVAE(latent_dim=2, **SMALL).encoder,
}


@pytest.mark.parametrize("message", UNKNOWN)
def test_an_unknown_layer_stops_the_export_with_its_name(message):
    with pytest.raises(export.ExportError, match=re.escape(message)):
        export.describe(UNKNOWN[message]())


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
def test_packed_numbers_come_back(dtype, rng):
    values = rng.integers(0, 255, (3, 7)).astype(dtype)
    for unpack in (export.unpack, reference.unpack):
        np.testing.assert_array_equal(unpack(export.pack(values), np.dtype(dtype).newbyteorder("<")), values.ravel())


def test_a_weight_too_large_for_float16_stops_the_export():
    model = AE(**SMALL)
    model.decoder.layers[-2].bias.assign(np.full(784, 1e5, "float32"))
    with pytest.raises(export.ExportError, match="65504"):
        export.describe(model.decoder).as_json()
