"""A dask cluster on one machine: the same bits as the local pool, kills at random moments, overhead, and a simulation.

`python -m benchmarks.cluster bits` puts each worker into a network namespace of its own, joined by a bridge, as two
machines are by a switch; that takes the rights of root. Each worker has a cache of its own. `disturb`, `overhead`,
`idle` and `simulate` are the other measurements. docs/cluster.md has the results.
"""

import heapq
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil

from benchmarks import crash_test
from genmodels import config
from genmodels.pipeline import files

# The settings of docs/cluster.md: without them an idle worker takes an eighth of a core.
QUIET = {
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__WORKER__MEMORY__MONITOR_INTERVAL": "2s",
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "1s",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "5s",
}
CHILD = "genmodels.pipeline.cluster"
ENTRIES = ("ae", "vae_kl", "cvae_2", "gan")


class Machines:
    """A scheduler and workers, each worker with one thread and a cache of its own.

    Args:
        folder: Folder of caches and logs.
        source: Folders of importable modules, for the workers.
        apart: Put each worker into a network namespace.
        count: Number of workers.
    """

    def __init__(self, folder: Path, source: str, *, apart: bool = False, count: int = 2) -> None:
        self.folder, self.stack, self.apart, self.port = folder, ExitStack(), apart, 0
        self.environment = {**os.environ, **QUIET, "PYTHONPATH": source, "GENMODELS_SCHEDULER": ""}
        self.host, self.names = "127.0.0.1", [f"gm{os.getpid()}-{number}" for number in range(count)]
        if apart:
            self.host = join(self.stack, self.names)
        self.start_scheduler()
        self.workers = [self.start_worker(name) for name in self.names]

    def start_scheduler(self) -> None:
        """Start the scheduler, at the port that it had."""
        about = self.folder / "scheduler.json"
        about.unlink(missing_ok=True)
        options = (f"--host={self.host}", f"--port={self.port}", "--no-dashboard", f"--scheduler-file={about}")
        self.scheduler = self._start([], "scheduler", *options)
        while not about.is_file() or not about.stat().st_size:
            if self.scheduler.poll() is not None:
                raise RuntimeError(f"expected a scheduler, got its end; see {self.folder / 'scheduler.log'}")
            time.sleep(0.05)
        self.address = files.read_json(about)["address"]
        self.port = int(self.address.rpartition(":")[2])

    def start_worker(self, name: str) -> subprocess.Popen:
        """Start a worker, with the cache that its namesake had."""
        inside = ["ip", "netns", "exec", name] if self.apart else []
        own = {"GENMODELS_CACHE": str(self.folder / name), "MACHINE": name}
        return self._start(inside, "worker", self.address, "--nthreads=1", "--no-dashboard", f"--name={name}", **own)

    def _start(self, inside, *command, **environment):
        log = self.stack.enter_context((self.folder / f"{command[0]}.log").open("ab"))
        options = {"stdout": log, "stderr": log, "cwd": self.folder, "env": {**self.environment, **environment}}
        process = subprocess.Popen([*inside, sys.executable, "-m", "dask", *command], **options)
        self.stack.callback(end, process)
        return process

    def processes(self) -> list[psutil.Process]:
        """Return the processes of scheduler and workers, with those that they have started."""
        started = [psutil.Process(each.pid) for each in (self.scheduler, *self.workers) if each.poll() is None]
        return [*started, *(child for each in started for child in each.children(recursive=True))]

    def children(self) -> list[psutil.Process]:
        """Return the processes that do tasks."""
        return [each for each in self.processes() if is_running(each) and CHILD in each.cmdline()]

    def __enter__(self) -> "Machines":
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()


