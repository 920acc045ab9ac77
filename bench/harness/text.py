"""text.py - The result as tables for a terminal."""

import sys

import net
import rivals
import stats
from contenders import OURS, REFERENCE


def paint(text, code):
    return f"\033[{code}m{text}\033[0m" if sys.stdout.isatty() else text


def cell(value, width=9):
    """A ratio: bold at or below the best peer, yellow from a tenth above it."""
    text = f"{value:{width}.2f}" if value is not None else " " * (width - 1) + "-"
    return (
        text
        if value is None
        else paint(text, "1;32")
        if value <= 1.005
        else paint(text, "33")
        if value > 1.1
        else text
    )


def table(title, header, rows):
    print(paint(f"\n{title}", "1"))
    print(paint(header, "2"))
    for row in rows:
        print(row)


def metric_table(result, metric):
    summary, names, peers = result["summary"], result["contenders"], result["peers"]
    unit = stats.UNITS[metric]
    compare = OURS in names and REFERENCE in names
    header = f"{'':18}{'best peer':>22} " + "".join(f"{n:>9}" for n in names) + "   spread"
    header += f"  {OURS}/{REFERENCE}" if compare else ""
    rows = []
    for job, row in summary.items():
        best, base = stats.best_peer(row, metric, peers)
        line = f"{job:18}{best:>11}{base:8.2f} {unit:3}"
        line += "".join(cell(stats.ratio(row, n, metric, base) if n in row else None) for n in names)
        line += f"   ±{max(stats.half_width(row[n][metric]) for n in row):4.0%}"
        if compare and OURS in row and REFERENCE in row:
            line += f"  {stats.ratio(row, OURS, metric, row[REFERENCE][metric]['median']):8.2f}"
        rows.append(line)
    for group, means in result["geomeans"].items():
        line = f"{'geomean: ' + group + ' (' + str(means['jobs']) + ')':40} "
        line += "".join(cell(means[metric].get(n, {}).get("best")) for n in names)
        if compare:
            line += f"         {means[metric][OURS]['reference']:8.2f}"
        rows.append(paint(line, "1") if group == "all" else line)
    table(
        f"{stats.METRICS[metric]}, ratio to the best peer (median of {result['rounds']}; lower is better)",
        header,
        rows,
    )


def paths_table(paths, names, peers):
    rows, ratios = [], {n: [] for n in names}
    for path, ns in paths.items():
        best = min((n for n in ns if n in peers), key=ns.get, default=min(ns, key=ns.get))
        for n in ns:
            ratios[n].append(ns[n] / ns[best])
        cells = "".join(cell(ns[n] / ns[best] if n in ns else None) for n in names)
        rows.append(f"{path:30}{best:>10}{ns[best]:12.1f} ns " + cells)
    rows.append(paint(f"{'geomean':56}" + "".join(cell(stats.geomean(ratios[n])) for n in names), "1"))
    table("paths, ratio to the best peer", f"{'':30}{'best peer':>25} " + "".join(f"{n:>9}" for n in names), rows)


def startup_table(startup):
    rows = []
    for name in startup["true"]:
        t, h = startup["true"][name], startup["hello"][name]
        rows.append(
            f"{name:12}{t['median_us']:10.0f} µs{t['min_us']:9.0f} µs{t['peak_kib']:9.0f} KiB{t['faults']:7.0f}"
            f"{h['median_us']:12.0f} µs{h['peak_kib']:9.0f} KiB{h['faults']:7.0f}"
        )
    table(
        "start: true, and hello with two allocations",
        f"{'':12}{'true':>13}{'min':>12}{'peak RSS':>13}{'faults':>7}{'hello':>15}{'peak RSS':>13}{'faults':>7}",
        rows,
    )


