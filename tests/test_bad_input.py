"""Every public function refuses a bad argument with one line that states the expected and the received value."""

from functools import lru_cache

import keras
import numpy as np
import pytest

from genmodels import canvas, datasets, distributions, experiments, metrics, optimizers, training
from genmodels.models.autoencoder import AE
from genmodels.models.classifier import Classifier
from genmodels.models.conditional_vae import ConditionalVAE
from genmodels.models.gan import ConditionalGAN
from genmodels.models.vae import VAE


def pictures(side):
    """Return {why: value} of values that are no images of that side."""
    good = np.zeros((2, side, side, 1), "float32")
    return {
        "no channel axis": good[..., 0],
        "one image without an axis for it": good[0],
        "another side": good[:, 1:],
        "three channels": np.repeat(good, 3, axis=-1),
        "no images": good[:0],
        "negative": good - 0.1,
        "grey levels to 255": good + 255,
        "bytes to 255": np.full(good.shape, 255, "uint8"),
        "nan": np.where(good == 0, np.nan, good),
        "infinite": good + np.inf,
        "complex": good.astype("complex64"),
        "objects": good.astype(object),
        "texts": good.astype(str),
        "rows of different lengths": [[0.0], [0.0, 1.0]],
        "a text": "digit.png",
        "nothing": None,
    }


def of_any_shape(side):
    """Return `pictures` without those whose only fault is a shape that some functions take."""
    return {why: value for why, value in pictures(side).items() if why not in ("another side", "three channels")}


LABELS = {
    "too large": [3, 10],
    "negative": [-1, 3],
    "floats": [1.0, 2.0],
    "nan": [np.nan, 1.0],
    "texts": ["1", "2"],
    "true and false": [True, False],
    "two axes": [[1, 2]],
    "one number": np.int32(7),
    "none": np.zeros(0, "int32"),
    "nothing": None,
}
CONDITIONS = {
    "no such label": [[10, 0, 0], [1, 0, 0]],
    "negative label": [[-1, 0, 0], [1, 0, 0]],
    "off the grid to the right": [[1, 3, 0], [1, 0, 0]],
    "off the grid below": [[1, 0, 3], [1, 0, 0]],
    "off the grid to the left": [[1, -1, 0], [1, 0, 0]],
    "floats": [[1.0, 0.0, 0.0], [1, 0, 0]],
    "one-hot": np.eye(16, dtype="int32")[:2],
    "without positions": [[1], [2]],
    "one axis": [1, 0, 0],
    "texts": [["1", "0", "0"], ["1", "0", "0"]],
    "of different lengths": [[1, 0, 0], [1, 0]],
    "none": np.zeros((0, 3), "int32"),
    "nothing": None,
}
CODES = {
    "another latent_dim": np.zeros((2, 3)),
    "one axis": np.zeros(2),
    "nan": np.full((2, 2), np.nan),
    "infinite": np.full((2, 2), np.inf),
    "texts": [["a", "b"], ["c", "d"]],
    "none": np.zeros((0, 2)),
    "nothing": None,
}
NOT_COUNTS = {"zero": 0, "negative": -1, "a fraction": 1.5, "a text": "2", "nothing": None, "true": True, "nan": np.nan}
NOT_WEIGHTS = {"negative": -0.1, "nan": np.nan, "infinite": np.inf, "a text": "1", "nothing": None, "true": True}
NOT_SEEDS = {"negative": -1, "a fraction": 0.5, "a text": "x"}
NOT_A_LABEL = {
    "too large": 10,
    "negative": -1,
    "a float": 1.0,
    "nan": np.nan,
    "a text": "1",
    "true": True,
    "two labels": [1, 2],
    "nothing": None,
}
NOT_A_POSITION = {
    "off the grid to the right": (3, 0),
    "off the grid below": (0, 3),
    "off the grid to the left": (-1, 0),
    "floats": (1.0, 0.0),
    "one number": 1,
    "one axis": (1,),
    "three axes": (1, 1, 1),
    "texts": ("1", "0"),
    "nothing": None,
}


@lru_cache
def small(kind, **options):
    if kind is ConditionalGAN:
        return ConditionalGAN(channels=4, noise_dim=2)
    return Classifier() if kind is Classifier else kind(hidden_units=(4,), **options)


def image(count=2, side=28):
    return np.zeros((count, side, side, 1), "float32")


