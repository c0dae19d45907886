import json

import pytest
from PIL import Image

from conftest import replace_in
from genmodels import experiments
from genmodels.pipeline import files, forecast, parallel, store, study, sweep

VAE = experiments.RUNS["vae_kl"]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("latent_dim=2,8,32", [2, 8, 32]),
        ("latent-dim=2", [2]),
        ("beta=1, 0.5,1e-3", [1, 0.5, 0.001]),
        ("kl=closed_form,monte_carlo", ["closed_form", "monte_carlo"]),
        ("normalise=true,false", [True, False]),
        ("x=null,flow", [None, "flow"]),
        ("hidden_units=[256],[512,256]", [(256,), (512, 256)]),
    ],
)
def test_values_are_json_or_words(text, values):
    name = text.partition("=")[0].replace("-", "_")
    assert sweep.parse([text]) == {name: values}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["latent_dim"], "--set must be OPTION=VALUE,VALUE..., each option once, got 'latent_dim'"),
        (["latent_dim="], "got 'latent_dim='"),
        (["=2"], "got '=2'"),
        (["beta=1", "beta=2"], "got 'beta=2'"),
        (["beta=1,4,1"], "--set beta: expected different values, got 1,4,1"),
        (["hidden_units=[64],[32],[64]"], "--set hidden_units: expected different values"),
        (["beta=1,4,1.0"], "--set beta: expected different values, got 1,4,1.0"),
    ],
)
def test_other_texts_are_refused(texts, message):
    with pytest.raises(ValueError) as error:
        sweep.parse(texts)
    assert message in str(error.value)


def test_there_is_a_run_for_each_combination_and_seed():
    plan = sweep.Sweep(VAE, {"latent_dim": [2, 8], "epochs": [1, 3, 5]}, 4)
    runs = [run for chosen in plan.combinations() for run in plan.runs(chosen)]
    assert len({str(run) for run in runs}) == len(runs) == 24
    found = {(run.options["latent_dim"], run.epochs, run.seed) for run in runs}
    assert found == {(size, epochs, seed) for size in (2, 8) for epochs in (1, 3, 5) for seed in (1, 2, 3, 4)}
    assert all(run.options["kl"] == "closed_form" and run.batch_size == VAE.batch_size for run in runs)


