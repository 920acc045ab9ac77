"""rivals.py - The same workloads written for several runtimes, side by side: the scheduler's, and those of slices and maps.

A contender here is a program, not a library to preload. bench/sched/NAME takes a workload and --procs and prints lines
{"workload", "procs", "value", "unit"}; all values are costs. Each measurement is a process of its own, contenders take
turns, and a round does everything once, so that what slows the machine down for a while slows all of them.

Every Go that was built takes part, named after its version. The ratio is its median over ours: how many times as fast we are.
WANTED holds what was promised; it is held against the newest of them.
"""

import fnmatch
import json
import subprocess

import stats
from runner import Failure, Progress, rotated

TIMEOUT_S = 60

# workload -> (times as fast as Go on one processor, on two)
WANTED = {
    "switch": (10, 1.5),
    "spawn": (4, 1.5),
    "ping": (4, 1.5),
    "ping-buffered": (2, 1.5),
    "ping-pairs": (4, 1.5),
    "pc": (3, 1.5),
    "pc-buffered": (2, 1.5),
    "ring": (2, 1.5),
    "skynet": (2, 1.5),
    "fork-join": (1.5, 1.5),
    "mutex": (1, 1),
    "select4": (3, 1.5),
    "select4-buffered": (3, 1.5),
    "ticker-p99": (2, 2),
    "blocking": (2, 1),
    "timer-bytes": (1, 1),
    "timer-cpu": (1, 1),
    "sleeper-cpu": (1, 1),
}


class Rival:
    def __init__(self, name, program):
        self.name, self.program = name, program


def gos(folder, stem=""):
    """The names of the Gos whose programs are there, the newest last: go-1.19, ... (see bench_go in CMakeLists.txt)."""
    found = [path.name.removeprefix(stem) for path in folder.glob(f"{stem}go-*")]
    return sorted(found, key=lambda name: [int(n) for n in name.removeprefix("go-").split(".")])


def lines_of(command, timeout):
    try:
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, check=False, timeout=timeout
        )
    except subprocess.TimeoutExpired as e:
        raise Failure(f"not done after {timeout} s") from e
    if done.returncode != 0:
        raise Failure(f"exit status {done.returncode}. {done.stderr.strip()[-300:]}")
    return done.stdout.splitlines()


def summarized(samples, contenders, folder):
    """{"contenders", "gos": the newest last, "rows": {row: {"unit", "by": {contender: spread}}}}"""
    rows = {
        key: {"unit": unit, "by": {name: stats.spread(values) for name, values in by.items()}}
        for key, (unit, by) in samples.items()
    }
    return {"contenders": contenders, "gos": gos(folder), "rows": rows}


def wanted(key):
    """What was promised for a row, or None. Rows of the scheduler are called WORKLOAD@PROCS."""
    workload, _, procs = key.partition("@")
    pair = WANTED.get(workload)
    return pair[0 if procs == "1" else 1] if pair and procs in ("1", "2") else None


def gain(row, go):
    """The median of a Go over ours."""
    if "tri" not in row["by"] or go not in row["by"]:
        return None
    return row["by"][go]["median"] / max(row["by"]["tri"]["median"], 1e-9)


def sched(folder, rounds, scale, only, processors, failures):
    names = ["tri", *gos(folder), "boost", "threads"]
    contenders = [Rival(name, folder / name) for name in names if (folder / name).exists()]
    offers = {c.name: lines_of([c.program, "list"], 10) for c in contenders}
    # Ours knows most workloads; Go's order where ours is not built.
    names = list(dict.fromkeys(name for offer in offers.values() for name in offer))
    names = [n for n in names if not only or any(fnmatch.fnmatch(n, glob) for glob in only)]
    samples, lost = {}, set()
    progress = Progress(
        "sched", rounds * sum(n in offers[c.name] for n in names for c in contenders) * len(processors)
    )
    for round_number in range(rounds):
        for name in names:
            for procs in processors:
                for contender in rotated(contenders, round_number):
                    if name not in offers[contender.name]:
                        continue
                    progress.step(round_number + 1, rounds, f"{name} on {procs}", contender.name)
                    if (contender.name, name, procs) in lost:
                        continue
                    try:
                        command = [contender.program, name, "--procs", procs, "--scale", scale]
                        found = [json.loads(line) for line in lines_of(command, TIMEOUT_S)]
                    except (Failure, ValueError) as e:
                        lost.add((contender.name, name, procs))
                        failures.append(f"{name} on {procs} with {contender.name}: {e}")
                        progress.say(f"FAILED {failures[-1]}")
                        continue
                    for line in found:
                        _, by = samples.setdefault(f"{line['workload']}@{procs}", (line["unit"], {}))
                        by.setdefault(contender.name, []).append(line["value"])
    progress.end()
    return summarized(samples, [c.name for c in contenders], folder)


def containers(folder, rounds, quick, only, failures):
    programs = [Rival("tri and std", folder / "containers")]
    programs = [p for p in programs if p.program.exists()] + [Rival(name, folder / name) for name in gos(folder)]
    pattern = "|".join(f"_{glob.replace('*', '.*')}" for glob in only or [])
    seconds = 0.01 if quick else 0.1
    samples, progress = {}, Progress("containers", rounds * len(programs))
    for round_number in range(rounds):
        for program in rotated(programs, round_number):
            progress.step(round_number + 1, rounds, "containers", program.name)
            is_go = program.name.startswith("go-")
            if is_go:
                options = [f"-min-time={seconds}", *([f"-filter={pattern}"] if pattern else [])]
            else:
                options = [f"--benchmark_min_time={seconds}", "--benchmark_format=json"]
                options += [f"--benchmark_filter={pattern}"] if pattern else []
            try:
                found = json.loads("\n".join(lines_of([program.program, *options], 600)))["benchmarks"] or []
            except (Failure, ValueError) as e:
                failures.append(f"containers of {program.name}: {e}")
                continue
            for line in found:
                contender, _, workload = line["name"].partition("_")
                by = samples.setdefault(workload, ("ns", {}))[1]
                by.setdefault(program.name if is_go else contender, []).append(line["cpu_time"])
    progress.end()
    return summarized(samples, ["tri", "std", *gos(folder)], folder)
