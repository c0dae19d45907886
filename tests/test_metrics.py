import keras
import numpy as np
import pytest
from scipy import linalg, spatial, special, stats
from sklearn.linear_model import LogisticRegression

from genmodels import canvas, datasets, distributions, metrics
from genmodels.models.conditional_vae import ConditionalVAE
from genmodels.models.vae import VAE


class Oracle:
    """A classifier that takes the number of ink pixels for the label, with certainty."""

    image_shape, num_classes = (28, 28, 1), 10

    def classify(self, images):
        return np.rint(images.sum(axis=(1, 2, 3))).astype(int) % 10

    def predict(self, images, **_):
        return 20 * np.eye(10)[self.classify(images)]


def ink(labels):
    """Return images (N, 28, 28, 1) with as many ink pixels in the middle as the label says."""
    images = np.zeros((len(labels), 28, 28, 1), "float32")
    for image, label in zip(images, labels):
        image[14, 9 : 9 + label] = 1
    return images


def test_mean_and_error_are_scipys(rng):
    values = rng.normal(size=50)
    found = metrics.mean_and_error(values)
    assert found["mean"] == pytest.approx(values.mean()) and found["error"] == pytest.approx(stats.sem(values))


def test_squared_error_is_per_pixel():
    images = np.zeros((2, 28, 28, 1))
    found = metrics.squared_error(images, images + np.array([0.1, 0.3]).reshape(2, 1, 1, 1))
    assert found["mean"] == pytest.approx((0.01 + 0.09) / 2)


@pytest.mark.parametrize("conditional", [False, True])
def test_elbo_terms_are_scipys(conditional, digits, rng):
    binary = datasets.Split(datasets.binarize(digits.images[:9]), digits.labels[:9])
    if conditional:
        model, inputs = ConditionalVAE(hidden_units=(8,)), canvas.place_randomly(binary, np.arange(9), rng)
    else:
        model, inputs = VAE(hidden_units=(8,)), (binary.images,)
    images, condition = inputs[0], inputs[1:]
    terms = metrics.elbo_terms(model, images, 7, *condition)
    z_mean, z_log_var = model.encode(images, *condition)
    z = z_mean + np.exp(z_log_var / 2) * np.random.default_rng(7).standard_normal(z_mean.shape, "float32")
    probability = special.expit(model.decode_logits(z, *condition).astype("float64"))
    expected = -stats.bernoulli.logpmf(images, probability).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(terms["reconstruction"], expected, rtol=1e-4)
    density = stats.norm.logpdf(z, z_mean, np.exp(z_log_var / 2)) - stats.norm.logpdf(z)
    np.testing.assert_allclose(terms["kl_monte_carlo"], density.sum(axis=1), atol=1e-3)
    total = metrics.negative_elbo(terms)
    assert total["mean"] == pytest.approx(total["reconstruction"] + total["kl"])


def test_elbo_does_not_depend_on_the_batch(digits):
    model, images = VAE(hidden_units=(8,)), datasets.binarize(digits.images)
    kl = metrics.elbo_terms(model, images, 0)["kl_closed_form"]
    parts = [metrics.elbo_terms(model, images[cut], 0)["kl_closed_form"] for cut in (slice(0, 50), slice(50, 128))]
    np.testing.assert_allclose(kl, np.concatenate(parts), rtol=1e-4)


def test_label_accuracy_counts_by_digit():
    labels = np.array([1, 1, 2, 3])
    found = metrics.label_accuracy(Oracle(), ink([1, 2, 2, 3]), labels)
    assert found["overall"] == 0.75 and found["count"] == 4
    assert found["by_digit"][1:4] == [0.5, 1.0, 1.0] and found["by_digit"][0] is None


class Brightness:
    """A classifier of small colour images that takes thrice the brightness for the label."""

    image_shape, num_classes = (4, 6, 3), 3

    def classify(self, images):
        return np.minimum(3 * images.mean(axis=(1, 2, 3)), 2).astype(int)

    def predict(self, images, **_):
        return 20 * np.eye(3)[self.classify(images)]


