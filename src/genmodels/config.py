"""The place that the package runs in: quick mode, checkout, cache folder, devices, threads, memory, machine."""

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path

import platformdirs


def quick_mode() -> bool:
    """Return whether GENMODELS_BUDGET asks for the quick mode: a slice of the data and one epoch.

    Raises:
        ValueError: GENMODELS_BUDGET is neither "full" nor "smoke".
    """
    budget = os.environ.get("GENMODELS_BUDGET", "full")
    if budget not in ("full", "smoke"):
        raise ValueError(f"GENMODELS_BUDGET must be 'full' or 'smoke', got {budget!r}")
    return budget == "smoke"


def checkout() -> Path | None:
    """Return the root of the checkout that this package runs from; None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() and (root / "notebooks").is_dir() else None


def cache_folder() -> Path:
    """Return the cache folder: GENMODELS_CACHE, or .cache/ in a checkout, or the user's cache folder."""
    if chosen := os.environ.get("GENMODELS_CACHE"):
        return Path(chosen)
    root = checkout()
    return root / ".cache" / "genmodels" if root else Path(platformdirs.user_cache_dir("genmodels"))


DEVICES = ("auto", "cpu", "gpu")  # auto: a GPU if TensorFlow sees one, otherwise the CPU


class DeviceError(ValueError):
    """The chosen device is unknown or missing. The message says what to choose."""


def device() -> str:
    """Return the device that GENMODELS_DEVICE chooses, one of DEVICES; by default "cpu", where results repeat.

    Raises:
        DeviceError: GENMODELS_DEVICE has another value.
    """
    chosen = os.environ.get("GENMODELS_DEVICE") or "cpu"
    if chosen not in DEVICES:
        raise DeviceError(f"GENMODELS_DEVICE must be 'auto', 'cpu' or 'gpu', got {chosen!r}")
    return chosen


def use_device(chosen: str) -> None:
    """Choose the device of this process and of the processes that it starts.

    A command calls this before TensorFlow starts. A library must not, because "cpu" hides the GPUs from TensorFlow.

    Args:
        chosen: One of DEVICES.

    Raises:
        DeviceError: "gpu" is chosen, but TensorFlow sees none.
    """
    os.environ["GENMODELS_DEVICE"] = chosen
    if chosen == "cpu":
        os.environ.update(_NO_GPU)
    else:  # a process takes the whole memory of a GPU otherwise, and several processes train side by side
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    if chosen == "gpu":
        gpus()


_NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1"}


def visible_gpus() -> list:
    """Return the GPUs that TensorFlow sees in this process, as tf.config.PhysicalDevice."""
    with quiet_start():
        import tensorflow as tf

        return tf.config.get_visible_devices("GPU")


def gpus() -> list[str]:
    """Return the names of the GPUs that the chosen device takes; none for "cpu", which does not import TensorFlow.

    Raises:
        DeviceError: "gpu" is chosen, but TensorFlow sees none.
    """
    if (chosen := device()) == "cpu":
        return []
    if not (found := visible_gpus()) and chosen == "gpu":
        raise DeviceError(
            "device gpu: expected a GPU that TensorFlow sees, found none; install its driver and tensorflow[and-cuda], "
            "or choose auto or cpu (--device or GENMODELS_DEVICE)"
        )
    import tensorflow as tf

    details = map(tf.config.experimental.get_device_details, found)
    return sorted(about.get("device_name", gpu.name) for gpu, about in zip(found, details))


def use_one_thread() -> bool:
    """Keep TensorFlow to one thread, and return whether it obeys.

    It does not once it has run with more threads. One thread, because sums over several threads depend on the number of
    cores, and independent runs side by side use the cores better.
    """
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow is already in use
        set_here = {
            "TF_NUM_INTRAOP_THREADS": tf.config.threading.get_intra_op_parallelism_threads(),
            "TF_NUM_INTEROP_THREADS": tf.config.threading.get_inter_op_parallelism_threads(),
        }
        threads = {str(count or os.environ.get(name)) for name, count in set_here.items()}  # 0: not set here
        return threads == {"1"}
    return True


ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}  # for the TensorFlow of a new process


