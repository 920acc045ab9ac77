"""page.py - The result as one page that needs nothing but itself."""

import re
import string
from pathlib import Path

import stats
import svg
from contenders import OURS, REFERENCE
from svg import esc

# Colours that stay apart for most kinds of colour blindness (after Okabe and Ito), for light and dark.
COLOURS = {
    "glibc": ("#8a8f98", "#9aa1ad"),
    "jemalloc": ("#d55e00", "#f0883e"),
    "mimalloc": ("#0072b2", "#58a6ff"),
    "tcmalloc": ("#009e73", "#3fb68b"),
    "epoll": ("#8a8f98", "#9aa1ad"),
    "uring": ("#0072b2", "#58a6ff"),
    "uv": ("#009e73", "#3fb68b"),
    "boost": ("#8d6e00", "#e3b341"),
    "threads": ("#5e4fa2", "#b197fc"),
    "std": ("#7f3b08", "#d2a679"),
    OURS: ("#b5179e", "#ff6fd8"),
}
NEWEST_GO = ("#0097a7", "#4dd0e1")
SPARE = [
    ("#5f7f00", "#b5d433"),
    ("#8d6e00", "#e3b341"),
    ("#5e4fa2", "#b197fc"),
    ("#7f3b08", "#d2a679"),
    ("#2a7f8e", "#56d4dd"),
]

PAGE = string.Template(Path(__file__).with_name("page.html").read_text())


def colours(names, newest_go):
    spare = iter(SPARE * len(names))
    known = {**COLOURS, newest_go: NEWEST_GO}
    return {name: known.get(name) or next(spare) for name in names}


def selector(name):
    """A name as the part of a CSS selector."""
    return name.replace(".", "\\.")


def section(title, words, *cards):
    inner = "".join(cards)
    return f"<h2>{esc(title)}</h2><p>{esc(words)}</p>{inner}"


def card(content, title=""):
    return f'<div class="card">{f"<h3>{esc(title)}</h3>" if title else ""}{content}</div>'


def two(*cards):
    return f'<div class="two">{"".join(cards)}</div>'


def overview(result):
    means = result["geomeans"].get("all")
    if not means:
        return ""
    points = {n: (means["wall_s"][n]["best"], means["peak_mib"][n]["best"]) for n in means["wall_s"]}
    rows = []
    for group, by_metric in result["geomeans"].items():
        for metric, label in (("wall_s", "time"), ("cpu_s", "CPU time"), ("peak_mib", "peak RSS")):
            row = {}
            for name, mean in by_metric[metric].items():
                row[name] = (mean["best"],) * 3 + (f"{name}: {label}, {group}: {mean['best']:.3f}×",)
            rows.append((label, f"{group} ({by_metric['jobs']})", row))
    words = (
        f"Geometric means, over {means['jobs']} jobs, of the ratio to the best peer of each. Lower left is better; "
        "1× would be as good, in each job, as whichever peer is best at it."
    )
    plane = card(svg.plane(points, OURS, "time", "peak RSS"), "All jobs: time and memory")
    return section("Summary", words, two(plane, card(svg.dots(rows, OURS, width=520), "Groups of jobs")))


def jobs(result, metric, title, words):
    rows = []
    unit = stats.UNITS[metric]
    for job, row in result["summary"].items():
        base = max(stats.best_peer(row, metric, result["peers"])[1], 1e-9)
        marks = {}
        for name, by_metric in row.items():
            s = by_metric[metric]
            tip = f"{name}: {s['median']:.3f} {unit}, {s['median'] / base:.2f}× the best peer "
            tip += f"({s['min']:.3f} to {s['max']:.3f} in {s['samples']} runs)"
            marks[name] = (s["median"] / base, s["q1"] / base, s["q3"] / base, tip)
        rows.append((job, result["groups"][job], marks))
    return section(title, words, card(svg.dots(rows, OURS))) if rows else ""


def readable(argument):
    """A benchmark's argument: multiples of powers of two by their unit."""
    n = int(argument)
    for shift, unit in ((20, "Mi"), (10, "Ki")):
        if n and n % (1 << shift) == 0:
            return f"{n >> shift} {unit}"
    return argument