def test_label_accuracy_has_a_share_for_each_of_the_classifiers_classes():
    images = np.stack([np.full((4, 6, 3), value) for value in (0.1, 0.2, 0.9)])
    found = metrics.label_accuracy(Brightness(), images, [0, 1, 2])
    assert found == {"overall": pytest.approx(2 / 3), "by_digit": [1, 0, 1], "count": 3}
    assert metrics.confident_share(Brightness(), images) == 1


def test_images_and_labels_that_the_classifier_does_not_know_are_refused():
    for measure in (metrics.confident_share, lambda *given: metrics.label_accuracy(*given, [0, 1])):
        with pytest.raises(ValueError, match=r"images must be .* of shape \(N, 4, 6, 3\), got shape \(2, 28, 28, 1\)"):
            measure(Brightness(), ink([1, 2]))
    with pytest.raises(ValueError, match=r"labels must be whole numbers from 0 to 2 .*got 3"):
        metrics.label_accuracy(Brightness(), np.zeros((1, 4, 6, 3)), [3])


def test_confident_share_uses_the_classifiers_probability():
    assert metrics.confident_share(Oracle(), ink([1, 2])) == 1.0
    assert metrics.confident_share(Oracle(), ink([1, 2]), threshold=1.0) == 0.0


def test_grey_share_is_zero_for_black_and_white_and_one_for_grey():
    assert metrics.grey_share(ink([3, 4])) == 0
    assert metrics.grey_share(np.full((1, 28, 28, 1), 0.5)) == 1
    assert metrics.grey_share(np.zeros((1, 28, 28, 1))) == 0
    assert metrics.grey_share(np.array([0, 0.5, 1]).reshape(1, 1, 1, 3)) == 0.5


def test_code_spread_of_known_points():
    found = metrics.code_spread(np.array([[0.1, 0.1], [0.1, 0.1], [5.0, -1.0], [-3.5, 1.0]]))
    assert (found["smallest"], found["largest"], found["inside_grid"]) == (-3.5, 5.0, 0.75)
    assert found["filled"] == pytest.approx(1 / 24**2)


def test_positions_of_real_placed_digits_are_found(digits, rng):
    canvases, conditions = canvas.place_randomly(digits, np.arange(128), rng)
    assert (metrics.found_positions(datasets.binarize(canvases)) == conditions[:, 1:]).all()


def test_an_empty_canvas_has_no_position():
    assert metrics.found_positions(np.zeros((1, 56, 56, 1))).tolist() == [[-1, -1]]


def test_crop_undoes_place_on_canvas(digits, rng):
    canvases, conditions = canvas.place_randomly(digits, np.arange(30), rng)
    assert np.array_equal(metrics.crop(canvases, conditions), digits.images[:30])


def test_conditional_accuracy_tells_label_and_position_apart():
    labels = np.array([4, 4, 5, 5])
    wanted = canvas.conditions(labels, [0, 0, 1, 1], [0, 0, 2, 2])
    drawn_at = np.array([[0, 0], [2, 2], [1, 2], [1, 2]])
    found = metrics.conditional_accuracy(Oracle(), canvas.place_on_canvas(ink([4, 4, 5, 6]), drawn_at), wanted)
    assert found["position"] == 0.75  # the second one stands elsewhere
    assert found["label"] == 0.5  # the second cell is empty, the last digit is another
    assert found["both"] == 0.5 and found["ink_inside"] == 0.75


def test_an_image_that_comes_again_is_classified_once():
    class Counting(Oracle):
        seen = 0

        def classify(self, images):
            self.seen += len(images)
            return super().classify(images)

    classifier, labels = Counting(), np.array([4, 5, 4, 6, 5, 4])
    wanted = canvas.conditions([4, 5, 4, 6, 5, 5], [0, 1, 2, 0, 1, 2], [0, 1, 2, 0, 1, 2])
    found = metrics.conditional_accuracy(classifier, canvas.place_on_canvas(ink(labels), wanted[:, 1:]), wanted)
    assert classifier.seen == 3 and found["label"] == pytest.approx(5 / 6)


