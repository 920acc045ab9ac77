#!/usr/bin/python3
"""bench.py - The same programs under each allocator, side by side.

OVERVIEW. A job (job.py) is one command: a workload of bench/workloads or a real program (bench/programs). A contender
(contenders.py) is a library to preload. The runner (runner.py) runs every job under every contender once per round, so that
whatever slows the machine down for a while slows all of them, and takes wall time, CPU time, peak RSS and page faults
from the kernel. stats.py makes medians, ratios and means of it, text.py tables, page.py a page to look at. extras.py holds
what is not a job: single paths, the cost of a start, an idle process. rivals.py compares programs that were written once
for each runtime: the scheduler's workloads, slices and maps. net.py compares servers.

A ratio is always a contender's median over that of the best *peer* in the same job, so "1.00" is another winner in
each row, and a mean near 1 means: as good as whichever peer is best at each thing.
"""

import argparse
import fnmatch
import json
import os
import platform
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent / "programs"))

import contenders as allocators  # noqa: E402
import extras  # noqa: E402
import net  # noqa: E402
import page  # noqa: E402
import programs  # noqa: E402
import rivals  # noqa: E402
import runner  # noqa: E402
import stats  # noqa: E402
import text  # noqa: E402
import workloads  # noqa: E402


def numbers(text):
    return [int(n) for n in text.split(",")]


def parse():
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Runs programs under several allocators and compares them."
    )
    parser.add_argument("--rounds", type=int, help="runs of each job under each allocator (default 5)")
    parser.add_argument(
        "--only", metavar="GLOB", action="append", help="jobs (or paths) to run, such as 'larson*'; may be repeated"
    )
    parser.add_argument(
        "--allocators",
        metavar="LIST",
        help="names from glibc,jemalloc,mimalloc,tcmalloc,tri,tri-leaks,tri-safe, or NAME=LIBRARY",
    )
    parser.add_argument("--lib", metavar="PATH", help="the library called tri (default: that of build/release)")
    parser.add_argument(
        "--add", metavar="NAME=PATH", action="append", default=[], help="one more contender; may be repeated"
    )
    parser.add_argument("--scale", type=float, help="amount of work, 1 is a second or two per job")
    parser.add_argument("--quick", action="store_true", help="one round at scale 0.1: does all of it run?")
    parser.add_argument("--paths", action="store_true", help="single paths of malloc and free instead of programs")
    parser.add_argument("--startup", action="store_true", help="what a preload costs a program that does nothing")
    parser.add_argument("--idle", action="store_true", help="memory of a process that has freed it and does nothing")
    parser.add_argument("--sched", action="store_true", help="the scheduler beside Go, Boost.Fiber and threads")
    parser.add_argument("--containers", action="store_true", help="slices and maps beside Go's and those of C++")
    parser.add_argument("--gc", action="store_true", help="marking of live graphs beside libgc and Go")
    parser.add_argument(
        "--net", action="store_true", help="servers beside raw loops of epoll and io_uring, libuv and Go"
    )
    parser.add_argument(
        "--procs", type=numbers, default=[1, 2], help="processors for --sched, --net and --gc (default: 1,2)"
    )
    parser.add_argument(
        "--mib", metavar="LIST", type=numbers, default=[256], help="sizes of --gc's graphs (default: 256; 1024, 4096)"
    )
    parser.add_argument(
        "--connections", metavar="LIST", type=numbers, default=[64, 1000], help="of --net's client (default: 64,1000)"
    )
    parser.add_argument(
        "--offline", action="store_true", help="do not fetch a newer Go than the system's to compare with as well"
    )
    parser.add_argument("--all", action="store_true", help="all of these, and the jobs")
    parser.add_argument("--list", action="store_true", help="names of the jobs")
    parser.add_argument(
        "--out", metavar="FOLDER", type=Path, default=ROOT / "build/bench", help="default: build/bench"
    )
    parser.add_argument(
        "--build",
        metavar="FOLDER",
        type=Path,
        default=ROOT / "build/release/bench",
        help="where the programs were built (default: build/release/bench)",
    )
    args = parser.parse_args()
    args.rounds = args.rounds or (1 if args.quick else 5)
    args.scale = args.scale or (0.1 if args.quick else 1.0)
    args.lib = args.lib or str(ROOT / "build/release/libtri.so")
    args.extra = args.paths or args.startup or args.idle or args.sched or args.net or args.containers or args.gc
    return args


def machine():
    models = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    return f"{model}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}"


def choose_jobs(args, skipped):
    everything = workloads.jobs(args.build / "workloads", args.scale) + programs.jobs(args.out / "inputs", args.scale)
    chosen = [job for job in everything if not args.only or any(fnmatch.fnmatch(job.name, glob) for glob in args.only)]
    for job in [job for job in chosen if job.missing()]:
        skipped.append(f"{job.name}: {job.missing()} is not there")
        chosen.remove(job)
    return chosen


def main():
    args = parse()
    args.out.mkdir(parents=True, exist_ok=True)
    names = args.allocators.split(",") if args.allocators else None
    contenders, skipped = allocators.choose(names, args.lib)
    more, missing = allocators.choose(args.add, args.lib) if args.add else ([], [])
    contenders, skipped = contenders + more, skipped + missing
    if not contenders:
        sys.exit("bench: no contender: " + "; ".join(skipped))
    jobs = choose_jobs(args, skipped) if args.all or args.list or not args.extra else []
    if args.list:
        print("\n".join(f"{job.name:20} {job.group}" for job in jobs))
        return 0

    samples, failures = runner.contest(runner.Runner(args.build / "tools/measure"), jobs, contenders, args.rounds)
    summary = {job: row for job, row in stats.summarize(samples).items() if row}
    peers = [c.name for c in contenders if c.is_peer]
    groups = {job.name: job.group for job in jobs}
    result = {
        "machine": machine(),
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "rounds": args.rounds,
        "scale": args.scale,
        "contenders": [c.name for c in contenders],
        "peers": peers,
        "groups": groups,
        "summary": summary,
        "samples": samples,
        "geomeans": stats.geomeans(summary, groups, peers, allocators.REFERENCE),
        "skipped": skipped,
        "failures": failures,
    }
    if args.paths or args.all:
        result["paths"] = extras.paths(args.build / "bench_paths", contenders, args.rounds, args.quick, args.only)
    if args.startup or args.all:
        result["startup"] = extras.startup(args.build / "tools", contenders, 20 if args.quick else 500)
    if args.idle or args.all:
        result["idle"] = extras.idle(args.build / "tools", contenders, 1 if args.quick else min(3, args.rounds))

    if args.sched or args.all:
        result["sched"] = rivals.sched(args.build / "sched", args.rounds, args.scale, args.only, args.procs, failures)
    if args.net or args.all:
        result["net"] = net.contest(
            args.build / "net", args.rounds, args.scale, args.only, args.procs, args.connections, skipped, failures
        )
    if args.gc or args.all:
        mib = [64] if args.quick else args.mib
        result["gc"] = rivals.gc(args.build / "gc", args.rounds, mib, args.only, args.procs, failures)
    if args.containers or args.all:
        result["containers"] = rivals.containers(
            args.build / "containers", args.rounds, args.quick, args.only, failures
        )

    text.show(result)
    (args.out / "result.json").write_text(json.dumps(result, indent=1))
    (args.out / "index.html").write_text(page.render(result))
    print(f"\n{args.out / 'index.html'}\n{args.out / 'result.json'}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
