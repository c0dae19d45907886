import json
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


def test_tensorflow_obeys_unless_it_was_used_with_several_threads_and_environment_variables_do_the_same():
    fresh, threads = python(USE, **NO_VARIABLES).split()
    assert fresh == "True"
    assert python(USE, USED="1", **NO_VARIABLES).split()[0] == "False"
    assert python(USE, USED="1", **config.ONE_THREAD).split() == ["True", threads]
    assert python(USE, USED="1", **{**config.ONE_THREAD, "TF_NUM_INTRAOP_THREADS": "2"}).split()[0] == "False"


@pytest.mark.parametrize(
    ("chosen", "device"), [(None, "CPU"), ("cpu", "CPU"), ("auto", "NVIDIA H200"), ("gpu", "NVIDIA H200")]
)
def test_a_gpu_is_part_of_the_machine_where_it_was_chosen(gpu, monkeypatch, chosen, device):
    if chosen:
        monkeypatch.setenv("GENMODELS_DEVICE", chosen)
    assert config.numerics()["device"] == device
    assert config.machine()["processor"].endswith("; NVIDIA H200") == (device != "CPU")


def test_auto_is_the_cpu_where_tensorflow_sees_no_gpu(no_device):
    config.use_device("auto")
    assert config.numerics()["device"] == "CPU" and "CUDA_VISIBLE_DEVICES" not in os.environ


def test_a_gpu_that_is_not_there_is_refused_in_one_line_with_the_remedy(no_device):
    with pytest.raises(config.DeviceError) as stopped:
        config.use_device("gpu")
    said = str(stopped.value)
    assert said.startswith("device gpu: expected a GPU that TensorFlow sees, found none; install") and "\n" not in said
    with pytest.raises(config.DeviceError, match="found none"):
        config.numerics()


def test_an_unknown_device_is_an_error(monkeypatch):
    monkeypatch.setenv("GENMODELS_DEVICE", "tpu")
    with pytest.raises(config.DeviceError, match="GENMODELS_DEVICE must be 'auto', 'cpu' or 'gpu', got 'tpu'"):
        config.device()


@pytest.mark.parametrize(("chosen", "hidden"), [("cpu", {"CUDA_VISIBLE_DEVICES": "-1"}), ("auto", {}), ("gpu", {})])
def test_workers_see_no_gpu_where_the_cpu_was_chosen(gpu, chosen, hidden):
    config.use_device(chosen)
    assert config.worker_environment() == {**config.ONE_THREAD, **hidden}
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == hidden.get("CUDA_VISIBLE_DEVICES")
    assert os.environ.get("TF_FORCE_GPU_ALLOW_GROWTH") == (None if hidden else "true")


def test_nothing_that_a_training_asks_of_tensorflow_hides_a_gpu(gpu):
    from genmodels import training

    training.prepare(0)
    assert config.use_one_thread() and "CUDA_VISIBLE_DEVICES" not in os.environ


def test_numerics_is_plain_known_at_once_and_without_tensorflow():
    code = (
        "import json, sys, time; from genmodels import config\n"
        "first = config.numerics(); start = time.perf_counter()\n"
        "found = [config.numerics() for _ in range(100)]; seconds = time.perf_counter() - start\n"
        "slow = {'tensorflow', 'keras', 'scipy', 'threadpoolctl'} & set(sys.modules)\n"
        "print(json.dumps([first, all(each == first for each in found), seconds, sorted(slow)]))"
    )
    found, equal, seconds, slow = json.loads(python(code, TF_ENABLE_ONEDNN_OPTS=None))
    assert found == config.numerics() and equal and seconds < 0.5 and slow == []
    assert found["processor"] == config.machine()["processor"] and found["threads"] == 1 and found["onednn"] == "1"


@pytest.mark.parametrize(
    ("value", "onednn"), [(None, "1"), ("1", "1"), ("true", "1"), ("0", "0"), ("false", "0"), ("FALSE", "0")]
)
def test_numerics_names_onednn_as_tensorflow_reads_its_variable(monkeypatch, value, onednn):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    if value is not None:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", value)
    assert config.numerics()["onednn"] == onednn


def test_numerics_names_a_limit_of_the_instructions(monkeypatch):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    assert config.numerics()["limit"] == ""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")
    assert config.numerics()["limit"] == "AVX2"


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A function that gives `config` the files of another system, {path: text}."""

    def write(files):
        for path, text in files.items():
            (tmp_path / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path.lstrip("/")).write_text(text)
        monkeypatch.setattr(config, "Path", lambda path: tmp_path / str(path).lstrip("/"))

    cached = (config._processor, config._instructions)
    for function in cached:
        function.cache_clear()
    yield write
    for function in cached:
        function.cache_clear()


CPU = """processor : 0
model name : Intel(R) Xeon(R)
cpu family : 6
model : 85
stepping : 7
flags : fpu sse2 {} bmi2
"""


def test_numerics_tells_machines_apart_whose_system_hides_instructions(system):
    system({"/proc/cpuinfo": CPU.format("avx avx2 fma")})
    few = config.numerics()
    config._instructions.cache_clear()
    system({"/proc/cpuinfo": CPU.format("avx avx2 fma avx512f avx512_vnni amx_int8")})
    many = config.numerics()
    assert few["processor"] == many["processor"] == "Intel(R) Xeon(R) (6/85/7)"
    assert few["instructions"] == "avx avx2 fma"
    assert many["instructions"] == "amx_int8 avx avx2 avx512_vnni avx512f fma"


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


@pytest.mark.parametrize("module", ["datasets", "images", "mnist", "figures", "canvas", "validation"])
def test_modules_without_models_import_no_tensorflow(module):
    code = f"import genmodels, sys; genmodels.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    loaded = set(done.stdout.split())
    assert f"genmodels.{module}" in loaded and not loaded & {"tensorflow", "keras"}