def test_diversity_is_zero_for_one_image_repeated_and_one_for_the_real_ones(digits):
    repeated = np.stack([digits.typical(label) for label in digits.labels])
    assert metrics.relative_diversity(repeated, digits.labels, digits)["overall"] == 0
    real = metrics.relative_diversity(digits.images, digits.labels, digits)["overall"]
    assert real == pytest.approx(1, abs=0.15)


def test_diversity_of_colour_images_has_a_value_for_each_class_that_can_have_one(rng):
    images, labels = rng.random((40, 4, 6, 3)), np.repeat([0, 1, 3], [20, 19, 1])
    real = datasets.Split(np.concatenate([images[:20], images[20:21].repeat(19, axis=0), images[39:]]), labels)
    found = metrics.relative_diversity(np.where(labels == 0, 0.5, 1).reshape(-1, 1, 1, 1) * images, labels, real)
    by_class = found["by_digit"]
    assert by_class[0] == pytest.approx(0.5, abs=0.05) == found["overall"]
    assert by_class[1:] == [None, None, None]  # all real ones equal, none at all, only one


def test_collapsed_classes_are_those_below_the_least_diversity():
    assert metrics.collapsed_classes([0.9, 0.0, None, 0.34, 0.35]) == [1, 3]
    assert metrics.collapsed_classes([0.9, 0.5], least=0.6) == [1]


def test_pair_distance_is_near_the_mean_over_all_pairs(digits):
    group = digits.images[digits.labels == 1]
    everything = spatial.distance.pdist(group.reshape(len(group), -1)).mean()
    draws = [metrics._pair_distance(group, np.random.default_rng(seed)) for seed in range(200)]
    assert np.mean(draws) == pytest.approx(everything, rel=0.02)


class LinearGaussian:
    """A VAE whose log p(x) is known: its decoder ignores z, so log p(x) = log p(x|z)."""

    def encode(self, images):
        count = len(images)
        return np.full((count, 2), 0.3, "float32"), np.full((count, 2), -0.4, "float32")

    def decode_logits(self, z):
        return np.full((len(z), 28, 28, 1), 0.7, "float32")

    log_likelihood = staticmethod(distributions.bernoulli_log_likelihood)


def test_importance_weighted_bound_reaches_log_p_where_it_is_known(rng):
    """The decoder ignores z, so the weights average to p(x) as k grows, although q(z|x) is wrong."""
    images = (rng.random((3, 28, 28, 1)) < 0.5).astype("float32")
    expected = stats.bernoulli.logpmf(images, special.expit(0.7)).sum(axis=(1, 2, 3))
    found = metrics.importance_weighted_bound(LinearGaussian(), images, 0, samples=20_000)
    np.testing.assert_allclose(found, expected, atol=0.03)


class Normal(LinearGaussian):
    """A VAE of colour images with normal pixels of variance 1 around the decoder's output, which ignores z."""

    def decode_logits(self, z):
        return np.full((len(z), 4, 6, 3), 0.7, "float32")

    def log_likelihood(self, images, means):
        density = stats.norm.logpdf(np.asarray(images), np.asarray(means))
        return keras.ops.convert_to_tensor(density.sum(axis=(1, 2, 3)).astype("float32"))


