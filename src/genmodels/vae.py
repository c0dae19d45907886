"""The variational autoencoder, plain and conditional."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from genmodels import checks, data
from genmodels.data import CANVAS, GRID, LABELS
from genmodels.distributions import bernoulli_log_likelihood, kl_closed_form, kl_monte_carlo, sample_gaussian
from genmodels.networks import (
    CellWindow,
    canvas_decoder,
    canvas_encoder,
    dense_decoder,
    dense_encoder,
    digit_classifier,
    hidden_widths,
)

KL_FORMS = {"monte_carlo": kl_monte_carlo, "closed_form": kl_closed_form}


@keras.saving.register_keras_serializable("genmodels")
class VAE(keras.Model):
    """A variational autoencoder with Gaussian q(z|x), standard normal p(z) and Bernoulli pixels.

    Takes quantised images (B, 28, 28, 1), 0 or 1, of any type. latent_dim: axes of z, >= 1. hidden_units: widths of the
    hidden layers of the encoder, in the decoder the other way round. kl: how the loss computes KL(q(z|x) || p(z)),
    "closed_form" or "monte_carlo". kl_weight: what multiplies it; 1 gives the evidence lower bound, more gives a
    beta-VAE. waves: frequencies of z that the decoder is given, see `networks.Waves`. normalise: batch normalisation in
    the decoder's hidden layers; not in the encoder, where it makes the bound worse. seed: of the noise drawn in `fit`
    and `evaluate`.
    Source: Kingma & Welling, "Auto-Encoding Variational Bayes", 2014; kl_weight: Higgins et al., "beta-VAE", 2017.
    """

    def __init__(
        self,
        *,
        latent_dim=2,
        hidden_units=(512, 512, 256),
        kl="closed_form",
        kl_weight=1.0,
        waves=5,
        normalise=True,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.latent_dim = checks.number("latent_dim", latent_dim, 1, whole=True)
        self.hidden_units = hidden_widths(hidden_units)
        self.kl, self.kl_weight = checks.choice("kl", kl, KL_FORMS), checks.number("kl_weight", kl_weight, 0)
        self.waves, self.normalise = checks.number("waves", waves, 0, whole=True), normalise
        self.seed = checks.seed(seed)
        self.encoder, self.decoder = self._networks()
        self.noise = keras.random.SeedGenerator(seed)
        self.negative_elbo = keras.metrics.Mean("negative_elbo")
        self.reconstruction = keras.metrics.Mean("reconstruction")
        self.kl_divergence = keras.metrics.Mean("kl")

    def _networks(self):
        """Encoder to z_mean and z_log_var, side by side, and decoder to logits."""
        drawing = {"waves": self.waves, "normalise": self.normalise}
        encoder = dense_encoder(2 * self.latent_dim, self.hidden_units)
        return encoder, dense_decoder(self.latent_dim, self.hidden_units[::-1], **drawing)

    def call(self, images, training=False):
        """A dict of logits (B, 28, 28, 1) and z_mean, z_log_var, z, each (B, latent_dim); z is drawn afresh."""
        z_mean, z_log_var = ops.split(self.encoder(_floats(images)), 2, axis=-1)
        z = sample_gaussian(z_mean, z_log_var, self.noise)
        logits = self.decoder(z, training=training)
        return {"logits": logits, "z_mean": z_mean, "z_log_var": z_log_var, "z": z}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """-(logpx_z + logpz - logqz_x), the last two as KL_FORMS[self.kl] has them; nats, averaged over the batch."""
        images = _floats(x[0] if isinstance(x, (tuple, list)) else x)
        logpx_z = bernoulli_log_likelihood(images, y_pred["logits"])
        kl = KL_FORMS[self.kl](y_pred["z_mean"], y_pred["z_log_var"], y_pred["z"])
        self.reconstruction.update_state(-logpx_z)
        self.kl_divergence.update_state(kl)
        self.negative_elbo.update_state(kl - logpx_z)
        return ops.mean(self.kl_weight * kl - logpx_z)

    def encode(self, images):
        """Mean and log-variance of q(z|x), two arrays (N, latent_dim), for images (N, 28, 28, 1)."""
        return self._encode(data.checked_images(images))

    def _encode(self, *inputs):
        return np.split(_outputs(self.encoder, *inputs), 2, axis=-1)

    def decode_logits(self, z):
        """Logits (N, 28, 28, 1) of the pixel probabilities for z (N, latent_dim)."""
        return _outputs(self.decoder, self._codes(z))

    def _codes(self, z):
        return checks.array("z", z, ("N", self.latent_dim))

    def decode(self, *inputs):
        """Pixel probabilities (N, 28, 28, 1) for what `decode_logits` takes."""
        drawn = self.decode_logits(*inputs)
        for rows in _rows(len(drawn)):
            drawn[rows] = ops.convert_to_numpy(ops.sigmoid(drawn[rows]))
        return drawn

    def sample(self, count, seed):
        """`count` images of pixel probabilities (count, 28, 28, 1), z drawn from N(0, I) with `seed`."""
        return self.decode(self._prior(checks.number("count", count, 1, whole=True), seed))

    def _prior(self, count, seed):
        rng = np.random.default_rng(checks.number("seed", seed, 0, whole=True))
        return rng.standard_normal((count, self.latent_dim), "float32")

    def get_config(self):
        names = ("latent_dim", "hidden_units", "kl", "kl_weight", "waves", "normalise", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable("genmodels")
class ConditionalVAE(VAE):
    """A VAE on the 56x56 canvas whose encoder and decoder are told the condition [label, pos_x, pos_y].

    Takes a pair: quantised canvases (B, 56, 56, 1) and conditions (B, 3), whole numbers, label 0-9, positions 0-2, as
    `genmodels.data.conditions` makes them. classifier_weight: of a term, >= 0, that asks digits drawn from the prior to
    be named right by a classifier, which learns from the real digits alongside; 0 leaves it out. Other arguments as for
    VAE.
    Source: Sohn, Lee & Yan, "Learning Structured Output Representation using Deep Conditional Generative Models", 2015;
    the term: Odena, Olah & Shlens, "Conditional Image Synthesis with Auxiliary Classifier GANs", 2017, here without a
    discriminator, and Bao et al., "CVAE-GAN", 2017.
    """

    def __init__(self, *, classifier_weight=0.0, waves=0, **options):
        super().__init__(waves=waves, **options)
        self.classifier_weight = checks.number("classifier_weight", classifier_weight, 0)
        self.classifier = digit_classifier() if classifier_weight else None

    def _networks(self):
        self.window = CellWindow(name="window")
        drawing = {"waves": self.waves, "normalise": self.normalise}
        encoder = canvas_encoder(self.window, 2 * self.latent_dim, self.hidden_units)
        return encoder, canvas_decoder(self.window, self.latent_dim, self.hidden_units[::-1], **drawing)

    def call(self, inputs, training=False):
        """As VAE.call, with logits (B, 56, 56, 1); with a classifier also what it makes of real and drawn digits."""
        canvases, condition = _floats(inputs[0]), one_hot_condition(inputs[1])
        label, position = condition[:, :LABELS], condition[:, LABELS:]
        read = self.window(canvases, position)
        encode, draw = self.encoder.get_layer("digit_encoder"), self.decoder.get_layer("digit_decoder")
        z_mean, z_log_var = ops.split(encode([read, label]), 2, axis=-1)
        z = sample_gaussian(z_mean, z_log_var, self.noise)
        found = {"z_mean": z_mean, "z_log_var": z_log_var, "z": z}
        if not self.classifier:
            digits = draw([z, label], training=training)
        else:  # half of them teach it enough; one call draws for both, so that batch normalisation sees both
            prior = keras.random.normal(ops.shape(_half(z)), seed=self.noise)
            digits = draw([ops.concatenate([z, prior]), ops.concatenate([label, _half(label)])], training=training)
            # Not slices: their gradient is padded with zeros to the whole and then added up.
            digits, drawn = tf.split(digits, [ops.shape(z)[0], ops.shape(prior)[0]])
            found |= self._names(_half(read), drawn, training)
        return {**found, "logits": self.window(digits, position, write=True)}

    def _names(self, real, drawn, training):
        """Label logits (B, 10) that the classifier gives to real digits and to drawn ones, given as logits.

        Of the real ones it learns; for the drawn ones its weights are held fixed, so that it cannot learn to agree.
        Drawn digits are quantised like real ones; the gradient passes that by (straight-through estimator: Bengio,
        Leonard & Courville, "Estimating or Propagating Gradients Through Stochastic Neurons", 2013).
        """
        drawn = ops.sigmoid(drawn + self.window.background)
        drawn += ops.stop_gradient(ops.cast(drawn >= 0.5, drawn.dtype) - drawn)
        fixed = [ops.stop_gradient(weight.value) for weight in self.classifier.trainable_variables]
        others = [weight.value for weight in self.classifier.non_trainable_variables]
        named, _ = self.classifier.stateless_call(fixed, others, drawn, training=False)
        return {"names_of_real": self.classifier(ops.stop_gradient(real), training=training), "names_of_drawn": named}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """As VAE.compute_loss, and with a classifier the cross-entropies of both kinds of names."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not self.classifier:
            return loss
        label = _half(one_hot_condition(x[1])[:, :LABELS])
        learned, drawn = (
            ops.mean(ops.categorical_crossentropy(label, y_pred[name], from_logits=True))
            for name in ("names_of_real", "names_of_drawn")
        )
        return loss + learned + self.classifier_weight * drawn

    def encode(self, canvases, conditions):
        """Mean and log-variance of q(z|x, condition), two arrays (N, latent_dim)."""
        canvases, conditions = data.checked_images(canvases, CANVAS, name="canvases"), _one_hot(conditions)
        checks.same_length(canvases=canvases, conditions=conditions)
        return self._encode(canvases, conditions)

    def decode_logits(self, z, conditions):
        """Logits (N, 56, 56, 1) of the pixel probabilities for z (N, latent_dim) and conditions (N, 3)."""
        z, conditions = self._codes(z), _one_hot(conditions)
        checks.same_length(z=z, conditions=conditions)
        return _outputs(self.decoder, z, conditions)

    def get_config(self):
        return {**super().get_config(), "classifier_weight": self.classifier_weight}

    def sample(self, conditions, seed):
        """One image of pixel probabilities (N, 56, 56, 1) per condition (N, 3), z drawn from N(0, I) with `seed`."""
        conditions = data.checked_conditions(conditions)
        return self.decode(self._prior(len(conditions), seed), conditions)


