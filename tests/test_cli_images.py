import json
import warnings
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_digits

from genmodels import cli, cli_images, config, figures, load_model
from genmodels.models.autoencoder import AE
from genmodels.models.classifier import Classifier
from genmodels.models.conditional_vae import ConditionalVAE
from genmodels.models.gan import ConditionalGAN
from genmodels.models.vae import VAE
from genmodels.pipeline import fitting, store

DIGITS = load_digits()
GREY = np.full((1, 1, 8, 8, 1), 0.5)


def run(*arguments):
    return CliRunner().invoke(cli.main, list(map(str, arguments)))


def is_refused(result, message):
    """Whether a command ended with status 2 and one line of error that holds the message, without a trace."""
    said = result.stderr.partition("Error: ")[2]
    return result.exit_code == 2 and message in said and len(said.splitlines()) == 1


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with digits.npz, colours.npz, pictures/ and untrained models of the digits."""
    home = tmp_path_factory.mktemp("own")
    images, labels, rng = DIGITS.images[:240], DIGITS.target[:240], np.random.default_rng(0)
    np.savez(home / "digits.npz", images=images, labels=labels)
    np.savez(home / "plain.npz", images=images / 16)
    np.savez(home / "binary.npz", images=images > 8, labels=labels)
    colours = rng.integers(0, 256, (60, 32, 32, 3), "uint8")
    np.savez(home / "colours.npz", images=colours, labels=np.arange(60) % 3)
    for place, (image, label) in enumerate(zip(images[:60], np.arange(60) % 2)):
        folder = home / "pictures" / ("left", "right")[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15).astype("uint8")).save(folder / f"{place}.png")
    shape = {"image_shape": (8, 8, 1)}
    models = {
        "ae": AE(**shape, hidden_units=(8,)),
        "vae": VAE(**shape, hidden_units=(8,), likelihood="gaussian"),
        "vae_3": VAE(**shape, hidden_units=(8,), latent_dim=3),
        "gan": ConditionalGAN(**shape, channels=4),
        "gan_26": ConditionalGAN(**shape, channels=4, num_classes=26),
        "classifier": Classifier(**shape),
        "cvae": ConditionalVAE(hidden_units=(8,)),
        "colour": AE(image_shape=(8, 8, 3), hidden_units=(8,)),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, model in models.items():
            model.save(home / f"{name}.keras")
    return home


DATA = ("--data", "digits.npz", "--scale", "16")


@pytest.fixture(autouse=True)
def there(home, monkeypatch):
    monkeypatch.chdir(home)
    monkeypatch.delenv("GENMODELS_LANG", raising=False)
    yield
    figures.use_language("pl")


@pytest.mark.parametrize("command", ["fit", "evaluate"])
def test_own_models_take_a_gpu_that_is_there(command):
    said = " ".join(run(command, "--help").output.split())
    assert "--device [auto|cpu|gpu]" in said and "[env var: GENMODELS_DEVICE; default: auto]" in said


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        (["ae", *DATA, "--latent-dim", 3], (8, 8, 1)),
        (["vae", *DATA, "--likelihood", "gaussian", "--beta", 2], (8, 8, 1)),
        (["vae", "--data", "binary.npz"], (8, 8, 1)),
        (["gan", *DATA, "--noise-dim", 3, "--channels", 4], (8, 8, 1)),
        (["classifier", "--data", "pictures"], (8, 8, 1)),
        (["classifier", "--data", "pictures", "--size", 12, 16], (12, 16, 1)),
        (["gan", "--data", "colours.npz", "--channels", 4], (32, 32, 3)),
        (["vae", "--data", "colours.npz", "--transpose"], (32, 32, 3)),
    ],
    ids=lambda value: "-".join(map(str, value[:4])),
)
def test_models_of_all_kinds_are_trained_on_own_images(arguments, shape, smoke, tmp_path):
    path = tmp_path / "x.keras"
    result = run("fit", *arguments, "--batch-size", 64, "-o", path)
    assert result.exit_code == 0, result.output
    first, second, *_, last = result.stderr.splitlines()
    assert first.startswith("Dataset('") and f"{'x'.join(map(str, shape))}; " in first
    assert second.startswith(f"{arguments[0]}: ") and "epochs 1, batch_size 64" in second
    assert last.startswith(f"Wrote {path}: ") and result.stdout == ""
    assert load_model(path).image_shape == shape


def test_options_reach_the_model_and_the_training(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(fitting, "fit", lambda run, data, output, cores: kept.extend([run, cores]) or {"loss": [1.0]})
    numbers = ("--epochs", 3, "--batch-size", 9, "--learning-rate", 0.5, "--seed", 4, "--cores", 3)
    result = run("fit", "vae", *DATA, *numbers, "--latent-dim", 7, "--beta", 0, "-o", tmp_path / "x.keras")
    assert result.exit_code == 0, result.output
    assert (kept[0].epochs, kept[0].batch_size, kept[0].learning_rate, kept[0].seed) == (3, 9, 0.5, 4)
    assert kept[0].options["latent_dim"] == 7 and kept[0].options["beta"] == 0
    assert kept[0].options["likelihood"] == "continuous_bernoulli" and kept[1] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gan", *DATA, "--latent-dim", 3], "gan takes no --latent-dim"),
        (["gan", *DATA, "--likelihood", "auto"], "gan takes no --likelihood"),
        (["ae", *DATA, "--beta", 1], "ae takes no --beta"),
        (["ae", *DATA, "--likelihood", "bernoulli"], "ae takes no --likelihood"),
        (["vae", *DATA, "--noise-dim", 3], "vae takes no --noise-dim"),
        (["vae", *DATA, "--channels", 3], "vae takes no --channels"),
        (["classifier", *DATA, "--latent-dim", 3], "classifier takes no --latent-dim"),
        (["diffusion", *DATA], "'diffusion' is not one of 'ae', 'vae', 'gan', 'classifier'"),
        (["vae", *DATA, "--likelihood", "poisson"], "'poisson' is not one of"),
        (["vae", *DATA, "--beta", -1], "-1.0 is not in the range x>=0"),
        (["ae", *DATA, "--learning-rate", 0], "0.0 is not in the range x>0"),
        (["ae", *DATA, "--epochs", 0], "0 is not in the range x>=1"),
        (["ae"], "Missing option '--data'"),
        (["ae", "--data", "digits.npz"], "expected float64 from 0 to 1, got 0 to 16; name the value of white"),
        (["ae", "--data", "nowhere"], "'nowhere', which is none of them; check the name or the path"),
        (["ae", "--data", "digits.npz", "--size", 4, 4], "expected options among"),
        (["gan", "--data", "plain.npz"], "gan: expected images with labels, got 'plain' without"),
        (["classifier", "--data", "plain.npz"], "classifier: expected images with labels, got 'plain' without"),
        (
            ["gan", "--data", "pictures", "--size", 10, 10],
            "multiples of 4, got (10, 10, 1); resize the images to 8 x 8",
        ),
        (["ae", *DATA, "-o", "x.h5"], "expected a file that ends in .keras, got x.h5"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value)),
)
def test_fit_refuses_in_one_line(arguments, message, smoke):
    output = () if "-o" in arguments else ("-o", "never.keras")
    assert is_refused(run("fit", *arguments, *output), message)


def test_an_interruption_is_said_and_the_same_command_goes_on(monkeypatch, tmp_path):
    from genmodels.pipeline import files

    command = ("fit", "ae", *DATA, "--epochs", 2, "--batch-size", 64, "-o", tmp_path / "x.keras")
    save = files.save_arrays

    def interrupted(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "save_arrays", interrupted)
    result = run(*command)
    assert result.exit_code == 1 and "The same command goes on after the last whole epoch." in result.stderr
    monkeypatch.setattr(files, "save_arrays", save)
    result = run(*command)
    assert result.exit_code == 0 and "ae: goes on after epoch 1" in result.stderr and (tmp_path / "x.keras").is_file()


@pytest.mark.parametrize("model", ["ae", "vae", "gan", "classifier"])
def test_scores_are_a_table_and_json(model, smoke, tmp_path):
    if model != "gan":
        result = run("evaluate", f"{model}.keras", *DATA, "--json", "-")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert found["model"] == f"{model}.keras" and found["data"] == "digits" and found["split"] == "test"
        assert all(row.keys() == {"value", "error", "real", "better"} for row in found["scores"].values())
        return
    chosen = ("--classifier", "classifier.keras", "--split", "validation", "--json", tmp_path / "x.json")
    result = run("evaluate", "gan.keras", *DATA, *chosen)
    assert result.exit_code == 0, result.output
    scores = json.loads((tmp_path / "x.json").read_text())["scores"]
    assert sorted(line.split()[0] for line in result.stdout.splitlines()[1:]) == sorted(scores)
    assert {"label", "frechet", "diversity"} <= set(scores)


def test_a_gan_is_scored_by_the_classifier_that_learns_from_it(smoke, tmp_path):
    result = run("evaluate", "gan.keras", *DATA, "--train-classifier", "--json", tmp_path / "x.json")
    assert result.exit_code == 0, result.output
    score = json.loads((tmp_path / "x.json").read_text())["scores"]["classification_accuracy_score"]
    assert 0 <= score["value"] <= 1 and 0 <= score["real"] <= 1
    *_, last = result.stdout.splitlines()
    assert last.split()[0] == "classification_accuracy_score" and last.split()[-1] == "higher"
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == [
        "classifier_of_generated",
        "classifier_of_real",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ae.keras", *DATA, "--train-classifier"], "expected a ConditionalGAN to train a classifier on its images"),
        (["gan.keras", "--data", "plain.npz", "--train-classifier"], "expected data with labels to train a classifier"),
        (
            ["colour.keras", *DATA],
            "expected a model of images of shape (8, 8, 1), as in the data, got one of (8, 8, 3)",
        ),
        (["gan_26.keras", *DATA], "expected a model of 10 classes, as in the data, got one of 26"),
        (["ae.keras", *DATA, "--classifier", "gan.keras"], "gan.keras: expected a classifier, got a ConditionalGAN"),
        (["classifier.keras", "--data", "plain.npz"], "expected data with labels to score a classifier"),
        (["nowhere.keras", *DATA], "nowhere.keras: expected a .keras file, found nothing"),
        (["digits.npz", *DATA], "digits.npz: expected a .keras file that `genmodels fit` or model.save wrote"),
        (["ae.keras", *DATA, *["--classifier", "classifier.keras"] * 3], "classifiers must be one or two, got 3"),
        (["ae.keras", *DATA, "--split", "train"], "'train' is not one of 'test', 'validation'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value)),
)
def test_evaluate_refuses_in_one_line(arguments, message):
    assert is_refused(run("evaluate", *arguments), message)


@pytest.mark.parametrize(
    ("arguments", "ratio"),
    [
        (["sample", "vae.keras", "-n", 5], 26 / 17),
        (["sample", "gan.keras", "-n", 4], 35 / 89),
        (["sample", "gan_26.keras", "--label", 25, "-n", 4], 1),
        (["sample", "cvae.keras", "--label", 3, "--position", 0, 2, "-n", 1], 1),
        (["grid", "ae.keras", "-n", 3], 1),
        (["grid", "vae.keras", "-n", 3, "--dark-on-light"], 1),
        (["grid", "gan.keras", "-n", 3], None),
        (["reconstruct", "ae.keras", *DATA, "-n", 4], None),
        (["reconstruct", "vae_3.keras", *DATA], None),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, list) else "",
)
def test_pictures_are_drawn_from_files(arguments, ratio, tmp_path):
    result = run(*arguments, "-o", tmp_path / "x.png")
    assert result.exit_code == 0, result.output
    height, width = matplotlib.image.imread(tmp_path / "x.png").shape[:2]
    assert ratio is None or width / height == pytest.approx(ratio, rel=0.02)


def test_reconstructions_stand_below_their_images(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(figures, "plot_rows", lambda rows, cmap: drawn.append(rows) or figures.plot_mosaic(GREY))
    assert run("reconstruct", "vae_3.keras", *DATA, "-n", 3, "-o", tmp_path / "x.png").exit_code == 0
    images, reconstructions = drawn[0].values()
    assert images.shape == reconstructions.shape == (3, 8, 8, 1)
    assert set(np.unique(images)) <= {0, 1}  # binarized, as the model sees them
    model = load_model("vae_3.keras")
    np.testing.assert_array_equal(reconstructions, model.decode(model.encode(images)[0]))


@pytest.mark.parametrize("model", ["gan", "classifier", "cvae"])
def test_only_an_ae_or_a_vae_reconstructs(model, tmp_path):
    result = run("reconstruct", f"{model}.keras", *DATA, "-o", tmp_path / "x.png")
    assert is_refused(result, f"{model}.keras: expected an AE or a VAE")


def test_white_is_white_or_on_demand_ink(monkeypatch, tmp_path):
    monkeypatch.setattr(VAE, "draw", lambda self, count, seed: np.ones((count, 8, 8, 1)))
    for options, level in (((), 1), (("--dark-on-light",), 0)):
        run("sample", "vae.keras", *options, "-n", 1, "-o", tmp_path / "x.png")
        drawn = matplotlib.image.imread(tmp_path / "x.png")[..., :3]
        assert (drawn == level).all()


@pytest.mark.parametrize(
    ("model", "chosen", "checkout", "language"),
    [
        ("vae.keras", None, True, "en"),
        ("vae.keras", None, False, "en"),
        ("vae_kl", None, True, "pl"),
        ("vae_kl", None, False, "en"),
        ("vae.keras", "pl", True, None),
        ("vae_kl", "en", True, None),
    ],
)
def test_axes_have_the_words_of_the_report_for_its_runs_and_english_ones_for_files(
    model, chosen, checkout, language, monkeypatch, tmp_path
):
    said = []
    monkeypatch.setattr(figures, "use_language", said.append)
    monkeypatch.setattr(store, "trained", lambda _: SimpleNamespace(model=load_model("vae.keras")))
    if chosen:
        monkeypatch.setenv("GENMODELS_LANG", chosen)
    if not checkout:
        monkeypatch.setattr(config, "checkout", lambda: None)
    result = run("grid", model, "-n", 2, "-o", tmp_path / "x.png")
    assert result.exit_code == 0, result.output
    assert said == [language] * bool(language)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "gan.keras", "--label", 10], "10 is not in the range 0<=x<=9"),
        (["sample", "vae.keras", "--label", 1], "vae.keras takes no --label"),
        (["sample", "gan.keras", "--position", 0, 0], "gan.keras takes no --position"),
        (["sample", "cvae.keras", "--label", 1], "cvae.keras needs --position"),
        (["sample", "ae.keras"], "ae.keras: expected a model that draws images from noise"),
        (["sample", "classifier.keras"], "classifier.keras: expected a model that draws images from noise"),
        (["sample", "nowhere.keras"], "nowhere.keras: expected a .keras file, found nothing"),
        (["grid", "vae_3.keras"], "vae_3.keras: expected two latent dimensions, which make a plane, got 3; train it"),
        (["grid", "classifier.keras"], "classifier.keras: expected an AE, a VAE or a GAN, got a Classifier"),
        (["grid", "cvae.keras"], "cvae.keras: expected an AE, a VAE or a GAN, got a ConditionalVAE"),
        (["grid", "nowhere"], "'nowhere' is not one of"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value)),
)
def test_drawing_is_refused_in_one_line(arguments, message, tmp_path):
    assert is_refused(run(*arguments, "-o", tmp_path / "x.png"), message) and not (tmp_path / "x.png").exists()


def test_warnings_of_readers_are_plain_lines(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "empty").mkdir()
    for place, image in enumerate(DIGITS.images[:20]):
        Image.fromarray((image * 15).astype("uint8")).save(tmp_path / "ab"[place % 2] / f"{place}.png")
    result = run("fit", "gan", "--data", tmp_path, "-o", tmp_path / "x.keras", "--beta", 1)
    assert result.stderr.startswith("note: ") and "empty" in result.stderr.splitlines()[0]


def test_a_limit_of_memory_is_one_line(monkeypatch):
    monkeypatch.setattr(config, "memory_shortage", lambda: "expected at least 3072 MiB of memory, got a limit of 9")
    for command in (("fit", "ae", *DATA, "-o", "never.keras"), ("evaluate", "ae.keras", *DATA)):
        assert is_refused(run(*command), "expected at least 3072 MiB of memory")


def test_a_run_or_a_file_is_told_by_its_name():
    kind = cli_images.RunOrFile()
    assert kind.convert("gan", None, None) == "gan" and kind.convert("gan.keras", None, None).name == "gan.keras"
