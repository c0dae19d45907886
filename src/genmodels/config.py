"""The place that the package runs in: quick mode, checkout, cache folder, threads, memory, machine."""

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


def use_one_thread() -> bool:
    """Keep TensorFlow to one thread of the CPU, and return whether it obeys.

    It does not once it has run with more threads or with a GPU. One thread, because sums over several threads depend on
    the number of cores, and independent runs side by side use the cores better.
    """
    import tensorflow as tf

    try:
        tf.config.set_visible_devices([], "GPU")
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow is already in use
        set_here = {
            "TF_NUM_INTRAOP_THREADS": tf.config.threading.get_intra_op_parallelism_threads(),
            "TF_NUM_INTEROP_THREADS": tf.config.threading.get_inter_op_parallelism_threads(),
        }
        threads = {str(count or os.environ.get(name)) for name, count in set_here.items()}  # 0: not set here
        return threads == {"1"} and not tf.config.get_visible_devices("GPU")
    return True


def one_thread_environment() -> dict[str, str]:
    """Return environment variables that keep the TensorFlow of a new process to one thread of the CPU.

    CUDA_VISIBLE_DEVICES stays as the user set it.
    """
    threads = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    return {**threads, "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "-1")}


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

    blas: the kind of processor that NumPy and SciPy take this one for, which decides the last digits of their sums.
    """
    import scipy.linalg  # noqa: F401 (loads the library that is asked)
    import threadpoolctl

    blas = {pool["architecture"] for pool in threadpoolctl.threadpool_info() if "architecture" in pool}
    return {
        "processor": _processor(),
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

    Takes no time and does not import TensorFlow. BLAS is not in it: no weight depends on it.

    Returns:
        processor: Its name and its numbers.
        instructions: Vector instructions that it has, as far as the system tells. A virtual machine may hide some.
        limit: ONEDNN_MAX_CPU_ISA, which forbids some of them; empty if it is not set.
        onednn: "1" where TensorFlow uses oneDNN, "0" where TF_ENABLE_ONEDNN_OPTS forbids it.
        threads: Number of threads in a training.
        device: "CPU", or the names of the GPUs that TensorFlow may see. A training uses none of them.
    """
    limits = (os.environ.get(name, "") for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"))
    onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1").strip().lower()
    return {
        "processor": _processor(),
        "instructions": _instructions(),
        "limit": next(filter(None, limits), "").upper(),
        "onednn": "0" if onednn in ("0", "false") else "1",
        "threads": 1,
        "device": _gpus() or "CPU",
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


def _gpus():
    """Return the names of the GPUs of NVIDIA's driver, unless CUDA_VISIBLE_DEVICES hides all."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return ""
    return ", ".join(_gpu_names())


@cache
def _gpu_names():
    texts = (path.read_text(encoding="utf-8") for path in Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return sorted({found[1].strip() for text in texts if (found := re.search(r"^Model:(.+)$", text, re.MULTILINE))})


@cache
def _processor():
    """Return its name and, as several kinds share a name, its numbers."""
    if not (text := _cpuinfo()):
        return platform.processor()
    found = dict(re.findall(r"^(model name|cpu family|model|stepping)\s*: (.+)$", text, re.MULTILINE))
    numbers = "/".join(found.get(name, "") for name in ("cpu family", "model", "stepping"))
    return f"{found.get('model name', platform.processor())} ({numbers})"
