"""The Jupyter kernel of this environment, for the pipeline, nbval and JupyterLab. It ignores a notebook's kernel name.

VS Code, Colab and conda write kernel names of their own into a notebook. A folder on JUPYTER_PATH may hold a foreign
kernel under the usual name. Neither has our libraries.

In this kernel TensorFlow uses one thread, so that the digits of a figure do not depend on the number of cores.
"""

import os
import sys
from pathlib import Path

from ipykernel.kernelspec import RESOURCES
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpec, KernelSpecManager

from genmodels import config
from genmodels.pipeline import records


class OwnKernel(KernelSpecManager):
    """A kernel spec manager that knows one kernel: this Python."""

    def find_kernel_specs(self) -> dict[str, str]:
        """Return {name: folder} of the one kernel."""
        return {NATIVE_KERNEL_NAME: RESOURCES}

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return the one kernel for any name."""
        quietly = "from genmodels.pipeline import terminal; terminal.hide_start_up_lines(); del terminal"
        begin = f"--IPKernelApp.exec_lines={quietly}"
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", begin]
        about = {"display_name": "Python 3", "language": "python", "metadata": {"debugger": True}}
        # The package of this checkout, whatever folder the notebook runs in and wherever PYTHONPATH leads from there.
        root = config.checkout()
        source = root / "src" if root else Path(__file__).parents[2]
        path = os.pathsep.join(filter(None, [str(source), os.environ.get("PYTHONPATH")]))
        own = {**config.ONE_THREAD, "GENMODELS_LANG": records.language(), "PYTHONPATH": path}
        return KernelSpec(argv=command, resource_dir=RESOURCES, env=own, **about)