def test_names_of_runs_are_words_for_folders():
    (run,) = sweep.Sweep(VAE, {"hidden_units": [(512, 256)], "beta": [0.5]}, 1).runs(
        {"hidden_units": (512, 256), "beta": 0.5}
    )
    assert run.name == "vae_kl-hidden_units=_512_256_-beta=0.5"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent": [2]}, "--set latent: expected an option of vae_kl, one of epochs, .*latent_dim"),
        ({"latent_dim": [2, 0]}, "--set latent_dim=0: latent_dim must be"),
        ({"kl": ["closed"]}, "--set kl=closed: kl must be one of"),
        ({"decay": ["steep"]}, "--set decay=steep: .*steep"),
        ({"epochs": [0]}, "--set epochs=0: epochs must be"),
        ({"seed": [7]}, "--set seed: expected an option"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_options_and_values_that_a_training_does_not_take_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sweep.check(sweep.Sweep(VAE, options, 1), "negative_elbo")


def test_a_model_that_memory_cannot_hold_is_refused(monkeypatch):
    def refuse(run):
        if run.options.get("latent_dim", 2) > 2:
            raise MemoryError
        return build(run)

    build = sweep._build
    monkeypatch.setattr(sweep, "_build", refuse)  # the system may also kill a process that asks for so much
    with pytest.raises(ValueError, match="--set latent_dim=1000000000: expected a model that fits into memory"):
        sweep.check(sweep.Sweep(VAE, {"latent_dim": [2, 10**9]}, 1), "negative_elbo")


def test_a_score_that_such_a_run_does_not_have_is_refused_before_any_training():
    plan = sweep.Sweep(VAE, {"latent_dim": [2]}, 1)
    sweep.check(plan, "reconstruction_accuracy")
    with pytest.raises(ValueError, match=r"--score must be one of .*negative_elbo.*, got 'frechet'"):
        sweep.check(plan, "frechet")


def test_every_run_without_dependencies_can_be_built_for_a_sweep():
    assert {name for name, run in experiments.RUNS.items() if not run.depends_on} <= sweep.BASES.keys()
    sweep.check(sweep.Sweep(experiments.RUNS["gan"], {"channels": [8]}, 1), "frechet")


def test_the_estimate_counts_runs_epochs_and_workers(monkeypatch):
    monkeypatch.setattr(forecast, "training", lambda run: 120.0)
    plan = sweep.Sweep(VAE, {"epochs": [VAE.epochs, 2 * VAE.epochs]}, 5)
    # 5 trainings of 2 minutes and 5 of 4 are 30 minutes, on 3 workers 10.
    assert sweep.estimate(plan, 3).startswith("10 runs, 3 at once: about 10 min")


@pytest.fixture
def computed(checkout, monkeypatch):
    """Invented scores in place of trainings: the list of the runs that were trained."""
    trained = []

    def compute(run, split):
        trained.append(str(run))
        if run.options["latent_dim"] == 32 and run.seed == 1:
            raise store.DivergedError(f"{run}: stopped")
        return {"negative_elbo": 100.0 + run.options["latent_dim"] + run.seed, "split": split == "validation"}

    monkeypatch.setattr(study, "compute", compute)
    monkeypatch.setattr(parallel, "train_all", lambda *_, **__: None)
    monkeypatch.setattr(parallel, "forget", lambda: None)
    monkeypatch.setattr(parallel, "run_all", lambda work, tasks, **_: ((task, work(task)) for task in tasks))
    return trained


PLAN = sweep.Sweep(VAE, {"latent_dim": [2, 8, 32]}, 2)


def test_rows_have_mean_deviation_and_values_and_go_to_the_file(computed, tmp_path):
    rows = sweep.make(PLAN, tmp_path / "sweep.json")
    first = {"mean": 103.5, "deviation": pytest.approx(0.5**0.5), "values": [103.0, 104.0]}
    assert [row["options"] for row in rows] == [{"latent_dim": 2}, {"latent_dim": 8}, {"latent_dim": 32}]
    assert rows[0]["scores"]["negative_elbo"] == first and rows[0]["scores"]["split"]["mean"] == 1
    assert rows[2]["scores"]["negative_elbo"] == {"mean": None, "deviation": None, "values": [None, 134.0]}
    assert files.read_json(tmp_path / "sweep.json")["rows"] == json.loads(json.dumps(rows))
    lines = sweep.table(rows, "negative_elbo")
    assert lines[0].split() == ["latent_dim", "negative_elbo", "±", "values"]
    assert lines[3].split() == ["32", "diverged", "–", "diverged", "134"] and len(lines) == 4
    with pytest.raises(ValueError, match="--score must be one of negative_elbo, split, got 'mse'"):
        sweep.table(rows, "mse")
    sweep.draw(rows, "negative_elbo", tmp_path / "sweep.png")
    assert Image.open(tmp_path / "sweep.png").size > (400, 300)


def test_a_sweep_of_which_every_run_diverged_is_shown_too(computed, tmp_path):
    rows = sweep.make(sweep.Sweep(VAE, {"latent_dim": [32]}, 1), tmp_path / "sweep.json")
    assert sweep.table(rows, "negative_elbo")[1].split() == ["32", "diverged", "–"]
    sweep.draw(rows, "negative_elbo", tmp_path / "sweep.png")
    assert Image.open(tmp_path / "sweep.png").size > (200, 300)


def test_a_sweep_goes_on_and_computes_again_only_what_is_new_or_was_changed(computed, tmp_path):
    path = tmp_path / "sweep.json"
    first, _ = sweep.make(sweep.Sweep(VAE, {"latent_dim": [2, 8]}, 1), path)
    assert first["scores"]["negative_elbo"] == {"mean": 103.0, "deviation": None, "values": [103.0]}
    computed.clear()
    sweep.make(PLAN, path)
    assert computed == [f"vae_kl-latent_dim={size}" for size in ("2, seed 2", "8, seed 2", "32", "32, seed 2")]
    computed.clear()
    replace_in(path, '"negative_elbo": 103.0', '"negative_elbo": 99.0')
    sweep.make(PLAN, path)
    assert computed == ["vae_kl-latent_dim=2"]


def test_a_file_whose_parts_are_not_those_of_a_sweep_is_refused(computed, tmp_path):
    path = tmp_path / "sweep.json"
    sweep.make(PLAN, path)
    replace_in(path, '"processor"', '"procesor"')
    with pytest.raises(files.FileError, match=r"sweep\.json: expected another structure, .*processor.*restore"):
        sweep.make(PLAN, path)


def test_an_interrupted_sweep_has_what_was_scored(computed, tmp_path, monkeypatch):
    def interrupted(work, tasks, **_):
        yield tasks[0], work(tasks[0])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(parallel, "run_all", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sweep.make(PLAN, tmp_path / "sweep.json")
    sweep.make(PLAN, tmp_path / "sweep.json")
    assert computed.count("vae_kl-latent_dim=2") == 1


def test_a_place_where_nothing_can_be_written_is_found_before_any_training(computed, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(files.ResourceError, match=r"writing .*sweep\.json"):
        sweep.make(PLAN, tmp_path / "file" / "sweep.json")
    assert not computed


def test_several_kinds_of_processor_are_named_below_the_table():
    scores = {"mse": {"mean": 1.0, "deviation": 0.0, "values": [1.0, 1.0]}}
    rows = [{"options": {"a": 1}, "scores": scores, "processors": ["One", "Two"]}]
    assert sweep.table(rows, "mse")[-1] == "From several kinds of processor: One, Two."