GOOD_LABELS, GOOD = np.array([1, 2]), np.array([[1, 0, 0], [2, 1, 1]])
TEN = (image(10), np.arange(10))
FEATURES = np.zeros((4, 3))
# {function and argument: (call with one bad value, {why: bad value})}
CALLS = {
    "Split.typical": (lambda bad: datasets.Split(*TEN).typical(bad), {**NOT_SEEDS, "too large": 10, "nothing": None}),
    "datasets.binarize": (
        datasets.binarize,
        {why: pictures(28)[why] for why in ("negative", "grey levels to 255", "nan", "texts")},
    ),
    "datasets.translate, images": (lambda bad: datasets.translate(bad, [0, 0], [0, 0]), of_any_shape(28)),
    "datasets.translate, right": (
        lambda bad: datasets.translate(image(), bad, [0, 0]),
        {"far": [3, 0], "floats": [0.5, 0], "few": [1]},
    ),
    "datasets.augment": (lambda bad: datasets.augment(bad, np.random.default_rng(0)), of_any_shape(28)),
    "datasets.augment, reach": (
        lambda bad: datasets.augment(image(), np.random.default_rng(0), reach=bad),
        {why: NOT_COUNTS[why] for why in NOT_COUNTS if why != "zero"},
    ),
    "datasets.augment, binarized_share": (
        lambda bad: datasets.augment(image(), np.random.default_rng(0), binarized_share=bad),
        {**NOT_WEIGHTS, "above one": 1.1},
    ),
    "datasets.translate, border": (
        lambda bad: datasets.translate(image(), [0, 0], [0, 0], border=bad),
        {"unknown": "wrap", "nothing": None},
    ),
    "canvas.place_on_canvas, images": (lambda bad: canvas.place_on_canvas(bad, [[0, 0], [1, 1]]), pictures(28)),
    "canvas.place_on_canvas, positions": (
        lambda bad: canvas.place_on_canvas(image(), bad),
        {
            "off the grid": [[0, 3], [0, 0]],
            "floats": [[0.0, 1.0], [0, 0]],
            "few": [[0, 0]],
            "flat": [0, 0],
            "nothing": None,
        },
    ),
    "canvas.conditions, labels": (
        lambda bad: canvas.conditions(bad, 0, 0),
        {why: LABELS[why] for why in LABELS if why != "one number"},
    ),
    "canvas.conditions, pos_x": (
        lambda bad: canvas.conditions(1, bad, 0),
        {"far": 3, "negative": -1, "float": 1.0, "text": "1"},
    ),
    "canvas.conditions, pos_y": (
        lambda bad: canvas.conditions([1, 2], 0, bad),
        {"far": 3, "three": [0, 1, 2], "nothing": None},
    ),
    "AE.encode": (lambda bad: small(AE).encode(bad), pictures(28)),
    "AE.decode": (lambda bad: small(AE).decode(bad), CODES),
    "VAE.encode": (lambda bad: small(VAE).encode(bad), pictures(28)),
    "VAE.decode": (lambda bad: small(VAE).decode(bad), CODES),
    "VAE.decode_logits": (lambda bad: small(VAE).decode_logits(bad), CODES),
    "VAE.sample, count": (lambda bad: small(VAE).sample(bad, seed=0), NOT_COUNTS),
    "VAE.sample, seed": (lambda bad: small(VAE).sample(1, seed=bad), {**NOT_SEEDS, "nothing": None}),
    "ConditionalVAE.encode, canvases": (lambda bad: small(ConditionalVAE).encode(bad, GOOD), pictures(56)),
    "ConditionalVAE.encode, conditions": (lambda bad: small(ConditionalVAE).encode(image(side=56), bad), CONDITIONS),
    "ConditionalVAE.encode, few": (lambda bad: small(ConditionalVAE).encode(image(side=56), bad), {"few": GOOD[:1]}),
    "ConditionalVAE.decode, z": (lambda bad: small(ConditionalVAE).decode(bad, GOOD), CODES),
    "ConditionalVAE.decode_logits": (
        lambda bad: small(ConditionalVAE).decode_logits(np.zeros((2, 2)), bad),
        CONDITIONS,
    ),
    "ConditionalVAE.sample": (lambda bad: small(ConditionalVAE).sample(bad, seed=0), CONDITIONS),
    "VAE.draw, count": (lambda bad: small(VAE).draw(bad, seed=0), NOT_COUNTS),
    "VAE.draw, seed": (lambda bad: small(VAE).draw(1, seed=bad), {**NOT_SEEDS, "nothing": None}),
    **{
        f"ConditionalVAE.{method}, {part}": (call, values)
        for method in ("from_noise", "to_noise", "log_prior")
        for part, call, values in (
            ("z", lambda bad, method=method: getattr(small(ConditionalVAE), method)(bad, GOOD), CODES),
            (
                "conditions",
                lambda bad, method=method: getattr(small(ConditionalVAE), method)(np.zeros((2, 2)), bad),
                CONDITIONS,
            ),
        )
    },
    "ConditionalVAE.draw, count": (
        lambda bad: small(ConditionalVAE).draw(bad, seed=0, label=1, position=(0, 0)),
        NOT_COUNTS,
    ),
    "ConditionalVAE.draw, seed": (
        lambda bad: small(ConditionalVAE).draw(1, seed=bad, label=1, position=(0, 0)),
        {**NOT_SEEDS, "nothing": None},
    ),
    "ConditionalVAE.draw, label": (
        lambda bad: small(ConditionalVAE).draw(1, seed=0, label=bad, position=(0, 0)),
        NOT_A_LABEL,
    ),
    "ConditionalVAE.draw, position": (
        lambda bad: small(ConditionalVAE).draw(1, seed=0, label=1, position=bad),
        NOT_A_POSITION,
    ),
    "ConditionalGAN.draw, count": (lambda bad: small(ConditionalGAN).draw(bad, seed=0, label=1), NOT_COUNTS),
    "ConditionalGAN.draw, seed": (
        lambda bad: small(ConditionalGAN).draw(1, seed=bad, label=1),
        {**NOT_SEEDS, "nothing": None},
    ),
    "ConditionalGAN.draw, label": (lambda bad: small(ConditionalGAN).draw(1, seed=0, label=bad), NOT_A_LABEL),
    "ConditionalGAN.generate, labels": (lambda bad: small(ConditionalGAN).generate(bad, seed=0), LABELS),
    "ConditionalGAN.generate, seed": (lambda bad: small(ConditionalGAN).generate([1], seed=bad), NOT_SEEDS),
    "Classifier.classify": (lambda bad: small(Classifier).classify(bad), pictures(28)),
    "Classifier.features": (lambda bad: small(Classifier).features(bad), pictures(28)),
    "metrics.mean_and_error": (
        metrics.mean_and_error,
        {"none": [], "nan": [np.nan, 1], "texts": ["a"], "two axes": [[1.0]]},
    ),
    "metrics.squared_error, images": (lambda bad: metrics.squared_error(bad, image()), pictures(28)),
    "metrics.squared_error, reconstructions": (lambda bad: metrics.squared_error(image(), bad), pictures(28)),
    "metrics.squared_error, few": (lambda bad: metrics.squared_error(image(), bad), {"few": image(1)}),
    "metrics.elbo_terms": (lambda bad: metrics.elbo_terms(small(VAE), bad, 0), pictures(28)),
    "metrics.elbo_terms, conditions": (
        lambda bad: metrics.elbo_terms(small(ConditionalVAE), image(side=56), 0, bad),
        {why: CONDITIONS[why] for why in CONDITIONS if why != "nothing"},
    ),
    "metrics.importance_weighted_bound": (
        lambda bad: metrics.importance_weighted_bound(small(VAE), bad, 0, samples=2),
        pictures(28),
    ),
    "metrics.importance_weighted_bound, samples": (
        lambda bad: metrics.importance_weighted_bound(small(VAE), image(), 0, samples=bad),
        NOT_COUNTS,
    ),
    "metrics.label_accuracy, images": (
        lambda bad: metrics.label_accuracy(small(Classifier), bad, GOOD_LABELS),
        pictures(28),
    ),
    "metrics.label_accuracy, labels": (lambda bad: metrics.label_accuracy(small(Classifier), image(), bad), LABELS),
    "metrics.label_accuracy, few": (lambda bad: metrics.label_accuracy(small(Classifier), image(), bad), {"few": [1]}),
    "metrics.confident_share": (lambda bad: metrics.confident_share(small(Classifier), bad), pictures(28)),
    "metrics.confident_share, threshold": (
        lambda bad: metrics.confident_share(small(Classifier), image(), threshold=bad),
        {**NOT_WEIGHTS, "above one": 1.1},
    ),
    "metrics.grey_share": (
        metrics.grey_share,
        {why: bad for why, bad in pictures(28).items() if why not in ("another side", "three channels")},
    ),
    "metrics.grey_share, margin": (lambda bad: metrics.grey_share(image(), margin=bad), {**NOT_WEIGHTS, "large": 0.6}),
    "metrics.code_spread": (metrics.code_spread, CODES),
    "metrics.crop, canvases": (lambda bad: metrics.crop(bad, GOOD), pictures(56)),
    "metrics.crop, conditions": (lambda bad: metrics.crop(image(side=56), bad), CONDITIONS),
    "metrics.found_positions": (metrics.found_positions, pictures(56)),
    "metrics.conditional_accuracy, canvases": (
        lambda bad: metrics.conditional_accuracy(small(Classifier), bad, GOOD),
        pictures(56),
    ),
    "metrics.conditional_accuracy, conditions": (
        lambda bad: metrics.conditional_accuracy(small(Classifier), image(side=56), bad),
        CONDITIONS,
    ),
    "metrics.relative_diversity, images": (
        lambda bad: metrics.relative_diversity(bad, TEN[1], datasets.Split(*TEN)),
        pictures(28),
    ),
    "metrics.relative_diversity, labels": (
        lambda bad: metrics.relative_diversity(TEN[0], bad, datasets.Split(*TEN)),
        {**LABELS, "without most classes": np.zeros(10, "int32")},
    ),
    "metrics.relative_diversity, real": (
        lambda bad: metrics.relative_diversity(*TEN, bad),
        {
            "without labels": datasets.Split(TEN[0], None),
            "another side": datasets.Split(image(10, 27), TEN[1]),
            "one image of each class": datasets.Split(*TEN),
        },
    ),
    "metrics.collapsed_classes": (
        lambda bad: metrics.collapsed_classes([0.1], least=bad),
        {why: bad for why, bad in NOT_WEIGHTS.items()},
    ),
    "metrics.linear_probe, codes": (
        lambda bad: metrics.linear_probe(bad, GOOD_LABELS),
        {why: CODES[why] for why in CODES if why != "another latent_dim"},
    ),
    "metrics.linear_probe, targets": (
        lambda bad: metrics.linear_probe(FEATURES, bad),
        {"few": [1], "floats": [1.0] * 4, "negative": [-1] * 4},
    ),
    "metrics.frechet_distance": (
        lambda bad: metrics.frechet_distance(bad, FEATURES),
        {
            "other axes": np.zeros((4, 2)),
            "one": FEATURES[:1],
            "nan": FEATURES * np.nan,
            "flat": FEATURES[0],
            "none": FEATURES[:0],
        },
    ),
    "metrics.kernel_distance": (
        lambda bad: metrics.kernel_distance(bad, FEATURES, block=2),
        {"other axes": np.zeros((4, 2)), "few": FEATURES[:3], "nan": FEATURES * np.nan, "flat": FEATURES[0]},
    ),
    "metrics.kernel_distance, block": (lambda bad: metrics.kernel_distance(FEATURES, FEATURES, block=bad), NOT_COUNTS),
    "metrics.neighbourhood_scores": (
        lambda bad: metrics.neighbourhood_scores(bad, FEATURES, neighbours=2),
        {"other axes": np.zeros((4, 2)), "few": FEATURES[:2], "nan": FEATURES * np.nan, "flat": FEATURES[0]},
    ),
    "metrics.neighbourhood_scores, neighbours": (
        lambda bad: metrics.neighbourhood_scores(FEATURES, FEATURES, neighbours=bad),
        {**NOT_COUNTS, "as many as there are": 4},
    ),
    "metrics.nearest_neighbours, images": (lambda bad: metrics.nearest_neighbours(bad, image()), pictures(28)),
    "metrics.nearest_neighbours, real": (lambda bad: metrics.nearest_neighbours(image(), bad), pictures(28)),
    "distributions.bernoulli_log_likelihood": (
        lambda bad: distributions.bernoulli_log_likelihood(image(), bad),
        {"no channel axis": image()[..., 0], "canvases": image(side=56), "flat": np.zeros(2)},
    ),
    "distributions.kl_closed_form": (
        lambda bad: distributions.kl_closed_form(np.zeros((2, 2)), bad),
        {"another latent_dim": np.zeros((2, 3)), "flat": np.zeros(2)},
    ),
    "distributions.kl_monte_carlo": (
        lambda bad: distributions.kl_monte_carlo(np.zeros((2, 2)), np.zeros((2, 2)), bad),
        {"another latent_dim": np.zeros((2, 3)), "flat": np.zeros(2)},
    ),
    "distributions.sample_gaussian": (
        lambda bad: distributions.sample_gaussian(np.zeros((2, 2), "float32"), bad, 0),
        {"another latent_dim": np.zeros((2, 3)), "flat": np.zeros(2)},
    ),
    **{
        f"{kind.__name__}, {option}": (lambda bad, kind=kind, option=option: kind(**{option: bad}), values)
        for kinds, option, values in (
            ((AE, VAE, ConditionalVAE), "latent_dim", NOT_COUNTS),
            (
                (AE, VAE, ConditionalVAE),
                "hidden_units",
                {"none": (), "zero": (0,), "floats": (1.5,), "a number": 512, "nothing": None},
            ),
            (
                (AE, VAE, ConditionalVAE),
                "num_frequencies",
                {why: NOT_COUNTS[why] for why in NOT_COUNTS if why != "zero"},
            ),
            (
                (VAE, ConditionalVAE),
                "kl",
                {"unknown": "exact", "nothing": None, "a number": 1, "a list": ["closed_form"]},
            ),
            ((VAE, ConditionalVAE), "beta", NOT_WEIGHTS),
            ((VAE, ConditionalVAE, ConditionalGAN), "seed", NOT_SEEDS),
            ((ConditionalGAN,), "classifier_weight", NOT_WEIGHTS),
            ((ConditionalVAE,), "prior", {"unknown": "vamp", "nothing": None, "a list": ["flow"]}),
            ((ConditionalVAE,), "window", {"a number": 1, "nothing": None, "a text": "yes"}),
            ((ConditionalGAN,), "noise_dim", NOT_COUNTS),
            ((ConditionalGAN,), "channels", NOT_COUNTS),
            ((ConditionalGAN,), "image_noise", NOT_WEIGHTS),
            ((ConditionalGAN,), "sampling_deviation", NOT_WEIGHTS),
            ((ConditionalGAN,), "average_decay", {**NOT_WEIGHTS, "above one": 1.1}),
            ((Classifier,), "architecture", {"unknown": "deep", "nothing": None, "a list": ["pooled"]}),
        )
        for kind in kinds
    },
    "training.Batches, count": (lambda bad: training.Batches(bad, 4, None, seed=0), NOT_COUNTS),
    "training.Batches, batch_size": (lambda bad: training.Batches(4, bad, None, seed=0), NOT_COUNTS),
    "training.Batches, seed": (lambda bad: training.Batches(4, 4, None, seed=bad), {**NOT_SEEDS, "nothing": None}),
    "optimizers.adam, learning_rate": (lambda bad: optimizers.adam(bad, 10), NOT_WEIGHTS),
    "optimizers.adam, steps": (lambda bad: optimizers.adam(1e-3, bad), NOT_COUNTS),
    "optimizers.adam, decay": (lambda bad: optimizers.adam(1e-3, 10, decay=bad), {"unknown": "step", "nothing": None}),
    "pipeline.experiments.find": (
        experiments.find,
        {"unknown": "vea", "nothing": None, "a list": ["ae"], "a number": 1},
    ),
}
CASES = [(function, why) for function, (_, values) in CALLS.items() for why in values]


