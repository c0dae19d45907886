"""Tasks on the workers of a dask scheduler, each in a process of its own, as `processes` has them on this machine.

A worker's threads share Python's global `random` with dask's event loop, and Keras draws from it: weights would differ
from run to run. The child process has it for itself. It returns the result and the folders of its runs as bytes, and
this process files them in its own cache. Workers need no common file system.

`python -m genmodels.pipeline.cluster` is such a child.
"""

import logging
import os
import pickle
import platform
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Collection
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from typing import Any

from genmodels import config
from genmodels.experiments import Run, dependencies
from genmodels.pipeline import files, processes, records, store, terminal

# A child gets these variables from here, because they decide its numbers and its speed. The others are the worker's.
FROM_HERE = tuple("GENMODELS_BUDGET GENMODELS_DEVICE KERAS_ MALLOC_ OMP_ ONEDNN_ DNNL_ TF_".split())
NOT_THERE = ("GENMODELS_SCHEDULER",)  # a child asks no scheduler
POLL = 0.5  # seconds between two looks whether a task is still wanted
TIMEOUT = 10  # seconds that a scheduler has to answer
PATIENCE = 3  # seconds that a child has to end
AGAIN = "start it and its workers again; the same command goes on"


class Cluster(Executor):
    """An executor on the workers of a dask scheduler.

    Args:
        address: Address of the scheduler, such as tls://10.0.0.1:8786.
        run: Function of a task that returns the run that it trains; None for a task that trains none.
        uses: Trained runs that all tasks load.

    Raises:
        ResourceError: dask.distributed is not installed, or nobody answers at the address.
    """

    def __init__(self, address: str, run: Callable[[Any], Run | None], uses: Collection[Run | str] = ()) -> None:
        self._address, self._run = address, run
        self._client, self._topic = connect(address), f"genmodels-{uuid.uuid4()}"
        self._client.subscribe_topic(self._topic, lambda event: terminal.say(event[1]))
        self._executor = self._client.get_executor(retries=1)  # where its child was killed
        self._filing = ThreadPoolExecutor(1)
        self._sent, self._told = {}, set()
        self._used = [folder for each in uses for folder in self._send(each)]
        if not self._client.scheduler_info()["workers"]:
            terminal.say(f"waiting for workers of {address}")

    def submit(self, work: Callable, task: Any, /) -> Future:
        """Call work(task) in a child process of a worker. The future ends when the task's run is in the cache."""
        run, done = self._run(task), Future()
        folders = [*self._used, *(folder for each in (dependencies(run) if run else ()) for folder in self._send(each))]
        request = pickle.dumps((work, task, run, inputs(run)))
        here = {name: value for name, value in os.environ.items() if name.startswith(FROM_HERE)}
        remote = self._executor.submit(_in_child, self._topic, here, request, *folders)
        remote.add_done_callback(lambda _: self._ended(remote, done, str(run or task)))
        return done

    def _ended(self, remote, done, name):
        with suppress(RuntimeError):  # after `shutdown`
            self._filing.submit(self._file, remote, done, name)

    def _send(self, run):
        """Send the folders of a run to the scheduler, once, for the workers that will ask for them."""
        for name, contents in store.packed(run).items():
            if name not in self._sent:
                self._sent[name] = self._client.submit(_same, pickle.dumps({name: contents}), key=f"genmodels-{name}")
            yield self._sent[name]

    def _file(self, remote, done, name):
        """Give a task's future its result, once the folders that came with it are in the cache."""
        from distributed import KilledWorker

        try:
            result, error, folders, machine = pickle.loads(remote.result())
            store.unpack(folders)
            self._tell_apart(machine)
            done.set_exception(error) if error else done.set_result(result)
        except CancelledError:
            done.set_exception(files.ResourceError(f"{self._address}: lost the scheduler; {AGAIN}"))
        except (KilledWorker, ChildKilledError) as error:
            why = f"its process was killed each time it was tried ({error}); what is finished stays"
            done.set_exception(files.KilledError(f"{name}: {why}"))
        except BaseException as error:
            done.set_exception(error)

    def _tell_apart(self, machine):
        """Say once of another kind of machine that the cache keeps its runs apart."""
        here, there = config.numerics(), machine["processor"]
        if machine != here and there not in self._told:
            self._told.add(there)
            terminal.say(
                f"Some runs come from {there}, and this machine is {here['processor']}: their last digits may differ "
                "from those of runs made here. The cache keeps both apart."
            )

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let go of the scheduler. Children whose tasks are not done end."""
        if self._client.status == "running":
            self._executor.shutdown(wait=False)
        self._filing.shutdown(wait=wait, cancel_futures=cancel_futures)
        self._client.close(timeout=PATIENCE)


def connect(address: str) -> Any:
    """Return a dask client of the scheduler at an address, see `Cluster`."""
    try:
        import dask
        from distributed import Client
    except ImportError as error:
        missing = "expected dask.distributed for a scheduler, found none; pip install 'genmodels[cluster]'"
        raise files.ResourceError(missing) from error
    for name in ("distributed", "distributed.client"):  # each has a level of its own
        logging.getLogger(name).setLevel(logging.CRITICAL)  # our own messages say what to do
    dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"})  # folders of runs

    class Closing(Client):
        """A client that lets go of its thread when it cannot start. Dask's own would wait for it at exit, for 20 s."""

        def start(self, **options: Any) -> None:
            """Connect to the scheduler."""
            try:
                super().start(**options)
            except Exception:
                self.close(timeout=PATIENCE)
                raise

    try:
        return Closing(address, set_as_default=False, timeout=TIMEOUT)
    except (OSError, ValueError, TypeError, RuntimeError) as error:  # a TimeoutError is an OSError
        wrong = f"--scheduler {address}: expected a dask scheduler, got no connection ({error or 'no answer'})"
        remedy = "check the address, and the certificates in dask's configuration, see docs/cluster.md"
        raise files.ResourceError(f"{wrong}; {remedy}") from error


