import re
import sys

import numpy as np
import pytest
from test_export import SMALL, shaken
from test_own import SHAPE, dataset

from genmodels.explorer import widget
from genmodels.models.vae import VAE
from genmodels.pipeline import store


@pytest.fixture
def vae(rng):
    return shaken(VAE(image_shape=SHAPE, latent_dim=3, likelihood="gaussian", name="mine", **SMALL), rng)


@pytest.fixture
def missing(monkeypatch):
    """An environment without anywidget."""
    monkeypatch.setitem(sys.modules, "anywidget", None)
    widget._widget_class.cache_clear()
    yield
    widget._widget_class.cache_clear()


def test_without_anywidget_one_line_says_how_to_get_it(missing, vae, rng):
    with pytest.raises(ImportError, match="expected the package anywidget, found none; python -m pip"):
        widget.explore(vae, dataset(rng))


def test_python_reads_and_sets_point_and_image(vae, rng):
    traitlets, data = pytest.importorskip("traitlets"), dataset(rng)
    pytest.importorskip("anywidget")
    shown = widget.explore(vae, data, language="pl")
    np.testing.assert_allclose(shown.point, vae.encode(data.test.images[:1])[0][0], atol=2e-3)
    shown.point = [0.5, -1, 2]
    assert shown.point == [0.5, -1, 2] and shown.image == 0 and "mine" in repr(shown)
    for point in ([1, 2], [0, 0, float("nan")]):
        with pytest.raises(traitlets.TraitError, match="point: expected 3 finite numbers, got"):
            shown.point = point
    with pytest.raises(traitlets.TraitError, match=f"image: expected a number from 0 to {len(data.test) - 1}, got 99"):
        shown.image = 99


def test_a_run_and_a_file_are_explored_by_their_name(rng, monkeypatch, tmp_path):
    pytest.importorskip("anywidget")
    model = shaken(VAE(latent_dim=2, **SMALL), rng)
    monkeypatch.setattr(store, "trained", lambda name: store.Trained(name, model, {}, 0.0))
    about = widget.explore("vae_kl").parts["about"]
    assert about["name"] == "vae_kl" and about["ink"] and list(about["names"]) == [str(digit) for digit in range(10)]
    model.save(tmp_path / "other.keras")
    assert widget.explore(tmp_path / "other.keras").parts["about"]["name"] == "other"


def test_the_style_sheet_touches_nothing_outside_the_widget():
    style = widget.scoped(widget.page.read("style.css"))
    assert style.startswith(".genmodels-explorer {") and style.count("{") == style.count("}")
    assert not re.search(r":root|\bbody\b|\bhtml\b", style)