def test_bounds_use_the_models_own_likelihood(rng):
    images = rng.random((3, 4, 6, 3)).astype("float32")
    expected = stats.norm.logpdf(images, 0.7).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(metrics.elbo_terms(Normal(), images, 0)["reconstruction"], -expected, rtol=1e-4)
    found = metrics.importance_weighted_bound(Normal(), images, 0, samples=20_000)
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_importance_weighted_bound_is_integration_over_z(digits):
    """Integrate over a fine grid of z, which two latent axes allow."""
    model, images = VAE(hidden_units=(8,), seed=0), datasets.binarize(digits.images[:2])
    line = np.linspace(-6, 6, 121)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2).astype("float32")
    logits = model.decode_logits(grid).astype("float64")
    prior = stats.norm.logpdf(grid).sum(axis=1) + 2 * np.log(line[1] - line[0])
    likelihood = [stats.bernoulli.logpmf(image, special.expit(logits)).sum(axis=(1, 2, 3)) for image in images]
    expected = [special.logsumexp(values + prior) for values in likelihood]
    found = metrics.importance_weighted_bound(model, images, 0, samples=5_000)
    np.testing.assert_allclose(found, expected, atol=0.2)


def test_linear_probe_reads_what_is_linear_and_nothing_else(rng):
    targets = rng.integers(0, 9, 1800)
    codes = rng.normal(size=(1800, 5))
    blind = metrics.linear_probe(codes, targets)
    assert abs(blind["mean"] - blind["chance"]) < 0.04
    codes[:, :2] += 6 * np.stack([targets % 3, targets // 3], axis=1)
    seeing = metrics.linear_probe(codes, targets)
    assert seeing["mean"] > 0.95
    held_out = (
        LogisticRegression(C=np.inf, max_iter=2000).fit(codes[:900], targets[:900]).score(codes[900:], targets[900:])
    )
    assert seeing["mean"] == pytest.approx(held_out, abs=0.03)


def test_linear_probe_leaves_a_collapsed_axis_collapsed(rng):
    targets = rng.integers(0, 2, 1000)
    codes = rng.normal(size=(1000, 3))
    codes[:, 0] = 1e-4 * (2 * targets - 1)  # an axis that the decoder cannot tell from noise
    found = metrics.linear_probe(codes, targets)
    assert abs(found["mean"] - found["chance"]) < 0.06


def test_active_units_are_the_axes_whose_mean_varies(rng):
    z_mean = rng.normal(size=(500, 5)) * [1, 0.5, 0.01, 0, 0.2]
    assert metrics.active_units(z_mean) == 3
    assert metrics.active_units(z_mean + 7) == 3  # a constant carries nothing
    with pytest.raises(ValueError, match="at least 2 images"):
        metrics.active_units(z_mean[:1])


def test_information_by_axis_is_that_of_a_normal_axis(rng):
    """For z = x + noise with normal x and noise, I(x; z) = 1/2 ln(1 + Var x / Var noise)."""
    x, variance = rng.normal(size=(20_000, 3)) * [2, 1, 0], np.array([1, 0.25, 0.5])
    found = metrics.information_by_axis(x, np.tile(np.log(variance), (len(x), 1)))
    np.testing.assert_allclose(found, np.log([5, 5, 1]) / 2, atol=0.02)


def test_information_by_axis_does_not_depend_on_the_unit(rng):
    z_mean, z_log_var = rng.normal(size=(2, 50, 4))
    scaled = metrics.information_by_axis(10 * z_mean, z_log_var + 2 * np.log(10))
    np.testing.assert_allclose(scaled, metrics.information_by_axis(z_mean, z_log_var))
    with pytest.raises(ValueError, match="one shape"):
        metrics.information_by_axis(z_mean, z_log_var[:, :2])


def test_frechet_distance_is_the_formula_with_scipys_root(rng):
    first, second = rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6)), rng.normal(size=(300, 6)) + 0.5
    covariances = np.cov(first.T), np.cov(second.T)
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    shift = np.square(first.mean(0) - second.mean(0)).sum()
    expected = shift + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert metrics.frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)
    assert metrics.frechet_distance(first, first) == pytest.approx(0, abs=1e-8)


def test_frechet_distance_of_one_feature_is_that_of_two_normal_distributions(rng):
    first, second = rng.normal(size=(90, 1)), rng.normal(1, 3, size=(70, 1))
    expected = (first.mean() - second.mean()) ** 2 + (first.std(ddof=1) - second.std(ddof=1)) ** 2
    assert metrics.frechet_distance(first, second) == pytest.approx(expected)