def _rows(count):
    """Slices of a thousand rows each.

    Canvases handed over at once, as to `predict`, would be copied into TensorFlow's memory, which never shrinks.
    """
    return [slice(start, start + 1_000) for start in range(0, count, 1_000)]


def _outputs(network, *inputs):
    """What a network makes of its inputs (N, ...), one array."""
    batches = ([values[rows] for values in inputs] for rows in _rows(len(inputs[0])))
    return np.concatenate([network.predict_on_batch(batch if batch[1:] else batch[0]) for batch in batches])


def _floats(images):
    """Images as float32; `fit` takes quantised ones as uint8 too, a quarter of the bytes to hand over."""
    return ops.cast(images, "float32")


def _half(batch):
    """The first half of a batch (not every second one: neighbours are a view, the others a copy)."""
    return batch[: (ops.shape(batch)[0] + 1) // 2]


def one_hot_condition(conditions):
    """[label, pos_x, pos_y] as one-hot vectors side by side: (B, 3) -> (B, 16)."""
    label, pos_x, pos_y = ops.unstack(ops.cast(conditions, "int32"), 3, axis=1)
    return ops.concatenate([ops.one_hot(label, LABELS), ops.one_hot(pos_x, GRID), ops.one_hot(pos_y, GRID)], axis=1)


def _one_hot(conditions):
    """The same as an array; raises ValueError for what is not a condition (one_hot would make zeros of it)."""
    return ops.convert_to_numpy(one_hot_condition(data.checked_conditions(conditions)))