def idle_table(idle):
    for mode, by_name in idle.items():
        rows = [
            f"{name:12}" + "".join(f"{r[key]:12.1f}" for key in ("live", "freed", "after_1s", "after_idle", "trimmed"))
            for name, r in by_name.items()
        ]
        what = "everything" if mode == "all" else "nine blocks in ten"
        table(
            f"RSS in MiB of an idle process after two threads freed {what}",
            f"{'':12}{'live':>12}{'freed':>12}{'1 s':>12}{'5 s':>12}{'trimmed':>12}",
            rows,
        )


def rivals_table(title, part):
    names, gos = part["contenders"], part["gos"]
    rows = []
    for key, row in part["rows"].items():
        line = f"{key:26}"
        for name in names:
            s = row["by"].get(name)
            line += f"{s['median']:11.4g}" if s else f"{'-':>11}"
        line += f" {row['unit']:3}"
        gains = [rivals.gain(row, go) for go in gos]
        line += "".join(f"{gain:12.2f}" if gain else f"{'-':>12}" for gain in gains)
        wanted = rivals.wanted(key)
        line += f"{wanted:8g}" if wanted else " " * 8
        line += f"   ±{max(stats.half_width(s) for s in row['by'].values()):4.0%}"
        if "bytes" in row and "tri" in row["by"]:
            line += f"{row['bytes'] / max(row['by']['tri']['median'], 1e-9):9.2f} GB/s{row.get('tables_ms', 0):9.2f} ms"
        short = wanted and gains and gains[-1] and gains[-1] < wanted
        rows.append(paint(line, "33") if short else line)
    header = f"{'':26}" + "".join(f"{n:>11}" for n in names) + " " * 4
    header += "".join(f"{go + '/tri':>12}" for go in gos) + f"{'wanted':>8}   spread"
    words = f"; {gos[-1]}/tri: how many times as fast, and what is wanted" if gos else ""
    table(f"{title}: medians, lower is better{words}", header, rows)


def net_ratio(part, key, name, metric):
    """Ours to another server's, its spread, and what is wanted of it; yellow if that is missed."""
    ratio = part["rows"][key]["ours"][name][metric]
    sign, bound = net.wanted(part, key, name, metric) or ("", None)
    cell = f"{ratio['median']:9.3f} ±{stats.half_width(ratio):4.0%} {f'{sign}{bound:g}' if sign else '':6}"
    return paint(cell, "33") if sign and net.misses(ratio["median"], sign, bound) else cell


def net_table(part):
    rows = []
    for key, row in part["rows"].items():
        for at, name in enumerate(n for n in part["contenders"] if n in row["by"]):
            s = row["by"][name]
            line = f"{key if at == 0 else '':14}{name:10}{s['per_second']['median']:9.0f}"
            line += f" ±{stats.half_width(s['per_second']):4.0%}"
            line += f"{s['cpu_us']['median']:8.2f}{s['p50_us']['median']:8.0f}{s['p99_us']['median']:8.0f}"
            if name in row["ours"]:
                line += "".join(net_ratio(part, key, name, metric) for metric in ("per_second", "cpu_us", "p99_us"))
            rows.append(line.rstrip())
    header = f"{'':24}{'per s':>9}{'':6}{'CPU':>8}{'p50':>8}{'p99':>8}"
    header += "".join(f"{word:>9}{'':6} {'wanted':6}" for word in ("per s", "CPU", "p99"))
    words = "PROTOCOL-CONNECTIONS@PROCESSORS: requests per second, CPU and latency of one in µs; then ours to each server's"
    table(f"network, {words}", header, rows)


def show(result):
    if result["summary"]:
        for metric in stats.METRICS:
            metric_table(result, metric)
    if result.get("paths"):
        paths_table(result["paths"], result["contenders"], result["peers"])
    if result.get("startup"):
        startup_table(result["startup"])
    if result.get("idle"):
        idle_table(result["idle"])
    for title in ("sched", "containers", "gc"):
        if result.get(title):
            rivals_table(title, result[title])
    if result.get("net"):
        net_table(result["net"])
    for line in result["skipped"]:
        print(paint(f"left out: {line}", "33"))
    for line in result["failures"]:
        print(paint(f"FAILED {line}", "1;31"))
