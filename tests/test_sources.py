"""What counts as code that a result depends on; tests/test_experiments.py compares it with what training runs."""

import pytest

from conftest import replace_in
from genmodels import experiments, sources

VAES = {"vae_mc", "vae_kl", "vae_before"}


def test_comments_and_docstrings_do_not_count_but_code_does(package):
    before = sources.code_parts("vae")
    replace_in(package / "vae.py", '"""The variational', '"""# The well-known variational')
    replace_in(package / "vae.py", "import keras\n", "import keras  # a comment\n\n")
    assert sources.code_parts("vae") == before
    replace_in(package / "vae.py", "kl_weight * kl", "kl_weight * 2 * kl")
    assert sources.code_parts("vae") != before


@pytest.mark.parametrize(
    ("module", "old", "new", "changed"),
    [
        ("vae.py", "kl - logpx_z)", "kl - 2 * logpx_z)", VAES | {"cvae_2", "cvae_25", "cvae_100"}),
        ("gan.py", "1 - self.average_decay", "2 - self.average_decay", {"gan", "pupil"}),
        ("judge.py", "Dropout(0.5 if", "Dropout(0.6 if", {"judge", "judge_2", "pupil"}),
        ("experiments.py", "count=60_000", "count=50_000", {"pupil"}),
        ("experiments.py", "beta_1=0.5", "beta_1=0.6", {"gan", "pupil"}),
        (
            "experiments.py",
            "data.varied(train.images[chosen], rng)",
            "train.images[chosen]",
            {"judge", "judge_2", "pupil"},
        ),
        ("autoencoder.py", "ops.square(x - y_pred)", "ops.square(y_pred - x)", {"ae"}),
        ("vae.py", "loss + learned", "loss + 2 * learned", {"cvae_2", "cvae_25", "cvae_100"}),
        ("networks.py", "SETTLED = 0.9", "SETTLED = 0.8", {"cvae_2", "cvae_25", "cvae_100"}),
        ("networks.py", "depth_to_space(channels, 2)", "depth_to_space(channels, 2) + 0", {"gan", "pupil"}),
        ("networks.py", "(64, 2), (64, 1)", "(64, 2), (96, 1)", {"judge", "judge_2", "pupil"}),
        ("distributions.py", "logqz_x - logpz", "logqz_x - 2 * logpz", VAES | {"cvae_2", "cvae_25", "cvae_100"}),
        ("data.py", "STRIDE * pos_y,", "2 * STRIDE * pos_y,", {"cvae_2", "cvae_25", "cvae_100"}),
        ("figures.py", "LIMIT = 4", "LIMIT = 5", set()),
        ("metrics.py", "values.mean()", "values.sum()", set()),
    ],
)
def test_an_edit_retrains_exactly_the_runs_that_use_it(package, module, old, new, changed):
    before = {name: experiments.key(name) for name in experiments.RUNS}
    replace_in(package / module, old, new)
    after = {name: experiments.key(name) for name in experiments.RUNS}
    assert {name for name in before if before[name] != after[name]} == changed


def test_parts_follow_imports_into_other_modules(package):
    before = sources.code_parts("vae")
    replace_in(package / "distributions.py", "-0.5 *", "-0.25 *")
    assert sources.code_parts("vae") != before


def test_edits_after_the_import_are_noticed(package):
    assert sources.edited_modules() == []
    replace_in(package / "vae.py", "kl_weight * kl", "kl_weight * 2 * kl")
    assert sources.edited_modules() == ["vae.py"]


def test_unknown_modules_and_names_are_refused():
    with pytest.raises(ValueError, match="expected a module of genmodels, got 'vea'"):
        sources.code_parts("vea")
    with pytest.raises(ValueError, match=r"expected a name of genmodels\.experiments, got 'nothing'"):
        sources.code_parts("experiments:nothing")