def paths(result):
    if not result.get("paths"):
        return ""
    rows = []
    for path, ns in result["paths"].items():
        kind, *arguments = path.split("/")
        base = min((ns[n] for n in ns if n in result["peers"]), default=min(ns.values()))
        marks = {name: (v / base,) * 3 + (f"{name}: {v:.1f} ns, {v / base:.2f}×",) for name, v in ns.items()}
        rows.append((readable(arguments[0]) if arguments else "", kind.replace("_", " "), marks))
    words = "One call after the other in a loop, by size or count: time as a ratio to the best peer."
    return section("Paths", words, card(svg.dots(rows, OURS, ceiling=16)))


def rivals(result, part, title, words):
    """Rows of programs written for several runtimes, as ratios to the newest Go (to the first one where there is no Go)."""
    if not result.get(part):
        return ""
    rows, newest = [], newest_go(result[part])
    for key, row in result[part]["rows"].items():
        by, unit = row["by"], row["unit"]
        base = max(by.get(newest, next(iter(by.values())))["median"], 1e-9)
        workload, _, procs = key.partition("@")
        label, group = (f"{workload} on {procs}", "") if procs else (key.partition("/")[2], key.partition("/")[0])
        marks = {
            name: (s["median"] / base, s["q1"] / base, s["q3"] / base, f"{name}: {s['median']:.4g} {unit}")
            for name, s in by.items()
        }
        rows.append((label, group.replace("_", " "), marks))
    return section(title, words.format(newest or "the first"), card(svg.dots(rows, OURS, ceiling=64, floor=0.02)))


def newest_go(part):
    return part["gos"][-1] if part["gos"] else None


def net(result):
    """One request of each server, as ratios to the epoll loop."""
    part = result.get("net")
    if not part:
        return ""
    cards = []
    for metric, title in (
        ("per_second", "Time"),
        ("cpu_us", "CPU time"),
        ("p99_us", "99th percentile of the latency"),
    ):
        power = -1 if metric == "per_second" else 1  # the time between two answers: less is better, as everywhere here
        rows = []
        for key, row in part["rows"].items():
            protocol, connections, procs = re.fullmatch(r"(.+)-(\d+)@(\d+)", key).groups()
            base = row["by"].get("epoll", next(iter(row["by"].values())))[metric]["median"]
            marks = {}
            for name, by_metric in row["by"].items():
                s = by_metric[metric]
                ratio, low, high = ((max(s[q], 1e-9) / max(base, 1e-9)) ** power for q in ("median", "q1", "q3"))
                tip = (
                    f"{name}: {by_metric['per_second']['median']:.0f}/s, CPU {by_metric['cpu_us']['median']:.2f} µs, "
                )
                tip += f"p50 {by_metric['p50_us']['median']:.0f} µs, p99 {by_metric['p99_us']['median']:.0f} µs"
                marks[name] = (ratio, low, high, tip)
            rows.append((f"{connections} on {procs}", protocol, marks))
        cards.append(card(svg.dots(rows, OURS, ceiling=4), f"{title} of a request"))
    words = "Servers that echo, or answer HTTP, by connections and processors, as a ratio to a raw epoll loop in C; uring is "
    words += "such a loop on io_uring, uv is libuv. The client shares the processors with the server."
    return section("Network", words, *cards)


def startup(result):
    if not result.get("startup"):
        return ""
    cards = []
    for program, called in (("true", "true"), ("hello", "a program with two allocations")):
        by_name = result["startup"][program].items()
        cards.append(card(svg.bars({n: r["median_us"] for n, r in by_name}, OURS, "µs"), f"Time of {called}"))
        cards.append(card(svg.bars({n: r["peak_kib"] for n, r in by_name}, OURS, "KiB"), f"Peak RSS of {called}"))
    return section("Start", "What a program pays that does nothing: from vfork to its end, median.", two(*cards))


def idle(result):
    if not result.get("idle"):
        return ""
    moments = {"live": "live", "freed": "freed", "after_1s": "1 s", "after_idle": "5 s", "trimmed": "trimmed"}
    cards = []
    for mode, title in (("all", "Everything freed"), ("most", "Nine blocks in ten freed")):
        values = {name: [r[key] for key in moments] for name, r in result["idle"][mode].items()}
        cards.append(card(svg.steps(values, list(moments.values()), OURS, "MiB"), title))
    words = "Two threads free 200 MB, then no thread calls the allocator: RSS in MiB, and at last after malloc_trim."
    return section("Idle", words, two(*cards))


