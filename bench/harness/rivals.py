"""rivals.py - The same workloads written for several runtimes, side by side: the scheduler's, those of slices and maps, and live
graphs for collectors.

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
GC_TIMEOUT_S = 600  # 4 GiB in random order

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
    # Against libgc.
    "random-1024": (4, 6),
    "sequential-1024": (4, 6),
}

# Of bench/gc: name of the graph -> the letter that its programs know.
# As deep as everybody's binary trees are that are to take some seconds.
TREES_DEPTH = 20
GRAPHS = {"random": "r", "sequential": "s", "list": "l", "poor": "p", "free": "a"}


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


def contest(title, contenders, rounds, cases, command, failures, timeout=TIMEOUT_S):
    """({key: (unit, {contender: values})}, {key: {what else a line has: values}}). Cases are (name, procs, who takes part)."""
    samples, extra, lost = {}, {}, set()
    progress = Progress(title, rounds * sum(len(who) for _, _, who in cases))
    for round_number in range(rounds):
        for name, procs, who in cases:
            for contender in rotated(contenders, round_number):
                if contender.name not in who:
                    continue
                progress.step(round_number + 1, rounds, f"{name} on {procs}", contender.name)
                if (contender.name, name, procs) in lost:
                    continue
                try:
                    found = [json.loads(line) for line in lines_of(command(contender, name, procs), timeout)]
                except (Failure, ValueError) as e:
                    lost.add((contender.name, name, procs))
                    failures.append(f"{name} on {procs} with {contender.name}: {e}")
                    progress.say(f"FAILED {failures[-1]}")
                    continue
                for line in found:
                    key = f"{line['workload']}@{procs}"
                    _, by = samples.setdefault(key, (line["unit"], {}))
                    by.setdefault(contender.name, []).append(line["value"])
                    for more in line.keys() - {"workload", "procs", "value", "unit"}:
                        extra.setdefault(key, {}).setdefault(more, []).append(line[more])
    progress.end()
    return samples, extra


def sched(folder, rounds, scale, only, processors, failures):
    names = ["tri", *gos(folder), "boost", "threads"]
    contenders = [Rival(name, folder / name) for name in names if (folder / name).exists()]
    offers = {c.name: lines_of([c.program, "list"], 10) for c in contenders}
    # Ours knows most workloads; Go's order where ours is not built.
    names = list(dict.fromkeys(name for offer in offers.values() for name in offer))
    names = [n for n in names if not only or any(fnmatch.fnmatch(n, glob) for glob in only)]
    cases = [(n, procs, {c for c in offers if n in offers[c]}) for n in names for procs in processors]

    def command(contender, name, procs):
        return [contender.program, name, "--procs", procs, "--scale", scale]

    samples, _ = contest("sched", contenders, rounds, cases, command, failures)
    return summarized(samples, [c.name for c in contenders], folder)


def gc(folder, rounds, mib, only, processors, failures):
    """Besides: "read", a plain read of the same memory, and in a row "bytes" of an object and "tables_ms", of the stop, of ours."""
    names = ["tri", "libgc", *gos(folder)]
    contenders = [Rival(name, folder / name) for name in names if (folder / name).exists()]
    cases = []
    for graph in [f"{graph}-{n}" for n in mib for graph in GRAPHS]:
        if only and not any(fnmatch.fnmatch(graph, glob) for glob in only):
            continue
        # Go knows which words are pointers.
        who = {c.name for c in contenders if not (graph.startswith("poor") and c.name.startswith("go-"))}
        cases += [(graph, procs, who) for procs in processors]
    trees = f"trees-{TREES_DEPTH}"
    if not only or any(fnmatch.fnmatch(trees, glob) for glob in only):
        who = {c.name for c in contenders if (folder.parent / "trees" / c.name).exists()}
        cases += [(trees, procs, who) for procs in processors]

    def command(contender, name, procs):
        graph, _, size = name.partition("-")
        if graph == "trees":
            return [folder.parent / "trees" / contender.name, size, procs]
        return [contender.program, GRAPHS[graph], size, procs, 1]

    samples, extra = contest("gc", contenders, rounds, cases, command, failures, GC_TIMEOUT_S)
    for key, more in extra.items():
        if "read" in more:
            samples[key][1]["read"] = more["read"]
    part = summarized(samples, [c.name for c in contenders] + ["read"], folder)
    part["gos"].append("libgc")  # held against what was promised
    for key, row in part["rows"].items():
        row |= {name: stats.spread(extra[key][name])["median"] for name in ("bytes", "tables_ms") if name in extra[key]}
    return part


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
