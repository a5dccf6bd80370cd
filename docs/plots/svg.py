"""Line charts as small SVG files: stacked panels over one axis of time, nothing else."""

from typing import NamedTuple

import numpy as np

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP = 900, 150, 78, 16, 30, 34
COLOURS = ("#1f5fa8", "#c4501b", "#3a8a3a", "#7a4fa3")
POINTS_MAX = 900


class Line(NamedTuple):
    """One line of a panel. low, high: a band around it, or None. steps: drawn as a staircase."""

    name: str
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    steps: bool = True


class Panel(NamedTuple):
    """One panel: its title (with the unit), its lines, and levels to draw across."""

    title: str
    lines: tuple[Line, ...]
    levels: tuple[float, ...] = ()


def thin(x, y):
    """Keep at most POINTS_MAX points: of each bin of time, the first, lowest, highest and last."""
    if len(x) <= POINTS_MAX:
        return np.arange(len(x))
    bins = np.searchsorted(np.linspace(x[0], x[-1], POINTS_MAX // 4), x, side="right")
    kept = []
    for places in np.split(np.arange(len(x)), np.flatnonzero(np.diff(bins)) + 1):
        known = places[~np.isnan(y[places])]
        if len(known):
            kept += [known[0], known[np.argmin(y[known])], known[np.argmax(y[known])], known[-1]]
        else:
            kept.append(places[0])
    return np.unique(kept)


def ticks(low, high):
    """Return about four round numbers between two values."""
    step = 10.0 ** np.floor(np.log10((high - low) / 3))
    while (high - low) / step > 6:
        step *= 2 if str(step)[0] == "1" else 2.5
    return [float(v) for v in np.arange(np.ceil(low / step) * step, high + step / 1e6, step)]


def chart(path, x, panels, x_name):
    """Write a chart. x: float64 (n,), shared by all lines."""
    height = TOP + len(panels) * (PANEL + GAP) + 14
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    width = WIDTH - LEFT - RIGHT
    for number, panel in enumerate(panels):
        out += _panel(panel, x, TOP + number * (PANEL + GAP), width)
    bottom = TOP + len(panels) * (PANEL + GAP) - GAP
    for value in ticks(float(x[0]), float(x[-1])):
        at = LEFT + width * (value - x[0]) / (x[-1] - x[0])
        out.append(f'<text x="{at:.0f}" y="{bottom + 15}" text-anchor="middle">{value:g}</text>')
    out.append(f'<text x="{LEFT + width}" y="{bottom + 31}" text-anchor="end">{x_name}</text>')
    out.append("</svg>")
    path.write_text("\n".join(out) + "\n")


def _panel(panel, x, top, width):
    values = np.concatenate(
        [column for line in panel.lines for column in (line.y, line.low, line.high)
         if column is not None] + [np.array(panel.levels, float)]
    )  # fmt: skip
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    room = (high - low) * 0.05 or abs(high) or 1.0
    low, high = low - room, high + room

    def place(xs, ys):
        across = LEFT + width * (xs - x[0]) / (x[-1] - x[0])
        return across, top + PANEL * (high - ys) / (high - low)

    out = [f'<text x="{LEFT}" y="{top - 6}" font-weight="bold">{panel.title}</text>',
           f'<rect x="{LEFT}" y="{top}" width="{width}" height="{PANEL}" fill="none" '
           'stroke="#bbb"/>']  # fmt: skip
    for value in ticks(low, high):
        y = place(x[0], value)[1]
        said = f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:g}"
        out.append(f'<path d="M{LEFT} {y:.1f}h{width}" stroke="#e6e6e6"/>')
        out.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{said}</text>')
    for level in panel.levels:
        y = place(x[0], level)[1]
        out.append(f'<path d="M{LEFT} {y:.1f}h{width}" stroke="#999" stroke-dasharray="4 3"/>')
    for number, line in enumerate(panel.lines):
        colour = COLOURS[number % len(COLOURS)]
        out += _line(line, x, place, colour)
        if len(panel.lines) > 1:
            out.append(f'<text x="{LEFT + width - 8}" y="{top + 16 + 15 * number}" fill="{colour}" '
                       f'text-anchor="end">{line.name}</text>')  # fmt: skip
    return out


def _line(line, x, place, colour):
    out = []
    if line.low is not None:
        known = ~(np.isnan(line.low) | np.isnan(line.high))
        xs = np.concatenate([x[known], x[known][::-1]])
        ys = np.concatenate([line.low[known], line.high[known][::-1]])
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(*place(xs, ys), strict=True))
        out.append(f'<polygon points="{points}" fill="{colour}" opacity="0.2"/>')
    kept = thin(x, line.y)
    path, down = [], False
    for a, b in zip(*place(x[kept], line.y[kept]), strict=True):
        if np.isnan(b):
            down = False
            continue
        if not down:
            path.append(f"M{a:.1f} {b:.1f}")
        elif line.steps:
            path.append(f"H{a:.1f}V{b:.1f}")
        else:
            path.append(f"L{a:.1f} {b:.1f}")
        down = True
    out.append(f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="1.1"/>')
    return out
