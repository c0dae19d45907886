"""The terminal of worker processes and kernels: lines above progress bars, and no noise of TensorFlow."""

import logging
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import Any

from tqdm import tqdm

from genmodels.config import quiet_start


def say(text: str) -> None:
    """Print lines to the standard error stream, in place of the progress bar that stands there; it moves down."""
    with tqdm.get_lock():  # the bars of other processes too
        print(f"{ERASE if sys.stderr.isatty() else ''}{text}", file=sys.stderr, flush=True)


ERASE = "\r\x1b[K"  # what the cursor's line shows


def hide_start_up_lines() -> None:
    """Make `import tensorflow` quiet in this process, also when Keras imports it."""
    sys.meta_path.insert(0, _QuietImport())


class _QuietImport(MetaPathFinder):
    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        """Wrap the import of TensorFlow in `quiet_start`, and leave every other import alone."""
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        if spec := find_spec(name):
            spec.loader.exec_module = quiet_start()(spec.loader.exec_module)
        return spec


def hide_retracing() -> None:
    """Hide the warning that a function is traced often: each run of a worker has a model, and traces its step, anew."""
    hidden = "triggered tf.function retracing"
    logging.getLogger("tensorflow").addFilter(lambda record: hidden not in record.getMessage())
