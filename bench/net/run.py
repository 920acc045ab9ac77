#!/usr/bin/python3
"""Echo and HTTP servers side by side: tri, a raw epoll loop, Go.

Each server is started, loaded by `load` for some seconds, and stopped; rounds go through all of them in turn, each time from
another one on, so that what the machine does meanwhile meets all alike. Prints medians, and ratios to the epoll loop and to Go.

Usage: run.py BUILD_DIR [--rounds 5] [--seconds 2] [--processors 1 2] [--connections 64 1000] [--protocols echo http]
BUILD_DIR holds load, server_tri, server_epoll and, if there is a Go compiler, server_go.
"""
import argparse
import json
import os
import statistics
import subprocess

SERVERS = ("tri", "epoll", "go")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(folder, server, protocol, connections, processors, seconds):
    with subprocess.Popen(
        [f"{folder}/server_{server}", protocol, str(processors)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            port = process.stdout.readline().strip()
            before = cpu_seconds(process.pid)
            done = subprocess.run(
                [f"{folder}/load", port, protocol, str(connections), str(seconds)],
                capture_output=True, text=True, check=True, timeout=seconds + 60,
            )
            result = json.loads(done.stdout)
            # The load's first tenth is in the CPU time, so it must be in the count as well.
            result["cpu_s_per_million"] = (cpu_seconds(process.pid) - before) / (result["per_second"] * seconds) * 1e6
            return result
        finally:
            process.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--processors", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--connections", type=int, nargs="+", default=[64, 1000])
    parser.add_argument("--protocols", nargs="+", default=["echo", "http"])
    options = parser.parse_args()
    servers = [s for s in SERVERS if os.path.exists(f"{options.folder}/server_{s}")]
    print(f"{'':24}{'server':8}{'requests/s':>12}{'p50 us':>9}{'p99 us':>9}{'CPU s/M':>9}{'/epoll':>8}{'/go':>8}")
    for protocol in options.protocols:
        for connections in options.connections:
            for processors in options.processors:
                runs = {s: [] for s in servers}
                for number in range(options.rounds):
                    at = number % len(servers)
                    for s in servers[at:] + servers[:at]:
                        runs[s].append(
                            measure(options.folder, s, protocol, connections, processors, options.seconds))
                name = f"{protocol} {connections} conns {processors} P"
                medians = {s: {k: statistics.median(r[k] for r in runs[s]) for k in runs[s][0]} for s in servers}
                for s in servers:
                    m = medians[s]
                    # Ratios of one round each: what slowed the machine in a round slowed all in it.
                    ratio = {
                        other: statistics.median(a["per_second"] / b["per_second"] for a, b in zip(runs[s], runs[other]))
                        for other in servers
                    }
                    print(f"{name:24}{s:8}{m['per_second']:12.0f}{m['p50_us']:9.0f}{m['p99_us']:9.0f}"
                          f"{m['cpu_s_per_million']:9.2f}{ratio.get('epoll', 0):8.3f}{ratio.get('go', 0):8.3f}", flush=True)


main()
