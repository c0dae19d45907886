"""The explorer of one AE or VAE as a widget in a notebook. It needs the package anywidget, of the extra `widget`."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from genmodels.datasets import Dataset, load_mnist
from genmodels.experiments import RUNS
from genmodels.explorer import own, page
from genmodels.models.loading import load_model
from genmodels.pipeline import store

SCRIPTS = (*page.SHARED, "one.js", "widget.js")


def explore(model: Any, data: Dataset | None = None, *, ink: bool | None = None, language: str | None = None) -> Any:
    """Return a widget in which the decoder of an AE or a VAE draws where you drag a point.

    Its traits are `point`, the code that is drawn, and `image`, the number of the chosen test image. Python reads and
    sets both.

    Args:
        model: A model, the path of a .keras file, or the name of a run, which is trained if the cache lacks it.
        data: Data set whose test images are shown; None for MNIST.
        ink: Draw grey images as dark ink on white; None to do so for MNIST.
        language: "pl" or "en"; None for that of the browser.

    Returns:
        An anywidget.AnyWidget; the last line of a cell shows it.

    Raises:
        ImportError: The package anywidget is missing.
        ExportError: The decoder has a layer that the widget cannot draw.
        ValueError: The model is of another kind, or the images have another shape.

    Example:
        >>> widget = genmodels.explore("vae_kl")
        >>> widget.point = [0.5, -1.0]
    """
    widget, name = _widget_class(), getattr(model, "name", str(model))
    if isinstance(model, str) and model in RUNS:
        model = store.trained(model).model
    elif isinstance(model, (str, Path)):
        name, model = Path(model).stem, load_model(model)
    first, later = own.collect(model, data or load_mnist(), name, ink=data is None if ink is None else ink)
    begin = own.codes_of(first)[0].tolist()
    return widget(parts={**first, **later}, point=begin, language=language or "")


@cache
def _widget_class():
    """Return the class of the widget, which only anywidget can define."""
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise ImportError(
            "explore: expected the package anywidget, found none; python -m pip install anywidget, and start the "
            "kernel anew, or write a page with `genmodels explore`"
        ) from error

    class Explorer(anywidget.AnyWidget):
        _esm = page.script(SCRIPTS)
        _css = scoped(page.read("style.css"))
        parts = traitlets.Dict().tag(sync=True)
        language = traitlets.Unicode().tag(sync=True)
        point = traitlets.List(traitlets.Float(), help="The code that is drawn.").tag(sync=True)
        image = traitlets.Int(0, help="Number of the chosen test image.").tag(sync=True)

        def __repr__(self) -> str:
            return f"Explorer({self.parts['about']['name']!r}, point={self.point}, image={self.image})"

        @traitlets.validate("point")
        def _check_point(self, proposal):
            values, axes = proposal["value"], self.parts["about"]["axes"]
            if len(values) != axes or not np.isfinite(values).all():
                raise traitlets.TraitError(f"point: expected {axes} finite numbers, got {values}")
            return values

        @traitlets.validate("image")
        def _check_image(self, proposal):
            value, count = proposal["value"], len(own.codes_of(self.parts))
            if not 0 <= value < count:
                raise traitlets.TraitError(f"image: expected a number from 0 to {count - 1}, got {value}")
            return value

    return Explorer


def scoped(style: str) -> str:
    """Return a style sheet that touches nothing outside the widget."""
    return f".genmodels-explorer {{\n{style.replace(':root', '&').replace('body {', '& {')}\n}}"