def inputs(run: Run | None) -> dict:
    """Return what a task must find on a worker as it is here: code and settings of its run, the data, and libraries."""
    return store.inputs(run) if run else records.environment()


def _same(content):
    return content


class ChildKilledError(RuntimeError):
    """The child process of a task was killed."""


def _in_child(topic, environment, request, *folders):
    """Run one task in a child process of this worker, and return what `main` writes. End it if nobody waits for it."""
    from distributed import Reschedule, get_worker

    worker = get_worker()
    key = worker.get_current_task()
    own = {name: value for name, value in os.environ.items() if not name.startswith((*FROM_HERE, *NOT_THERE))}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    child = subprocess.Popen([sys.executable, "-m", __name__], env={**own, **environment}, **pipes)
    with ThreadPoolExecutor(3) as threads:
        threads.submit(_ask, child.stdin, (request, folders))
        answer = threads.submit(child.stdout.read)
        last = threads.submit(_forward, child.stderr, partial(worker.log_event, topic))
        try:
            while not wait([answer], POLL).done:
                if not _is_wanted(worker, key):
                    raise Reschedule
            child.wait(PATIENCE)
        finally:
            _stop(child)
    if child.returncode:
        raise ChildKilledError(f"status {child.returncode} on {platform.node()}; {last.result() or files.KILLED}")
    return answer.result()


def _ask(stream, question):
    with suppress(BrokenPipeError):  # the child has been killed
        pickle.dump(question, stream)
        stream.flush()  # and stays open: its end would end the child


def _forward(stream, say):
    """Send each line of a child to the client; return the last one."""
    last = ""
    for line in stream:
        if last := line.decode(errors="replace").strip() or last:
            say(last)
    return last


def _is_wanted(worker, key):
    """Return whether a client still waits for a task of a worker that stays."""
    task = worker.state.tasks.get(key)
    return task is not None and task.state != "cancelled" and worker.status.name in ("init", "running", "paused")


def _stop(child):
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def main() -> None:
    """Run the task on the standard input, and write (result, error, folders, machine) to the standard output."""
    request, answer = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the task prints must not get between
    processes.prepare()
    task, folders = pickle.load(request)
    threading.Thread(target=_end_with_worker, args=(request,), daemon=True).start()
    try:
        found = pickle.dumps(_answer(task, folders))
        pickle.loads(found)  # an error may come with what nobody can read
    except KeyboardInterrupt:
        os._exit(130)
    except Exception as error:
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        found = pickle.dumps((None, plain, {}, config.numerics()))
    with answer:
        answer.write(found)
    os._exit(0)  # TensorFlow takes its time to end


def _end_with_worker(request):
    """Exit when the worker closes our standard input, which also happens when it is killed."""
    request.read()
    os._exit(1)


def _answer(task, folders):
    work, task, run, expected = pickle.loads(task)
    machine = config.numerics()
    try:
        _refuse_other(expected, inputs(run))
        for content in folders:
            store.unpack(pickle.loads(content))
        return work(task), None, store.packed(run) if run else {}, machine
    except Exception as error:
        return None, error, {}, machine


def _refuse_other(expected, found):
    """Refuse code, data or libraries other than the client's: the results would be filed as those of the client's."""
    if other := ", ".join(name for name, *_ in files.differing(expected, found)):
        raise store.TrainingError(
            f"worker on {platform.node()}: expected the code, data and libraries of the machine that asks, got another "
            f"{other}; bring both to the same commit and environment, and start the worker again"
        )


if __name__ == "__main__":
    main()