def worker_environment() -> dict[str, str]:
    """Return environment variables for a new process that trains: one thread, and no GPU if the device is "cpu"."""
    return {**ONE_THREAD, **(_NO_GPU if device() == "cpu" else {})}


@contextmanager
def quiet_start() -> Iterator[None]:
    """Hide what TensorFlow's C++ code writes to the standard error stream inside the block.

    Its start-up lines ignore TF_CPP_MIN_LOG_LEVEL. Errors are Python exceptions and are not hidden.
    """
    try:
        kept, silence = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # no standard error stream, nothing to hide
        yield
        return
    try:
        os.dup2(silence, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(silence)


def memory_shortage(least: int = 3 * 2**30) -> str:
    """Return what to do where a limit allows less memory than `least` bytes; TensorFlow would hang or crash there."""
    try:
        import resource
    except ImportError:  # there is none on Windows
        return ""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if not 0 <= limit < least:
        return ""
    return f"expected at least {least >> 20} MiB of memory, got a limit of {limit >> 20}; raise it with ulimit -v"


def machine() -> dict:
    """Return processor, cores, system and versions, for the reader of a time or a number.

    processor: the CPU, and the GPUs that the chosen device takes.
    blas: the kind of processor that NumPy and SciPy take this one for, which decides the last digits of their sums.
    """
    import scipy.linalg  # noqa: F401 (loads the library that is asked)
    import threadpoolctl

    blas = {pool["architecture"] for pool in threadpoolctl.threadpool_info() if "architecture" in pool}
    return {
        "processor": "; ".join([_processor(), *gpus()]),
        "blas": ", ".join(sorted(blas)),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("keras", "numpy", "tensorflow")},
    }


# Instructions for which TensorFlow has kernels of their own, with sums in another order, as /proc/cpuinfo writes them.
_INSTRUCTIONS = r"\b(?:fma|f16c|avx\w*|amx_\w+|asimd\w*|sve\w*|bf16|i8mm)\b"


def numerics() -> dict[str, str | int]:
    """Return what decides, beside code and data, the last digits that this machine computes.

    Takes no time and, for the device "cpu", does not import TensorFlow. BLAS is not in it: no weight depends on it.

    Returns:
        processor: Its name and its numbers.
        instructions: Vector instructions that it has, as far as the system tells. A virtual machine may hide some.
        limit: ONEDNN_MAX_CPU_ISA, which forbids some of them; empty if it is not set.
        onednn: "1" where TensorFlow uses oneDNN, "0" where TF_ENABLE_ONEDNN_OPTS forbids it.
        threads: Number of threads in a training.
        device: "CPU", or the names of the GPUs that the chosen device takes.

    Raises:
        DeviceError: The device "gpu" is chosen, but TensorFlow sees none.
    """
    limits = (os.environ.get(name, "") for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"))
    onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1").strip().lower()
    return {
        "processor": _processor(),
        "instructions": _instructions(),
        "limit": next(filter(None, limits), "").upper(),
        "onednn": "0" if onednn in ("0", "false") else "1",
        "threads": 1,
        "device": ", ".join(gpus()) or "CPU",
    }


def _cpuinfo():
    """Return what Linux tells of the processor; nothing elsewhere."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""


@cache
def _instructions():
    """Return the vector instructions of the first core, sorted; where the system does not tell, its architecture."""
    flags = re.search(r"^(?:flags|Features)\s*:(.+)$", _cpuinfo(), re.MULTILINE)
    return " ".join(sorted(set(re.findall(_INSTRUCTIONS, flags[1])))) if flags else platform.machine()


@cache
def _processor():
    """Return its name and, as several kinds share a name, its numbers."""
    if not (text := _cpuinfo()):
        return platform.processor()
    found = dict(re.findall(r"^(model name|cpu family|model|stepping)\s*: (.+)$", text, re.MULTILINE))
    numbers = "/".join(found.get(name, "") for name in ("cpu family", "model", "stepping"))
    return f"{found.get('model name', platform.processor())} ({numbers})"
