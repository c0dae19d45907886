import logging
import os
import subprocess
import sys

from genmodels.pipeline import terminal


def test_a_line_replaces_a_progress_bar_on_a_terminal_and_is_plain_in_a_log(capsys, monkeypatch):
    terminal.say("into a log")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    terminal.say("onto a terminal")
    assert capsys.readouterr().err == f"into a log\n{terminal.ERASE}onto a terminal\n"


def errors_of(code):
    """Return what a new process writes to its standard error stream."""
    variables = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    return subprocess.run([sys.executable, "-c", code], env=variables, stderr=subprocess.PIPE, text=True).stderr


QUIETLY = "from genmodels.pipeline import terminal; terminal.hide_start_up_lines()\n"


def test_keras_starts_tensorflow_without_a_line_and_an_error_of_c_code_still_arrives():
    said = errors_of(QUIETLY + "import keras, os; os.write(2, b'Check failed'); import lost")
    assert said.startswith("Check failed") and "No module named 'lost'" in said and "oneDNN" not in said


def test_tensorflow_is_the_only_import_that_changes():
    code = f"import sys; before = list(sys.meta_path)\n{QUIETLY}import json.tool; assert sys.meta_path[1:] == before"
    assert errors_of(code) == ""


def test_a_missing_tensorflow_is_an_ordinary_error():
    said = errors_of(QUIETLY + "import sys; sys.path.clear(); import tensorflow")
    assert "ModuleNotFoundError: No module named 'tensorflow'" in said


def test_a_worker_does_not_say_that_each_run_is_traced_anew(caplog):
    logger = logging.getLogger("tensorflow")
    before = list(logger.filters)
    terminal.hide_retracing()
    try:
        logger.warning("5 out of the last 6 calls to %s triggered tf.function retracing.", "f")
        logger.warning("another warning")
    finally:
        logger.filters[:] = before
    assert caplog.messages == ["another warning"]
