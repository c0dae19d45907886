import keras
import numpy as np
import pytest
import tensorflow as tf

from genmodels.models.gan import ConditionalGAN, decay_after, discriminator, generator


@pytest.fixture
def gan():
    keras.utils.set_random_seed(3)
    model = ConditionalGAN(noise_dim=6, channels=8, seed=5)
    model.compile(keras.optimizers.Adam(1e-3, beta_1=0.5), keras.optimizers.Adam(1e-3, beta_1=0.5))
    return model


def snapshot(network):
    return [keras.ops.convert_to_numpy(weight) for weight in network.trainable_variables]


def test_generator_gives_an_image_for_noise_and_label(rng):
    labels = np.eye(10, dtype="float32")[[1, 2, 3]]
    assert generator(5, 8)([rng.random((3, 5)), labels]).shape == (3, 28, 28, 1)


def test_discriminator_gives_a_logit_and_label_logits_for_image_and_label(rng):
    labels = np.eye(10, dtype="float32")[[1, 2, 3]]
    logit, label_logits = discriminator(8)([rng.random((3, 28, 28, 1), "float32"), labels])
    assert (logit.shape, label_logits.shape) == ((3,), (3, 10))


def test_a_step_changes_both_networks_and_the_average(gan, digits):
    networks = gan.generator, gan.discriminator, gan.averaged_generator
    before = [[keras.ops.convert_to_numpy(weight) for weight in network.variables] for network in networks]
    gan.fit(digits.images, digits.labels, batch_size=64, verbose=0)
    for old, network in zip(before, networks):
        assert any(not np.array_equal(was, now) for was, now in zip(old, network.variables))


@pytest.mark.parametrize("frozen", ["generator", "discriminator"])
def test_each_optimizer_leaves_the_other_network_alone(digits, frozen):
    """Train with a rate of 0 for one network: the optimizer of the other must not move it."""
    keras.utils.set_random_seed(3)
    model = ConditionalGAN(noise_dim=6, channels=8, seed=5)
    rates = [0.0 if frozen == name else 1e-3 for name in ("generator", "discriminator")]
    model.compile(*(keras.optimizers.SGD(rate) for rate in rates))
    before = snapshot(getattr(model, frozen))
    model.fit(digits.images, digits.labels, batch_size=64, verbose=0)
    assert all(np.array_equal(was, now) for was, now in zip(before, snapshot(getattr(model, frozen))))


def test_generated_images_vary_more_with_wider_noise(gan):
    def spread(deviation):
        gan.sampling_deviation = deviation
        return np.std(gan.generate([3] * 200, seed=0), axis=0).mean()

    assert spread(0.0) < 1e-6 < spread(0.5) < spread(1.0)


def test_gradients_reach_both_networks(gan, digits):
    images = keras.ops.convert_to_tensor(digits.images)
    label = keras.ops.one_hot(digits.labels, 10)
    noise = keras.random.normal((len(digits), 6), seed=0)
    with tf.GradientTape(persistent=True) as tape:
        fakes = keras.ops.sigmoid(gan.generator([noise, label], training=True))
        g_loss, d_loss, _ = gan.losses(images, label, fakes)
    for loss, network in ((g_loss, gan.generator), (d_loss, gan.discriminator)):
        assert all(np.abs(gradient).max() > 0 for gradient in tape.gradient(loss, network.trainable_variables))


def test_average_follows_the_generator_by_its_decay(gan, digits):
    before = keras.ops.convert_to_numpy(gan.averaged_generator.variables[0])
    gan.fit(digits.images[:64], digits.labels[:64], batch_size=64, verbose=0)
    first = 2 / 11  # the decay after one step
    expected = first * before + (1 - first) * keras.ops.convert_to_numpy(gan.generator.variables[0])
    np.testing.assert_allclose(gan.averaged_generator.variables[0], expected, rtol=1e-5, atol=1e-7)


def test_decay_of_the_average_grows_up_to_its_limit():
    assert [float(decay_after(steps, 0.998)) for steps in (1, 90, 10_000)] == pytest.approx([2 / 11, 0.91, 0.998])


def test_average_forgets_the_weights_of_the_start():
    average = 1.0  # of a weight that is 1 at the start and 0 after each step
    for steps in range(1, 101):
        average *= float(decay_after(steps, 0.998))
    assert average < 1e-6


def test_evaluate_changes_nothing_and_reports_the_losses(gan, digits):
    before = snapshot(gan)
    result = gan.evaluate(digits.images, digits.labels, batch_size=50, verbose=0, return_dict=True)
    assert set(result) == {"generator_loss", "discriminator_loss", "discriminator_accuracy"}
    assert all(np.array_equal(was, now) for was, now in zip(before, snapshot(gan)))


def test_generated_images_depend_on_label_noise_and_seed_only(gan):
    labels = np.array([0, 1, 1])
    images = gan.generate(labels, seed=1)
    assert images.shape == (3, 28, 28, 1) and (images >= 0).all() and (images <= 1).all()
    assert np.array_equal(images, gan.generate(labels, seed=1))
    assert not np.array_equal(images[1], images[2])
    assert not np.array_equal(images[0], gan.generate(np.array([5, 1, 1]), seed=1)[0])


def test_saved_gan_draws_the_same_and_can_go_on_training(gan, digits, tmp_path):
    gan.fit(digits.images, digits.labels, verbose=0)
    gan.save(tmp_path / "gan.keras")
    loaded = keras.models.load_model(tmp_path / "gan.keras")
    assert np.array_equal(loaded.generate([3, 4], seed=0), gan.generate([3, 4], seed=0))
    loaded.fit(digits.images, digits.labels, verbose=0)


def test_draw_generates_images_of_one_label(gan):
    assert np.array_equal(gan.draw(2, seed=1, label=5), gan.generate([5, 5], seed=1))