def join(stack: ExitStack, names: Sequence[str]) -> str:
    """Make network namespaces, and a bridge that joins them.

    Args:
        stack: Removes them when it is closed.
        names: Names of the namespaces.

    Returns:
        This side's address.
    """

    def ip(*arguments):
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    bridge, net = f"gm{os.getpid()}", f"10.231.{os.getpid() % 250}"
    ip("link", "add", bridge, "type", "bridge")
    stack.callback(subprocess.run, ["ip", "link", "delete", bridge], check=False)
    ip("address", "add", f"{net}.1/24", "dev", bridge)
    ip("link", "set", bridge, "up")
    for number, name in enumerate(names):
        ip("netns", "add", name)
        stack.callback(subprocess.run, ["ip", "netns", "delete", name], check=False)
        ip("link", "add", f"{bridge}v{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", f"{bridge}v{number}", "master", bridge, "up")
        ip("-n", name, "address", "add", f"{net}.{number + 2}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")
    return f"{net}.1"


def may_make_namespaces() -> bool:
    """Return whether this user may make network namespaces, and reaches this side from them."""
    name = f"gm{os.getpid()}-may"
    try:
        with ExitStack() as stack, socket.create_server((join(stack, [name]), 0)) as server:
            connect = f"import socket; socket.create_connection({server.getsockname()!r}, 5)"
            inside = ["ip", "netns", "exec", name, sys.executable, "-c", connect]
            subprocess.run(inside, check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def is_running(process: psutil.Process) -> bool:
    """Return whether a process still does something."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE and bool(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def end(process: subprocess.Popen) -> None:
    """Kill a process and all that it has started."""
    if process.poll() is None:
        family = psutil.Process(process.pid).children(recursive=True)
        for each in [process, *family]:
            try:
                each.kill()
            except psutil.NoSuchProcess:
                pass
    process.wait()


STUDY = ("-m", "genmodels", "study", "--jobs", "2")
SCORES = "four.json"
# The runs of ENTRIES with their first seed, and their scores.
FOUR = f"""
from genmodels.pipeline import files, parallel, study
tasks = [(entry, next(iter(study.parts(entry)))) for entry in {ENTRIES}]
parallel.train_all(study.REFERENCES, jobs=2)
done = parallel.run_all(study.score, tasks, jobs=2, run=study.run_of, uses=study.REFERENCES)
files.write_json("{SCORES}", {{entry: scored["scores"] for (entry, _), scored in done}})
"""


def start(root: Path, command: tuple[str, ...], address: str = "") -> subprocess.Popen:
    """Start Python in a copy of the checkout, in the quick mode."""
    environment = {"GENMODELS_SCHEDULER": address, "GENMODELS_BUDGET": "smoke", "PYTHONPATH": str(root / "src")}
    environment["GENMODELS_CACHE"] = str(root / crash_test.CACHE)
    with (root / "log").open("ab") as log:
        options = {"cwd": root, "env": {**os.environ, **environment}, "stdout": log, "stderr": log}
        return subprocess.Popen([sys.executable, *command], **options)


def outcome(root: Path) -> dict:
    """Return {result: checksum or scores} of a copy: weights, histories, and scores without their times."""
    found = {name: of for name, of in crash_test.results(root).items() if "study.json" not in name}
    made = files.read_json(root / "draft" / "study.json", {})
    for split in ("test", "validation"):
        for entry, scores in made.get(split, {}).items():
            found |= {f"{split} {entry} {name}": of["values"] for name, of in scores.items() if name != "seconds"}
    for entry, splits in files.read_json(root / SCORES, {}).items():
        for split, scores in splits.items():
            found |= {f"{split} {entry} {name}": value for name, value in scores.items() if name != "seconds"}
    return found


def undisturbed(folder: Path, command: tuple[str, ...]) -> dict:
    """Return the outcome of a command on the local pool."""
    crash_test.copy_to(folder)
    if start(folder, command).wait():
        raise RuntimeError((folder / "log").read_text(encoding="utf-8")[-2000:])
    return outcome(folder)


def bits(folder: Path) -> dict:
    """Compare four quick runs on two workers in network namespaces with those of the local pool."""
    expected, root = undisturbed(folder / "pool", ("-c", FOUR)), folder / "cluster"
    crash_test.copy_to(root)
    with Machines(folder, str(root / "src"), apart=True) as machines:
        status = start(root, ("-c", FOUR), machines.address).wait()
        trained = {name: len(list((folder / name / "runs").glob("*"))) for name in machines.names}
    different = [name for name, *_ in files.differing(expected, outcome(root))]
    return {"status": status, "compared": len(expected), "different": different, "in the caches": trained}


def disturb(
    folder: Path,
    workers: int = 30,
    children: int = 10,
    schedulers: int = 5,
    clients: int = 5,
    entries: str = "",
    pause: int = 20,
) -> dict:
    """Compare the study of some entries with that of the local pool, after kills at random moments.

    The workers are in network namespaces, where this user may make them.

    Args:
        folder: Folder of copies, caches and logs.
        workers: Number of kills of workers.
        children: Number of kills of a worker's child.
        schedulers: Number of kills of the scheduler.
        clients: Number of kills of the command.
        entries: Entries of the study, with commas between; empty for ENTRIES.
        pause: Longest time between two kills, in seconds.
    """
    command = (*STUDY, *(entries.split(",") if entries else ENTRIES))
    rng, expected, root = random.Random(0), undisturbed(folder / "pool", command), folder / "cluster"
    kills = {"worker": workers, "child": children, "scheduler": schedulers, "client": clients}
    left = [kind for kind, count in kills.items() for _ in range(count)]
    rng.shuffle(left)
    crash_test.copy_to(root)
    with Machines(folder, str(root / "src"), apart=may_make_namespaces()) as machines:
        client = start(root, command, machines.address)
        while left:
            time.sleep(rng.uniform(0, pause))
            if client.poll() is not None:
                if not client.returncode:  # the study is done: begin anew
                    crash_test._begin(root, crash_test.Phase("study", (), ("draft", crash_test.CACHE)))
                client = start(root, command, machines.address)
                continue
            if _kill(machines, client, left[-1], rng):
                left.pop()
        for _ in range(5):  # what kills have interrupted goes on
            if not client.wait():
                break
            client = start(root, command, machines.address)
        time.sleep(5)
        orphans = len(machines.children())
        places = (root, *(folder / name for name in machines.names))
        half = [path.name for place in places for path in place.rglob(".new-*")]
    different = [name for name, *_ in files.differing(expected, outcome(root))]
    return {"kills": kills, "different": different, "orphans": orphans, "half written": half}


def _kill(machines, client, kind, rng):
    """Kill one process of a kind and start it again; return whether there was one."""
    if kind == "client":
        client.kill()
    if kind == "child":
        if not (found := machines.children()):
            return False
        rng.choice(found).kill()
    if kind == "worker":
        place = rng.randrange(len(machines.workers))
        end_alone(machines.workers[place])
        machines.workers[place] = machines.start_worker(machines.names[place])
    if kind == "scheduler":
        machines.scheduler.kill()
        machines.scheduler.wait()
        machines.start_scheduler()
        for place, worker in enumerate(machines.workers):
            try:
                worker.wait(15)  # it ends with its scheduler
            except subprocess.TimeoutExpired:  # unless it had not reached the old one: then it is the new one's
                continue
            machines.workers[place] = machines.start_worker(machines.names[place])
    return True


def end_alone(worker: subprocess.Popen) -> None:
    """Kill a worker and its nanny, and leave the children of its tasks to themselves."""
    family = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
    for each in family:
        if is_running(each) and CHILD not in each.cmdline():
            each.kill()
    worker.wait()


def idle(folder: Path, seconds: float = 60) -> dict:
    """Return the share of a core that a scheduler and two workers take while nothing is to do."""
    with Machines(folder, str(config.checkout() / "src")) as machines:
        time.sleep(10)
        before = {each.pid: sum(each.cpu_times()[:2]) for each in machines.processes()}
        time.sleep(seconds)
        after = {each.pid: sum(each.cpu_times()[:2]) for each in machines.processes()}
    shares = {pid: (after[pid] - before.get(pid, 0)) / seconds for pid in after}
    return {"share of a core": round(sum(shares.values()), 4), "processes": len(shares)}


TRAIN = """
import dataclasses, sys
from genmodels import experiments
from genmodels.pipeline import parallel
run, seeds = experiments.RUNS[sys.argv[1]], int(sys.argv[2])
parallel.train_all([dataclasses.replace(run, name="timed", seed=seed) for seed in range(1, seeds + 1)], jobs=2)
"""


def overhead(folder: Path, run: str = "ae_plain", seeds: int = 8, repetitions: int = 1) -> dict:
    """Time the same runs on two local processes and on two workers, in turn."""
    seconds = {"pool": [], "dask": []}
    source = str(config.checkout() / "src")
    for number in range(repetitions):
        place = folder / str(number)
        place.mkdir()
        with Machines(place, source) as machines:
            for name, address in (("pool", ""), ("dask", machines.address)):
                own = {"GENMODELS_SCHEDULER": address, "GENMODELS_CACHE": str(place / name), "PYTHONPATH": source}
                begun = time.monotonic()
                subprocess.run([sys.executable, "-c", TRAIN, run, str(seeds)], env={**os.environ, **own}, check=True)
                seconds[name].append(round(time.monotonic() - begun, 1))
    medians = {name: statistics.median(of) for name, of in seconds.items()}
    return {**seconds, "ratio": round(medians["dask"] / medians["pool"], 3)}


START = 8.0  # seconds until a child has TensorFlow
LINK = 125e6  # bytes a second at the scheduler
REFERENCES, FOLDER = 9.1e6, 12e6  # bytes to each worker; bytes of a run that come back
LOST = 1 / 50  # share of the workers that die


def simulate(tasks: list[float], workers: int, seed: int = 0) -> float:
    """Return the efficiency of a cluster: seconds of training, divided by workers times the seconds until the end.

    Tasks start in their order. Each takes START more in its child; its folder passes the scheduler's link, one after
    another. A share LOST of the workers dies at a random moment: its task starts anew elsewhere, and it stays away.
    """
    rng = random.Random(seed)
    usual = sum(tasks) / workers
    dying = {worker: rng.uniform(0, usual) for worker in range(workers) if rng.random() < LOST and workers > 1}
    free = [(REFERENCES * (worker + 1) / LINK, worker) for worker in range(workers)]  # each gets the classifiers first
    waiting, again, link, last = list(reversed(tasks)), [], 0.0, 0.0
    while waiting or again:
        now, worker = heapq.heappop(free)
        if again and (again[0][0] <= now or not waiting):
            ready, task = heapq.heappop(again)
            now = max(now, ready)
        else:
            task = waiting.pop()
        done = now + START + task
        if (dies := dying.get(worker, done)) < done and free:
            heapq.heappush(again, (max(now, dies), task))
            continue
        link = max(link, done) + FOLDER / LINK
        last = max(last, link)
        heapq.heappush(free, (done, worker))
    return sum(tasks) / (workers * last)


def table(_: Path) -> dict:
    """Print the efficiency of the study of 60 and of a sweep of 500, by the times of the committed study."""
    made = json.loads((config.checkout() / "data/report/study.json").read_text(encoding="utf-8"))
    measured = {**made["validation"], **made["test"]}
    times = [seconds for scores in measured.values() for seconds in scores["seconds"]["values"] if seconds]
    cases = {"study": sorted(times, reverse=True)[:60], "sweep": measured["vae_kl"]["seconds"]["values"] * 167}
    print(f"{'workers':>8}" + "".join(f"{name:>8}" for name in cases))
    rows = {}
    for workers in (2, 4, 8, 16, 32, 64, 128, 256):
        runs = {name: [simulate(of[:500], workers, seed) for seed in range(15)] for name, of in cases.items()}
        rows[workers] = list(map(statistics.median, runs.values()))
        print(f"{workers:8}" + "".join(f"{share:8.2f}" for share in rows[workers]))
    return {"sweep at 64": round(rows[64][1], 3)}


COMMANDS = {"bits": bits, "disturb": disturb, "idle": idle, "overhead": overhead, "simulate": table}


def main(command: str, *options: str) -> None:
    """Run one of COMMANDS, with options such as seeds=4, and print its result."""
    pairs = [option.split("=") for option in options]
    given = {name: int(value) if value.isdigit() else value for name, value in pairs}
    with tempfile.TemporaryDirectory() as folder:
        print(COMMANDS[command](Path(folder), **given))


if __name__ == "__main__":
    main(*sys.argv[1:])
