"""stats.py - Medians, spreads, ratios and geometric means of what was measured."""

import math
import statistics

METRICS = {"wall_s": "wall time", "cpu_s": "CPU time", "peak_mib": "peak RSS"}
UNITS = {"wall_s": "s", "cpu_s": "s", "peak_mib": "MiB"}


def spread(values):
    """Median, quartiles and bounds of a few samples."""
    ordered = sorted(values)
    if len(ordered) > 1:
        low, _, high = statistics.quantiles(ordered, n=4, method="inclusive")
    else:
        low = high = ordered[0]
    return {
        "median": statistics.median(ordered),
        "q1": low,
        "q3": high,
        "min": ordered[0],
        "max": ordered[-1],
        "samples": len(ordered),
    }


def half_width(s):
    """Half of the distance between the quartiles, as a part of the median."""
    return (s["q3"] - s["q1"]) / 2 / s["median"] if s["median"] else 0.0


def geomean(values):
    values = list(values)
    return math.exp(sum(math.log(v) for v in values) / len(values)) if values else None


def summarize(samples):
    """{job: {contender: [sample]}} -> {job: {contender: {metric: spread}}}."""
    return {
        job: {
            name: {metric: spread([s[metric] for s in runs]) for metric in METRICS}
            for name, runs in by_name.items()
            if runs
        }
        for job, by_name in samples.items()
    }


def best_peer(row, metric, peers):
    """(name, median) of the peer that did best in one job; of all contenders where no peer took part."""
    names = [n for n in row if n in peers] or list(row)
    name = min(names, key=lambda n: row[n][metric]["median"])
    return name, row[name][metric]["median"]


def ratio(row, name, metric, base):
    return max(row[name][metric]["median"], 1e-9) / max(base, 1e-9)


def geomeans(summary, groups, peers, reference):
    """{group: {metric: {contender: {"best": to the best peer of each job, "reference": to one peer}}}}.

    `groups` maps a job to its group; "all" holds every job. Only jobs that all contenders finished count, so that two means
    are of the same jobs.
    """
    names = {n for row in summary.values() for n in row}
    whole = {job: row for job, row in summary.items() if set(row) == names}
    result = {}
    for group in ["all", *dict.fromkeys(groups[j] for j in whole)]:
        rows = [row for job, row in whole.items() if group in ("all", groups[job])]
        if not rows:
            continue
        result[group] = {"jobs": len(rows)}
        for metric in METRICS:
            result[group][metric] = {
                name: {
                    "best": geomean(ratio(row, name, metric, best_peer(row, metric, peers)[1]) for row in rows),
                    "reference": geomean(ratio(row, name, metric, row[reference][metric]["median"]) for row in rows)
                    if reference in names
                    else None,
                }
                for name in sorted(names)
            }
    return result
