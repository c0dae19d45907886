"""The runs that the explorer shows, and the table "how good is this" beside each of their pictures."""

from typing import Any

from genmodels.pipeline import study

# Runs whose models the page shows: by the name of a panel.
MODELS = {
    "ae": "ae",
    "vae": "vae_kl",
    "cvae-2": "cvae_2",
    "cvae-25": "cvae_25_tuned",
    "cvae-100": "cvae_100",
    "gan": "gan",
}
CVAES = ("cvae-2", "cvae-25", "cvae-100")
RUNS = (*MODELS.values(), *study.REFERENCES)
_CVAE = {
    "negative_elbo": None,
    "label": ("reference", "accuracy_binarized"),
    "label_2": ("reference_2", "accuracy_binarized"),
    "position": None,
    "diversity": None,
}
# Scores beside a picture: the model's own, and the run and score of real images in their place, or None.
SCORES = {
    "ae": {
        "mse": None,
        "reconstruction_accuracy": ("reference", "accuracy"),
        "reconstruction_accuracy_2": ("reference_2", "accuracy"),
    },
    "vae": {
        "negative_elbo": None,
        "kl": None,
        "reconstruction_accuracy": ("reference", "accuracy_binarized"),
        "reconstruction_accuracy_2": ("reference_2", "accuracy_binarized"),
    },
    **{name: _CVAE for name in CVAES},
    "gan": {name: (study.REAL, name) for name in ("label", "label_2", "frechet", "diversity", "nearest")},
}
# Figures of the report about each model: what the figure shows, and the number of the task.
FIGURES = {
    "ae": {
        "fig-przestrzen-ae": ("codes", "1.2"),
        "fig-siatka-ae": ("grid", "1.2"),
        "fig-przejscie-ae": ("walk", "1.3"),
    },
    "vae": {
        "fig-przestrzen-vae": ("codes", "2.3"),
        "fig-siatka-vae": ("grid", "2.2"),
        "fig-przejscie-vae": ("walk", "2.4"),
    },
    "cvae-2": {"fig-cvae-2": ("samples", "3.1")},
    "cvae-25": {"fig-cvae-25": ("samples", "3.1"), "fig-polozenia": ("cells", "3.2"), "fig-losowe": ("random", "3.3")},
    "cvae-100": {"fig-cvae-100": ("samples", "3.1")},
    "gan": {"fig-gan": ("samples", "4"), "fig-gan-przyklady": ("each", "4")},
}


def tables() -> dict[str, dict[str, Any]]:
    """Return the scores of each model on the test set.

    Returns:
        {key of MODELS: its table} with
        rows: Lists of the score's name, mean and deviation over the study's seeds, and the value of real images. None
            where the study lacks a value.
        stale: Whether the scores come from older code.
        seeds: Number of trainings.
    """
    found, stale = study.read(), study.stale()
    return {
        name: {"rows": _rows(name, found), "stale": run in stale, "seeds": len(study.SEEDS)}
        for name, run in MODELS.items()
    }


def _rows(name, found):
    test, real, rows = found.get("test", {}), found.get(study.REAL, {}).get("test", {}), []
    for score, baseline in SCORES[name].items():
        run, of = baseline or (None, None)
        compared = real.get(of) if run == study.REAL else test.get(run, {}).get(of, {}).get("mean")
        spread = test.get(MODELS[name], {}).get(score, {})
        rows.append([score, spread.get("mean"), spread.get("deviation"), compared])
    return rows
