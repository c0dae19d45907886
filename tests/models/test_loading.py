import subprocess
import sys
import zipfile

import numpy as np
import pytest

import genmodels
from genmodels.models.autoencoder import AE


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "ae.keras"
    model = AE(image_shape=(8, 8, 1), hidden_units=(4,))
    model.compile("adam")
    model.save(path)
    return path


def test_a_model_is_loaded_with_its_weights(saved):
    codes = np.ones((2, 2), "float32")
    one, other = genmodels.load_model(saved), genmodels.load_model(str(saved))
    assert isinstance(one, AE) and np.array_equal(one.decode(codes), other.decode(codes))


@pytest.mark.parametrize(
    "code",
    [
        "import genmodels; print(type(genmodels.load_model({path!r})).__name__)",
        "import keras; import genmodels; print(type(keras.models.load_model({path!r})).__name__)",
    ],
    ids=["genmodels alone", "keras first"],
)
def test_a_fresh_process_loads_a_model(code, saved):
    command = [sys.executable, "-c", code.format(path=str(saved))]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "AE"


def changed(saved, path, old, new):
    """Write a copy of a model whose config.json says something else."""
    with zipfile.ZipFile(saved) as before, zipfile.ZipFile(path, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            after.writestr(name, content.replace(old, new) if name == "config.json" else content)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.keras", None, r"missing\.keras: expected a \.keras file, found nothing; `genmodels fit`"),
        ("text.keras", b"text", "got another or a damaged file"),
        ("empty.keras", b"", "got another or a damaged file"),
        ("model.h5", b"\x89HDF", "got another or a damaged file"),
    ],
)
def test_a_wrong_file_is_one_line(name, content, message, tmp_path):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as refused:
        genmodels.load_model(path)
    assert "\n" not in str(refused.value)


def test_a_folder_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="found a folder"):
        genmodels.load_model(tmp_path)


def test_half_a_file_is_one_line(saved, tmp_path):
    (tmp_path / "x.keras").write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged file; save the model anew"):
        genmodels.load_model(tmp_path / "x.keras")


@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")  # Keras, before it refuses the model
@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"latent_dim": 2', b'"code_dim": 2'), (b'"latent_dim": 2', b'"latent_dim": 3'), (b"AE", b"Elsewhere")],
    ids=["another option", "other weights", "another class"],
)
def test_a_model_of_other_code_is_one_line(old, new, saved, tmp_path):
    changed(saved, tmp_path / "x.keras", old, new)
    with pytest.raises(ValueError, match=r"x\.keras: expected a model of this version of genmodels, got: ") as refused:
        genmodels.load_model(tmp_path / "x.keras")
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 600