def test_frechet_distance_of_a_shift_is_its_square(rng):
    features = rng.normal(size=(50, 4))
    assert metrics.frechet_distance(features, features + np.array([3, 0, 4, 0])) == pytest.approx(25)


def kernel_by_pairs(x, y):
    """Return the unbiased squared MMD of two sets, pair by pair."""

    def kernel(x, y):
        return (x @ y / x.size + 1) ** 3

    within = [np.mean([kernel(a, b) for i, a in enumerate(g) for j, b in enumerate(g) if i != j]) for g in (x, y)]
    return sum(within) - 2 * np.mean([kernel(a, b) for a in x for b in y])


def test_kernel_distance_is_the_mean_over_pairs_in_random_blocks(rng):
    first, second = rng.normal(size=(2, 40, 3)).astype("float32")
    found = metrics.kernel_distance(first, second, block=20)
    order = np.random.default_rng(0)
    blocks = zip(*(np.split(order.permutation(each), 2) for each in (first, second)))
    assert found["mean"] == pytest.approx(np.mean([kernel_by_pairs(*block) for block in blocks]), rel=1e-4)
    with pytest.raises(ValueError, match="expected at least 80 features"):
        metrics.kernel_distance(first, second, block=40)


def test_kernel_distance_of_sorted_features_is_that_of_a_whole_set(rng):
    centres = 5 * np.repeat(np.arange(4), 100)[:, None]  # four classes, one after another
    first, second = (rng.normal(size=(400, 3)) + centres for _ in range(2))
    shuffled = metrics.kernel_distance(rng.permutation(first), rng.permutation(second), block=100)
    found = metrics.kernel_distance(first, rng.permutation(second), block=100)
    assert abs(found["mean"]) < 4 * max(found["error"], shuffled["error"])


def test_neighbourhood_scores_are_those_of_the_definition(rng):
    features, reference = rng.normal(size=(60, 2)).astype("float32"), (rng.normal(size=(50, 2)) + 1).astype("float32")
    found = metrics.neighbourhood_scores(features, reference, neighbours=3)
    within = [np.sort(spatial.distance.cdist(x, x), axis=1)[:, 3] for x in (features, reference)]
    across = spatial.distance.cdist(features, reference)
    inside_real = across <= within[1]
    assert found["precision"] == pytest.approx(inside_real.any(axis=1).mean())
    assert found["recall"] == pytest.approx((across <= within[0][:, None]).any(axis=0).mean())
    assert found["density"] == pytest.approx(inside_real.sum() / (3 * 60))
    assert found["coverage"] == pytest.approx(inside_real.any(axis=0).mean())


def test_one_image_repeated_covers_nothing(rng):
    reference = rng.normal(size=(100, 4)).astype("float32")
    found = metrics.neighbourhood_scores(np.repeat(reference[:1], 100, axis=0), reference)
    assert found["precision"] == 1 and found["recall"] <= 0.01 and found["coverage"] < 0.2


def test_nearest_neighbours_are_those_of_scipy(digits):
    images, real = digits.images[:20], digits.images[20:]
    distances = spatial.distance.cdist(images.reshape(20, -1), real.reshape(len(real), -1))
    indices, found = metrics.nearest_neighbours(images, real)
    assert np.array_equal(indices, distances.argmin(axis=1))
    np.testing.assert_allclose(found, distances.min(axis=1), rtol=1e-5)


def test_nearest_neighbours_compare_images_of_one_shape(rng):
    real = rng.random((9, 4, 6, 3))
    assert metrics.nearest_neighbours(real[[7, 2]], real)[0].tolist() == [7, 2]
    with pytest.raises(ValueError, match=r"real must be .* of shape \(N, 4, 6, 3\), got shape \(9, 6, 4, 3\)"):
        metrics.nearest_neighbours(real, real.swapaxes(1, 2))
