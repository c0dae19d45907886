import os
import sys
from pathlib import Path

from jupyter_client.manager import KernelManager

from genmodels import config
from genmodels.pipeline.kernel import OwnKernel


def test_the_kernel_is_this_python_on_one_thread_whatever_name_is_asked_for():
    spec = OwnKernel().get_kernel_spec("conda-env-other-py")
    assert spec.argv[0] == sys.executable
    path = spec.env.pop("PYTHONPATH").split(os.pathsep)[0]
    assert path == str(Path(config.__file__).parents[1]) and Path(path).is_absolute()
    assert spec.env == {**config.ONE_THREAD, "GENMODELS_LANG": "pl"}


def test_its_process_has_these_environment_variables_and_starts_tensorflow_quietly(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "4")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    sockets = {"transport": "ipc", "ip": str(tmp_path / "kernel")}
    manager = KernelManager(kernel_spec_manager=OwnKernel(), **sockets)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)  # conftest.py hides GPUs, the kernel must not
    manager.start_kernel()
    try:
        client, said = manager.client(), []
        client.start_channels()
        client.wait_for_ready(timeout=60)
        names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "CUDA_VISIBLE_DEVICES")
        code = f"import os, sys; print(*(os.environ.get(name) for name in {names}), type(sys.meta_path[0]).__name__)"
        client.execute_interactive(code, timeout=60, output_hook=lambda message: said.append(message["content"]))
        client.stop_channels()
    finally:
        manager.shutdown_kernel(now=True)
    assert [content["text"] for content in said if content.get("name") == "stdout"] == ["1 1 None _QuietImport\n"]
