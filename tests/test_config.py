import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from genmodels import config


def test_quiet_start_hides_what_is_written_to_the_standard_error_stream(capfd):
    with config.quiet_start():
        os.write(2, b"start-up line")
    assert capfd.readouterr().err == ""


def test_quiet_start_gives_the_standard_error_stream_back(capfd):
    with config.quiet_start():
        pass
    os.write(2, b"after")
    print("and Python's", file=sys.stderr, flush=True)
    assert capfd.readouterr().err == "afterand Python's\n"


def test_quiet_start_passes_exceptions_and_gives_the_stream_back(capfd):
    with pytest.raises(ZeroDivisionError), config.quiet_start():
        raise ZeroDivisionError
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def python(code, **environment):
    """What Python prints for `code`, with these environment variables; None takes one away."""
    variables = {name: value for name, value in {**os.environ, **environment}.items() if value is not None}
    return subprocess.run(
        [sys.executable, "-c", code], env=variables, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


# Prints whether TensorFlow obeys, and how many threads the process has after a matrix product.
USE = """
import os
import genmodels
import tensorflow as tf
from genmodels import config

def compute():
    tf.function(tf.matmul)(*2 * [tf.ones((500, 500))]).numpy()

if os.environ.get("USED"):
    compute()
print(config.use_one_thread(), end=" ")
compute()
print(len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0)
"""
NO_VARIABLES = {"TF_NUM_INTRAOP_THREADS": None, "TF_NUM_INTEROP_THREADS": None}
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}


def test_tensorflow_obeys_unless_it_was_used_with_several_threads_and_environment_variables_do_the_same():
    fresh, threads = python(USE, **NO_VARIABLES).split()
    assert fresh == "True"
    assert python(USE, USED="1", **NO_VARIABLES).split()[0] == "False"
    assert python(USE, USED="1", **ONE_THREAD).split() == ["True", threads]
    assert python(USE, USED="1", **{**ONE_THREAD, "TF_NUM_INTRAOP_THREADS": "2"}).split()[0] == "False"


@pytest.mark.parametrize(("chosen", "devices"), [(None, "-1"), ("0", "0"), ("", "")])
def test_new_processes_see_no_gpu_unless_the_user_chose_one(monkeypatch, chosen, devices):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if chosen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert config.one_thread_environment() == {**ONE_THREAD, "CUDA_VISIBLE_DEVICES": devices}


def next_descriptor():
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor


def test_quiet_start_leaves_no_file_open():
    before = next_descriptor()
    with config.quiet_start():
        pass
    assert next_descriptor() == before


def test_quiet_start_works_without_a_standard_error_stream():
    code = "import os; os.close(2); from genmodels import config\nwith config.quiet_start(): print('inside')"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "inside\n"


def limit_memory(monkeypatch, limit):
    """Let the operating system report this limit in bytes."""
    system = SimpleNamespace(RLIMIT_AS="address space", getrlimit=lambda kind: (limit, limit))
    monkeypatch.setitem(sys.modules, "resource", system)


@pytest.mark.parametrize("limit", [-1, 2**63 - 1, 3 * 2**30], ids=["none on Linux", "none on macOS", "just enough"])
def test_enough_memory_is_no_shortage(monkeypatch, limit):
    limit_memory(monkeypatch, limit)
    assert config.memory_shortage() == ""


def test_memory_shortage_states_the_expected_and_the_received_limit_and_the_remedy(monkeypatch):
    limit_memory(monkeypatch, 2**30)
    expected = "expected at least 3072 MiB of memory, got a limit of 1024; raise it with ulimit -v"
    assert config.memory_shortage() == expected


def test_memory_shortage_depends_on_the_least_memory_that_the_caller_needs(monkeypatch):
    limit_memory(monkeypatch, 2**30)
    assert config.memory_shortage(2**30) == "" and "at least 2048 MiB" in config.memory_shortage(2**31)


def test_a_system_without_limits_has_no_shortage(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert config.memory_shortage() == ""


@pytest.mark.parametrize("module", ["datasets", "figures", "canvas", "validation"])
def test_modules_without_models_import_no_tensorflow(module):
    code = f"import genmodels, sys; genmodels.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    loaded = set(done.stdout.split())
    assert f"genmodels.{module}" in loaded and not loaded & {"tensorflow", "keras"}
