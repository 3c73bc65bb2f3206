"""A table of what was measured, and a plot of recall against queries per second."""

from math import log10

TARGETS = (0.90, 0.95, 0.99)
COLOURS = ("#b3541e", "#e0a030", "#2f6690", "#3a7d44", "#6d597a")


def at(curve: list[dict], target: float, what: str) -> float | None:
    """`what` where the curve reaches `target`, between its points evenly; None where it never does."""
    for before, after in zip([None, *curve], curve, strict=False):
        if after["recall"] >= target:
            if before is None or after["recall"] == before["recall"]:
                return after[what]
            part = (target - before["recall"]) / (after["recall"] - before["recall"])
            return before[what] + part * (after[what] - before[what])
    return None


def table(results: list[dict]) -> str:
    """Markdown. Queries a second with one thread / with two, at recall@10 of each target."""
    heads = [f"{kind} {target:.2f}" for kind in ("rows", "text") for target in TARGETS]
    lines = ["| engine | build CPU s | disk MB | memory MB | open ms | " + " | ".join(heads) + " |"]
    lines.append("|" + "---|" * (5 + len(heads)))
    for result in results:
        build = result["build"]
        cells = [result["engine"], f"{build['cpu_s']:.1f}", f"{build['disk_mb']:.0f}", f"{result['rss_mb']:.0f}"]
        cells.append(f"{1000 * result['open_s']:.1f}")
        for kind in ("rows", "text"):
            for target in TARGETS:
                speeds = [at(result["curves"][kind], target, f"qps{threads}") for threads in (1, 2)]
                cells.append("–" if None in speeds else " / ".join(f"{speed:.0f}" for speed in speeds))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(results: list[dict], kind: str, threads: int = 1) -> str:
    """SVG: recall from 0.8 to 1 to the right, queries a second upwards on a logarithmic scale."""
    speed, who = f"qps{threads}", "one thread" if threads == 1 else f"{threads} threads"
    width, height, margin = 720, 440, 60
    speeds = [point[speed] for result in results for point in result["curves"][kind] if point["recall"] >= 0.8]
    low, high = (log10(min(speeds)), log10(max(speeds))) if speeds else (0, 1)
    low, high = low - 0.05, high + 0.05

    def place(point: dict) -> str:
        x = margin + (point["recall"] - 0.8) / 0.2 * (width - 2 * margin)
        y = height - margin - (log10(point[speed]) - low) / (high - low) * (height - 2 * margin)
        return f"{x:.1f},{y:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{margin}" y="24">queries like {kind}: queries a second ({who}) by recall@10</text>',
    ]
    for tick in (0.8, 0.85, 0.9, 0.95, 1.0):
        x = margin + (tick - 0.8) / 0.2 * (width - 2 * margin)
        parts.append(f'<path d="M{x:.1f} {margin}V{height - margin}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - margin + 20}" text-anchor="middle">{tick:.2f}</text>')
    for step in (n * 10**power for power in range(1, 7) for n in (1, 2, 5)):
        if low <= log10(step) <= high:
            y = height - margin - (log10(step) - low) / (high - low) * (height - 2 * margin)
            parts.append(f'<path d="M{margin} {y:.1f}H{width - margin}" stroke="#ddd"/>')
            parts.append(f'<text x="{margin - 6}" y="{y + 4:.1f}" text-anchor="end">{step}</text>')
    for number, result in enumerate(results):
        points = [place(point) for point in result["curves"][kind] if point["recall"] >= 0.8]
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        name_y = margin + 18 * number + 14
        parts.append(f'<text x="{width - margin - 160}" y="{name_y}" fill="{colour}">{result["engine"]}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
