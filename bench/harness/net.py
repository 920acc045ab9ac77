"""net.py - Servers side by side: ours, raw loops on epoll and io_uring, libuv, and each Go. They echo, or answer HTTP.

A server is started, loaded by bench/net/load for some seconds, and stopped; each round does everything once, so that what slows
the machine down for a while slows all of them. Ratios are made within a round, for the same reason, and the table shows
the median of these. The client runs on the same machine, and takes its share of the processors: the rates are lower than
what a server alone reaches, and on few cores the server's CPU time of a request says more than they do.

WANTED holds what was promised, against the epoll loop and against the newest Go that ran.
"""

import fnmatch
import json
import resource
import subprocess

import rivals
import stats
from runner import Failure, Progress, rotated

SERVERS = ["tri", "epoll", "uring", "uv"]  # and the Gos
OURS = "tri"
PROTOCOLS = ["echo", "http"]
METRICS = ["per_second", "p50_us", "p99_us", "cpu_us"]
SECONDS = 2  # at scale 1
SKIPPED = 77  # the exit status of a server that this kernel does not let work

# (metric, against whom) -> (the sign, the bound of ours to theirs on one processor, on more)
WANTED = {
    ("per_second", "epoll"): ("≥", 0.97, None),
    ("per_second", "go"): ("≥", 1.1, 1.25),
    ("cpu_us", "go"): ("≤", 1, 1),
    ("p99_us", "go"): ("≤", 1, 1),
}


class Skipped(Exception):
    """A server that cannot work here, and says so."""


def wanted(part, key, name, metric):
    """(sign, bound) of what was promised against a server in a row, or None."""
    who = "go" if part["gos"] and name == part["gos"][-1] else name
    sign, one, more = WANTED.get((metric, who), ("", None, None))
    bound = one if key.endswith("@1") else more
    return (sign, bound) if bound is not None else None


def misses(ratio, sign, bound):
    return ratio < bound if sign == "≥" else ratio > bound


def measure(folder, name, protocol, connections, procs, seconds):
    """One run: {metric: value}."""
    command = [str(folder / f"server_{name}"), protocol, str(procs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            port = server.stdout.readline().strip()
            if not port:
                status, words = server.wait(10), server.stderr.read().strip()[-300:]
                raise Skipped(words) if status == SKIPPED else Failure(f"does not start: status {status}. {words}")
            lines = rivals.lines_of(
                [folder / "load", port, protocol, connections, seconds, server.pid], seconds + rivals.TIMEOUT_S
            )
            return json.loads(lines[0])
        finally:
            server.kill()


def contest(folder, rounds, scale, only, processors, connections, skipped, failures):
    """{"contenders", "gos", "rows": {PROTOCOL-CONNECTIONS@PROCS: {"by": {server: {metric: spread}}, "ours": the same of ratios}}}"""
    gos = rivals.gos(folder, "server_")
    names = [name for name in [*SERVERS, *gos] if (folder / f"server_{name}").exists()]
    skipped += [f"{name}: bench/net/server_{name} was not built" for name in SERVERS if name not in names]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # for the servers; the client does so itself
    cases = [
        (f"{protocol}-{n}@{procs}", protocol, n, procs)
        for protocol in PROTOCOLS
        for n in connections
        for procs in processors
        if not only or any(fnmatch.fnmatch(f"{protocol}-{n}", glob) for glob in only)
    ]
    runs, lost = {}, set()
    progress = Progress("net", rounds * len(cases) * len(names))
    for round_number in range(rounds):
        for key, protocol, n, procs in cases:
            for name in rotated(names, round_number):
                progress.step(round_number + 1, rounds, key, name)
                if name in lost or (key, name) in lost:
                    continue
                try:
                    found = measure(folder, name, protocol, n, procs, SECONDS * scale)
                except Skipped as e:
                    lost.add(name)
                    skipped.append(f"{name}: {e}")
                    continue
                except (Failure, ValueError) as e:
                    lost.add((key, name))
                    failures.append(f"{key} with {name}: {e}")
                    progress.say(f"FAILED {failures[-1]}")
                    continue
                runs.setdefault(key, {}).setdefault(name, {})[round_number] = found
    progress.end()
    rows = {key: {"by": spreads(by), "ours": ratios(by)} for key, by in runs.items()}
    ran = {name for row in rows.values() for name in row["by"]}
    return {"contenders": [n for n in names if n in ran], "gos": [n for n in gos if n in ran], "rows": rows}


def spreads(by):
    return {name: {m: stats.spread([run[m] for run in runs.values()]) for m in METRICS} for name, runs in by.items()}


def ratios(by):
    """{server: {metric: spread of ours to its, round by round}}"""
    result, ours = {}, by.get(OURS, {})
    for name, runs in by.items():
        both = [(ours[r], runs[r]) for r in runs if r in ours]
        if name != OURS and both:
            result[name] = {m: stats.spread([a[m] / max(b[m], 1e-9) for a, b in both]) for m in METRICS}
    return result
