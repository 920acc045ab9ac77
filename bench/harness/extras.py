"""extras.py - What is not a job: single paths, the cost of a start, and an idle process."""

import json
import os
import statistics
import subprocess

from runner import Failure, Progress, rotated


def call(command, environment=None):
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    if done.returncode != 0:
        raise Failure(f"{command[0]}: {done.stderr.strip()[-300:]}")
    return done.stdout


def interleaved(what, contenders, rounds, measure):
    """{contender: [measure(contender)]}, side by side as in a contest. One that fails is left out, with a word."""
    results, progress = {c.name: [] for c in contenders}, Progress(what, rounds * len(contenders))
    for round_number in range(rounds):
        for contender in rotated(contenders, round_number):
            progress.step(round_number + 1, rounds, what, contender.name)
            if results[contender.name] is None:
                continue
            try:
                results[contender.name].append(measure(contender))
            except (Failure, subprocess.TimeoutExpired) as e:
                results[contender.name] = None
                progress.say(f"FAILED {what} under {contender.name}: {e}")
    progress.end()
    return {name: runs for name, runs in results.items() if runs}


def paths(binary, contenders, rounds, quick, only):
    """{benchmark: {contender: median ns}} of the Google Benchmark binary: CPU time, or wall time where two threads meet."""
    pattern = "|".join(f"^{glob.replace('*', '.*')}$" for glob in only or [])

    def measure(contender):
        text = call(
            [
                binary,
                "--benchmark_format=json",
                f"--benchmark_min_time={0.01 if quick else 0.05}",
                *([f"--benchmark_filter={pattern}"] if only else []),
            ],
            contender.environment(),
        )
        return {
            b["name"].split("/real_time")[0]: b["real_time" if "threads:" in b["name"] else "cpu_time"]
            for b in json.loads(text)["benchmarks"]
        }

    runs = interleaved("paths", contenders, rounds, measure)
    names = next(iter(runs.values()))[0] if runs else {}
    return {
        name: {contender: statistics.median(run[name] for run in all_runs) for contender, all_runs in runs.items()}
        for name in names
    }


def startup(folder, contenders, runs):
    """{"true": ..., "hello": ...} as startup.c prints it."""
    pairs = [f"{c.name}={c.library or ''}" for c in contenders]
    return {
        name: json.loads(call([folder / "startup", runs, program, *pairs]))
        for name, program in (("true", "/bin/true"), ("hello", folder / "hello"))
    }


def idle(folder, contenders, rounds):
    """{"all": {contender: medians of idle.c}, "most": ...}, in MiB."""
    result = {}
    for mode in ("all", "most"):
        runs = interleaved(
            f"idle, {mode} freed",
            contenders,
            rounds,
            lambda c, mode=mode: json.loads(call([folder / "idle", mode, 5], c.environment())),
        )
        result[mode] = {
            name: {key: statistics.median(run[key] for run in all_runs) / 1024 for key in all_runs[0]}
            for name, all_runs in runs.items()
        }
    return result
