import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """TensorFlow as the runs of the report use it; set before anything else wakes it."""
    from genmodels.training import prepare

    prepare(0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test sees, or spoils, the cache of the checkout; none depends on the caller's budget."""
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GENMODELS_BUDGET", raising=False)


@pytest.fixture
def smoke(monkeypatch):
    monkeypatch.setenv("GENMODELS_BUDGET", "smoke")


@pytest.fixture
def rng():
    return np.random.default_rng(20)


@pytest.fixture(scope="session")
def digits():
    """128 real training digits."""
    from genmodels import data

    train = data.load().train
    return data.Split(train.images[:128], train.labels[:128])