@pytest.mark.parametrize(("function", "why"), CASES)
def test_refused_in_one_line(function, why):
    call, values = CALLS[function]
    with pytest.raises(ValueError, match=r"(must|expected) .*got ") as refused:
        call(values[why])
    text = str(refused.value)
    assert "\n" not in text and len(text) < 700


def test_the_table_is_large():
    assert len(CASES) >= 300


@pytest.mark.parametrize("latent_dim", [1, 1_000])
def test_extreme_models_learn_from_extreme_images(latent_dim):
    """Train on one image, all zeros or all ones, in a batch larger than the data."""
    small, condition = {"latent_dim": latent_dim, "hidden_units": (4,)}, np.array([[3, 1, 1]])
    prior = "flow" if latent_dim > 1 else "normal"  # a flow needs two axes
    for model in (AE(**small), VAE(**small), ConditionalVAE(**small, prior=prior)):
        model.compile(optimizers.adam(1e-3, 6))
        for value in (0.0, 1.0):
            image = np.full((1, 28, 28, 1), value, "float32")
            conditional = isinstance(model, ConditionalVAE)
            example = (canvas.place_on_canvas(image, condition[:, 1:]), condition) if conditional else image
            batch = training.Batches(1, 128, lambda chosen, rng, example=example: (example,), seed=0)
            history = training.fit(model, batch, epochs=3, name="extreme")
            assert np.isfinite(history["loss"]).all()
            assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_a_gan_learns_from_one_constant_image_of_one_label():
    model = ConditionalGAN(channels=4, noise_dim=1, seed=0)
    model.compile(*(keras.optimizers.Adam(1e-3) for _ in range(2)))
    batch = training.Batches(1, 64, lambda chosen, rng: (image(1)[chosen], np.array([7])[chosen]), seed=0)
    history = training.fit(model, batch, epochs=3, name="extreme")
    assert np.isfinite(history["generator_loss"]).all() and model.generate([7], seed=0).shape == (1, 28, 28, 1)
