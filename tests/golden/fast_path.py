#!/usr/bin/python3
"""fast_path.py - Counts the instructions of a malloc and its free, and holds them against a golden file.

  fast_path.py --lib build/release/libtri.so --fp build/release/tests/golden/fp [--update]

An instruction count is exact where a time is not: callgrind gives the same number on every machine, so one instruction more
on the fast path is seen at once. Fails when a count of ours rises by more than 1 % above fast_path.json, or lies more
than 10 % above that of the best other allocator in the same run. The loop around the calls is counted apart and taken
off before the comparison, else it would hide a part of a difference.

--update writes what was counted to fast_path.json; say in the commit why it changed.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys

GOLDEN = pathlib.Path(__file__).with_name("fast_path.json")
PEERS = {
    "glibc": None,
    "jemalloc": "libjemalloc.so.2",
    "mimalloc": "libmimalloc.so.2",
    "tcmalloc": "libtcmalloc_minimal.so.4",
}
CASES = [(order, size) for order in ("lifo", "batch") for size in (16, 64, 1024)]
LOOPS = {"lifo": "null", "batch": "nulls"}
NULL_PAIR = 3  # instructions of null_malloc (mov, ret) and null_free (ret); the calls belong to the loop
FEW, MANY = 10000, 40000
RISE, BEHIND = 1.01, 1.10


def count(fp, library, order, size, pairs):
    """Instructions of one run of fp. The variable reaches fp alone: valgrind itself runs on its own allocator."""
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    if library:
        environment["LD_PRELOAD"] = library
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(fp), order, str(size), str(pairs)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    collected = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    if done.returncode != 0 or not collected:
        sys.exit(f"fast_path: {order} {size} does not run under {library or 'glibc'}:\n{done.stderr[-2000:]}")
    return int(collected[1])


def per_pair(fp, library, order, size):
    return (count(fp, library, order, size, MANY) - count(fp, library, order, size, FEW)) / (MANY - FEW)


def find(soname):
    listing = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    found = re.search(rf"^\s*{re.escape(soname)} .*=> (\S+)$", listing, re.MULTILINE)
    if not found:
        sys.exit(f"fast_path: {soname} is not installed (scripts/deps bench)")
    return found[1]


def measure(fp, contenders):
    """{contender: {case: instructions per pair without the loop}}, and {order: instructions of the loop}."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        loops = {order: pool.submit(per_pair, fp, None, null, 16) for order, null in LOOPS.items()}
        pairs = {
            (name, case): pool.submit(per_pair, fp, library, *case)
            for name, library in contenders.items()
            for case in CASES
        }
        loops = {order: future.result() - NULL_PAIR for order, future in loops.items()}
        counts = {name: {} for name in contenders}
        for (name, (order, size)), future in pairs.items():
            counts[name][f"{order} {size}"] = round(future.result() - loops[order], 2)
    return counts, loops


def judge(counts, golden):
    """What is wrong, as sentences."""
    wrong = []
    for case, ours in counts["tri"].items():
        peer = min((n for n in counts if n in PEERS), key=lambda n: counts[n][case])
        if ours > BEHIND * counts[peer][case]:
            wrong.append(f"{case}: {ours} instructions, {peer} needs {counts[peer][case]}")
        if case not in golden:
            wrong.append(f"{case}: no golden count; run with --update")
        elif ours > RISE * golden[case]:
            wrong.append(f"{case}: {ours} instructions, the golden file says {golden[case]}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description="Counts the instructions of malloc and free.")
    parser.add_argument("--lib", type=pathlib.Path, help="libtri.so; without it, the others alone are counted")
    parser.add_argument("--fp", type=pathlib.Path, required=True, help="the program built from fp.c")
    parser.add_argument("--update", action="store_true", help="write the golden file")
    args = parser.parse_args()

    contenders = {name: soname and find(soname) for name, soname in PEERS.items()}
    if args.lib:
        contenders["tri"] = str(args.lib.resolve(strict=True))
    counts, loops = measure(args.fp.resolve(strict=True), contenders)

    print("Instructions per malloc and free, without the loop around them:")
    print(f"{'':12}" + "".join(f"{name:>10}" for name in contenders))
    for case in counts["glibc"]:
        print(f"{case:12}" + "".join(f"{counts[name][case]:10.1f}" for name in contenders))
    print("The loop: " + ", ".join(f"{order} {n:.1f}" for order, n in loops.items()))
    if not args.lib:
        return 0
    if args.update:
        GOLDEN.write_text(json.dumps(counts["tri"], indent=2) + "\n")
        print(f"wrote {GOLDEN.name}")
    wrong = judge(counts, json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {})
    for sentence in wrong:
        print(f"FAILED {sentence}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
