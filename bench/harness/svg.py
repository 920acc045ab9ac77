"""svg.py - Four plots as inline SVG. Colours are CSS classes (see page.html), so that a page's theme applies."""

import html
import math


def esc(text):
    return html.escape(str(text), quote=True)


def line(css, x1, y1, x2, y2):
    return f'<line class="{css}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(css, x, y, content):
    """`y` is the middle of the letters, whatever stands beside them."""
    return f'<text class="{css}" x="{x:.1f}" y="{y + 4:.1f}">{esc(content)}</text>'


def mark(x, y, radius, is_ours, title):
    """Ours is a diamond, the others are discs: it can be told apart without its colour."""
    if is_ours:
        r = radius + 2
        drawn = f'<path class="mark" d="M{x:.1f} {y - r:.1f}l{r} {r}l-{r} {r}l-{r} -{r}z">'
        return f"{drawn}<title>{esc(title)}</title></path>"
    return f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"><title>{esc(title)}</title></circle>'


def series(name, *parts):
    """What belongs to one contender: it has its colour, and vanishes as a whole."""
    return f'<g class="s s-{esc(name)}">{"".join(parts)}</g>'


def drawing(width, height, parts):
    return f'<svg viewBox="0 0 {width} {height:.0f}" role="img">{"".join(parts)}</svg>'


def ours_last(names, ours):
    """Drawn last, hence on top."""
    return sorted(names, key=lambda name: name == ours)


class LogScale:
    """Ratios on a logarithmic axis: twice as slow is as far from 1 as twice as fast. What lies beyond sticks to its end."""

    TICKS = [0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 4, 6, 8, 12, 16, 30, 60]

    def __init__(self, values, begin, end, ceiling, floor=0.5):
        values = list(values) or [1.0]
        self.low = max(floor, min(min(values) * 0.95, 0.95))
        self.high = min(ceiling, max(max(values) * 1.05, 1.5))
        self.begin, self.end = begin, end

    def __call__(self, value):
        value = min(max(value, self.low), self.high)
        return self.begin + math.log(value / self.low) / math.log(self.high / self.low) * (self.end - self.begin)

    def ticks(self, gap=34):
        """Those that have room for their label. 1 always stands: it is what all others are compared with."""
        chosen = []
        for tick in (t for t in self.TICKS if self.low <= t <= self.high):
            while tick == 1 and chosen and abs(self(1) - self(chosen[-1])) <= gap:
                chosen.pop()
            if not chosen or abs(self(tick) - self(chosen[-1])) > gap:
                chosen.append(tick)
        return chosen


def tick_line(tick, x1, y1, x2, y2):
    return line("one" if tick == 1 else "grid", x1, y1, x2, y2)


def dots(rows, ours, width=860, ceiling=8.0, floor=0.5):
    """A line per row (label, group, {contender: (ratio, low, high, title)}). A band joins low and high."""
    left, right, step, top = 190, width - 24, 24, 30
    scale = LogScale([r[0] for _, _, row in rows for r in row.values()], left, right, ceiling, floor)
    parts, y, group_before = [], top, None
    for label, group, row in rows:
        if group != group_before:
            y += 14 if group_before is not None else 0
            parts.append(text("group", 0, y, group))
            y += 20
            group_before = group
        parts += [line("row", left, y, right, y), text("name", left - 14, y, label)]
        for name in ours_last(row, ours):
            ratio, low, high, title = row[name]
            beyond = text("beyond", right + 8, y, "›") if ratio > scale.high else ""
            band = line("whisker", scale(low), y, scale(high), y)
            parts.append(series(name, band, mark(scale(ratio), y, 5, name == ours, title), beyond))
        y += step
    axis = []
    for tick in scale.ticks():
        x = scale(tick)
        axis += [tick_line(tick, x, top - 14, x, y - 8), text("tick", x, top - 24, f"{tick:g}×")]
    return drawing(width, y + 6, axis + parts)


def plane(points, ours, x_label, y_label, width=460, height=400):
    """Contenders between two ratios, {name: (x, y)}. The lower left corner is where to be."""
    left, right, top, bottom = 68, width - 30, 18, height - 50
    sx = LogScale([x for x, _ in points.values()], left, right, ceiling=4)
    sy = LogScale([y for _, y in points.values()], bottom, top, ceiling=4)
    parts = [f'<rect class="frame" x="{left}" y="{top}" width="{right - left}" height="{bottom - top}" rx="6"/>']
    for tick in sx.ticks():
        parts += [tick_line(tick, sx(tick), top, sx(tick), bottom), text("tick", sx(tick), bottom + 14, f"{tick:g}×")]
    for tick in sy.ticks(gap=20):
        parts += [
            tick_line(tick, left, sy(tick), right, sy(tick)),
            text("tick end", left - 8, sy(tick), f"{tick:g}×"),
        ]
    for name in ours_last(points, ours):
        x, y = points[name]
        disc = mark(sx(x), sy(y), 8, name == ours, f"{name}: {x_label} {x:.3f}×, {y_label} {y:.3f}×")
        at_edge = sx(x) > right - 80
        label = text("label end" if at_edge else "label", sx(x) + (-14 if at_edge else 14), sy(y), name)
        parts.append(series(name, disc, label))
    parts.append(text("axis", (left + right) / 2, height - 12, x_label))
    parts.append(f'<g transform="translate(13 {(top + bottom) / 2}) rotate(-90)">{text("axis", 0, 0, y_label)}</g>')
    return drawing(width, height, parts)


def bars(values, ours, unit, width=430):
    """{name: value} as horizontal bars from zero."""
    left, right, step = 92, width - 96, 28
    most = max(values.values(), default=0) or 1
    parts = []
    for i, (name, value) in enumerate(values.items()):
        y, length = 16 + i * step, max(2, (right - left) * value / most)
        parts.append(
            series(
                name,
                text("name own" if name == ours else "name", left - 10, y, name),
                f'<rect class="bar" x="{left}" y="{y - 10}" width="{length:.1f}" height="20" rx="4"/>',
                text("value", left + length + 8, y, f"{value:.0f} {unit}"),
            )
        )
    return drawing(width, 6 + len(values) * step, parts)


def steps(values, labels, ours, unit, width=430, height=250):
    """{name: [value per label]} as lines over a few moments."""
    left, right, top, bottom = 48, width - 80, 12, height - 28
    most = max((v for row in values.values() for v in row), default=0) or 1

    def px(i):
        return left + (right - left) * i / (len(labels) - 1)

    def py(v):
        return bottom - (bottom - top) * v / most

    parts = []
    for v in (most * quarter / 4 for quarter in range(5)):
        parts += [line("grid", left, py(v), right, py(v)), text("tick end", left - 8, py(v), f"{v:.0f}")]
    parts += [text("tick", px(i), height - 12, label) for i, label in enumerate(labels)]

    # Names stand at the right end, pushed downward where lines meet.
    name_y, above = {}, -math.inf
    for name in sorted(values, key=lambda n: -values[n][-1]):
        name_y[name] = above = max(py(values[name][-1]), above + 14)
    for name in ours_last(values, ours):
        points = [(px(i), py(v)) for i, v in enumerate(values[name])]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        marks = [
            mark(x, y, 3.5, name == ours, f"{name}, {label}: {v:.1f} {unit}")
            for (x, y), label, v in zip(points, labels, values[name])
        ]
        label = text("label", right + 10, name_y[name], name)
        parts.append(series(name, f'<polyline class="path" points="{joined}"/>', *marks, label))
    return drawing(width, height, parts)