def figures(result):
    """Every median, for whoever wants numbers."""
    if not result["summary"]:
        return ""
    names = result["contenders"]
    head = "<tr><th></th>" + "".join(f"<th>{esc(name)}</th>" for name in names) + "</tr>"
    tables = []
    for metric, title in stats.METRICS.items():
        digits = 1 if metric == "peak_mib" else 3
        lines = []
        for job, row in result["summary"].items():
            best = min(r[metric]["median"] for r in row.values())
            cells = [f"<td>{esc(job)}</td>"]
            for name in names:
                value = row[name][metric]["median"] if name in row else None
                css = ' class="best"' if value is not None and value <= best * 1.01 else ""
                cells.append(f"<td{css}>{'–' if value is None else format(value, f'.{digits}f')}</td>")
            lines.append(f"<tr>{''.join(cells)}</tr>")
        summary = f"<summary>{esc(title)}, {stats.UNITS[metric]}</summary>"
        tables.append(f"<details>{summary}<table>{head}{''.join(lines)}</table></details>")
    return section("Figures", "Medians; within one per cent of the best in bold.", card("".join(tables)))


def troubles(result):
    lines = [
        *(f"left out: {line}" for line in result["skipped"]),
        *(f"failed: {line}" for line in result["failures"]),
    ]
    return card("<br>".join(f'<span class="warn">{esc(line)}</span>' for line in lines)) if lines else ""


JOB_SECTIONS = [
    (
        "wall_s",
        "Time",
        "Wall time of each job as a ratio to its best peer; bands join the quartiles. "
        "Click a name above to hide it.",
    ),
    ("peak_mib", "Peak RSS", "The most memory that the process ever held, as a ratio to the best peer."),
    ("cpu_s", "CPU time", "User and system time of all threads, as a ratio to the best peer."),
]


RIVALS = ["sched", "containers", "net", "gc"]
RIVAL_SECTIONS = [
    ("sched", "Scheduler", "The same workloads on each runtime, by processors, as a ratio to {}'s."),
    ("gc", "Marking", "Time of an object, as a ratio to {}'s, by graph and MiB, and number of markers."),
    ("containers", "Slices and maps", "Time of one operation as a ratio to {}'s, by number of entries."),
]


def render(result):
    parts = [result[part] for part in RIVALS if result.get(part)]
    names = list(dict.fromkeys([*result["contenders"], *(name for part in parts for name in part["contenders"])]))
    palette = colours(names, next((newest_go(part) for part in parts), None))
    about = (
        f"{result['machine']}. {result['date']}, {result['rounds']} interleaved rounds at scale {result['scale']:g}."
    )
    if means := to_reference(result):
        about += f" {OURS} to {REFERENCE}: time {means[0]:.2f}×, peak RSS {means[1]:.2f}×."
    legend = [
        f'<button aria-pressed="true" class="s-{esc(n)}{" ours" if n == OURS else ""}">{esc(n)}</button>'
        for n in names
    ]
    sections = [troubles(result), overview(result), *(jobs(result, *words) for words in JOB_SECTIONS)]
    sections += [rivals(result, *words) for words in RIVAL_SECTIONS]
    sections += [net(result), paths(result), startup(result), idle(result), figures(result)]
    return PAGE.substitute(
        light="".join(f"--c-{i}: {palette[n][0]}; " for i, n in enumerate(names)),
        dark="".join(f"--c-{i}: {palette[n][1]}; " for i, n in enumerate(names)),
        series="\n".join(f".s-{selector(n)} {{ --c: var(--c-{i}); }}" for i, n in enumerate(names)),
        legend="".join(legend),
        about=esc(about),
        body="".join(sections),
    )


def to_reference(result):
    means = result["geomeans"].get("all")
    if not means or OURS not in means["wall_s"] or means["wall_s"][OURS]["reference"] is None or OURS == REFERENCE:
        return None
    return means["wall_s"][OURS]["reference"], means["peak_mib"][OURS]["reference"]
