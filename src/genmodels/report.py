"""What notebooks leave for the report: its figures with the data they show, and the numbers in metrics.json.

Under GENMODELS_BUDGET=smoke everything goes to the folder draft/ and is marked as a draft. Nothing here needs Keras.
"""

import numpy as np

from genmodels import cache, checks, data

# The figures of the report, in their order, by the notebook that makes them.
FIGURES = {
    "zadanie_1_autoenkoder": ("latent_space_AE.png", "grid_ae.png", "2_pairs_ae.png", "phase_change_ae.png"),
    "zadanie_2_vae": (
        "training_result_vae.png",
        "latent_space_VAE.png",
        "grid_Vae.png",
        "2_pairs_quantized_vae.png",
        "phase_change_vae.png",
        "kld_formulas.png",
        "training_result_vae_special_loss.png",
    ),
    "zadanie_3_cvae": (
        "cond_vae_2.png",
        "cond_vae_25.png",
        "cond_vae_100.png",
        "cond_representation.png",
        "cond_rep_all_positions.png",
        "cond_rep_normal.png",
    ),
    "zadanie_4_gan": ("gan_results.png", "gan_examples.png", "cover.png"),
}
# Further figures, numbered apart: A1, A2, ... in this order.
EXTRA = {
    "zadanie_1_autoenkoder": ("learning_ae.png",),
    "zadanie_2_vae": ("kl_forms.png", "learning_vae.png", "vae_before_after.png"),
    "zadanie_3_cvae": ("learning_cvae.png", "cvae_accuracy_map.png"),
    "zadanie_4_gan": ("gan_progress.png", "gan_neighbours.png"),
}
BENCHMARK = ("time_to_quality.png",)  # made by `make bench`, not by a notebook
NOTEBOOKS = tuple(FIGURES)


# The structure of metrics.json and study.json, see `cache.misfit`.
_NUMBER = (int, float, type(None))
METRICS = {...: {"scores?": {...: {...: object}}}}
STUDY = {"test?": {...: {...: {"mean": _NUMBER, "deviation?": _NUMBER, "values?": list}}}}


class ReportError(Exception):
    """The report cannot be made; the message says what to mend."""


class SavedFigure:
    """A figure on disk that a notebook shows as the picture it is."""

    def __init__(self, path):
        self.path = path

    def _repr_png_(self):
        return self.path.read_bytes()

    def __repr__(self):
        return f"SavedFigure({self.path.name!r})"


def root():
    """The checkout. Raises ReportError for an installed package, which has no notebooks and no report."""
    if found := data.checkout():
        return found
    raise ReportError("expected to run from a checkout of genmodels with its notebooks/ and report/ folders")


def output():
    """The folder of figures and metrics.json: data/report/, or draft/ in the quick mode."""
    return root() / "draft" if data.smoke_budget() else root() / "data" / "report"


def metrics():
    """What metrics.json holds, {section: {name: anything}}. Raises CacheError where it is something else."""
    return cache.read_json(output() / "metrics.json", {}, METRICS)


def study_path():
    """Where the study's scores are kept: data/report/study.json, which the quick mode reads but never writes."""
    return root() / "data" / "report" / "study.json"


def study():
    """What study.json holds. Raises CacheError where it is something else."""
    return cache.read_json(study_path(), {}, STUDY)


def figures_of(notebook):
    """File names of all figures that a notebook makes."""
    return FIGURES[notebook] + EXTRA[notebook]


def all_figures():
    """File names of all figures that the notebooks make."""
    return [file for notebook in NOTEBOOKS for file in figures_of(notebook)]


def section_of(notebook):
    """The section of metrics.json that a notebook writes: zadanie_1 to zadanie_4."""
    return "_".join(notebook.split("_")[:2])


def save(figure, name):
    """Saves a figure of the report: a PNG under a name of FIGURES, EXTRA or BENCHMARK, with what it shows as .npz.

    Returns it for the notebook to show. Raises ValueError for another name.
    """
    import matplotlib.style

    from genmodels.figures import mark_as_draft

    checks.choice("figure", name, [*all_figures(), *BENCHMARK])
    with cache.replacing(data_path(name)) as temporary:
        np.savez_compressed(temporary, **plotted(figure))
    if data.smoke_budget():
        mark_as_draft(figure)
    with cache.replacing(output() / name) as temporary, matplotlib.style.context("default"):
        figure.savefig(temporary, dpi=200, metadata={"Software": None})
    return SavedFigure(output() / name)


def data_path(name):
    """Where the data that a figure shows are kept."""
    return (output() / name).with_suffix(".npz")


def plotted(figure):
    """What a matplotlib Figure shows, {name: array}: images in grey levels 0-255, coordinates, colours, titles, texts.

    Axis labels, ticks, legends and sizes are rendering.
    """
    found = {"texts": np.array([text.get_text() for text in figure.texts], dtype=str)}
    for number, axes in enumerate(figure.get_axes()):
        texts = [axes.get_title(), *(text.get_text() for text in axes.texts)]
        shown = {
            "image": [np.rint(255 * np.asarray(image.get_array())).astype("uint8") for image in axes.images],
            "line": [line.get_xydata().astype("float32") for line in axes.lines],
            "points": [np.asarray(points.get_offsets(), "float32") for points in axes.collections],
            "colours": [np.rint(255 * points.get_facecolors()).astype("uint8") for points in axes.collections],
            "outline": [patch.get_patch_transform().transform(patch.get_path().vertices) for patch in axes.patches],
            "texts": [np.array(texts, dtype=str)] if any(texts) else [],
        }
        for kind, arrays in shown.items():
            found |= {f"axes {number}, {kind} {place}": array for place, array in enumerate(arrays)}
    return found


def record(section, numbers):
    """Puts `numbers`, anything that JSON holds, under `section` of metrics.json; other sections stay as they are."""
    put(output() / "metrics.json", section, numbers)


def put(path, section, value):
    """Puts `value` under `section` of a JSON file; other sections stay, also those of processes beside this one."""
    with cache.lock(f"{path.stem}-{cache.short(str(path))}"):
        cache.write_json(path, {**cache.read_json(path, {}, dict), section: value})
