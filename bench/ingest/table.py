"""The tables of `docs/INGEST.md`, from `bench/results/ingest.json`: `python table.py bench/results/ingest.json`; and the plot of
memory, as an SVG beside it."""

import json
import sys
from pathlib import Path


def decode(found: dict) -> list:
    base = found["pillow"]["rate"]
    names = {
        "fromagerie": "ours, one process, two threads",
        "pillow": "Pillow, two processes",
        "pillow_draft": "Pillow with `draft`, two processes (other pixels)",
    }
    lines = ["| decode + resize | pictures/s | against Pillow |", "|---|---|---|"]
    return lines + [
        f"| {text} | {found[name]['rate']:.0f} | {found[name]['rate'] / base:.2f} |" for name, text in names.items()
    ]


def job(found: dict) -> list:
    names = {
        "decode": "decode + resize alone, ours",
        "encode": "the encoder alone on ready tensors, ONNX Runtime through ours",
        "fromagerie": "**the whole job, ours**, durable",
        "fromagerie_thumbnails": "the same with JPEG thumbnails",
        "torch_encode": "the encoder alone on ready tensors, PyTorch",
        "torch": "PyTorch, loader with two workers",
        "torch_onnx": "the same loader, ONNX Runtime",
        "clip_retrieval": "clip-retrieval's runner, reader and writer, PyTorch",
    }
    floor = min(found["decode"]["rate"], found["encode"]["rate"])
    lines = ["| whole job | pictures/s | against the slower of decode and encoder |", "|---|---|---|"]
    return lines + [
        f"| {text} | {found[name]['rate']:.1f} | {found[name]['rate'] / floor:.2f} |" for name, text in names.items()
    ]


def load(found: dict) -> list:
    disk = found["disk"]["rate"]
    lines = ["| vectors loaded | rows/s | against the disk | bytes written a byte of vector |", "|---|---|---|---|"]
    for name in ("disk", "npy", "parquet", "lancedb", "qdrant-edge"):
        one = found[name]
        written = one["last"].get("written_bytes")
        amplified = f"{written / one['last']['rows'] / 1024:.2f}" if written else "1"
        lines.append(f"| {name} | {one['rate']:.0f} | {one['rate'] / disk:.3f} | {amplified} |")
    return lines


def searches(found: dict) -> list:
    lines = ["| searches | count | p50 ms | p99 ms | largest ms |", "|---|---|---|---|---|"]
    for name in ("idle", "during"):
        one = found[f"{name}_ms"]
        lines.append(f"| {name} | {one['searches']} | {one['p50']:.2f} | {one['p99']:.2f} | {one['max']:.1f} |")
    return lines


def plot(samples: list, title: str) -> str:
    """Anonymous and mapped megabytes over items."""
    wide, high, left, top = 640, 240, 60, 30
    items = max(sample["items"] for sample in samples)
    most = max(sample["memory"][kind] for sample in samples for kind in ("anonymous", "mapped")) / 1e6 * 1.1
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + wide + 20} {top + high + 45}" font-family="sans-serif" font-size="12">'
    ]
    parts.append(
        f'<rect width="100%" height="100%" fill="white"/><text x="{left}" y="18" font-size="14">{title}</text>'
    )
    for step in range(5):
        y = top + high - high * step / 4
        parts.append(
            f'<path d="M{left} {y:.1f}h{wide}" stroke="#ddd"/><text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{most * step / 4:.0f} MB</text>'
        )
        x = left + wide * step / 4
        parts.append(f'<text x="{x:.1f}" y="{top + high + 18}" text-anchor="middle">{items * step // 4}</text>')
    for kind, colour in (("anonymous", "#c0392b"), ("mapped", "#2980b9")):
        points = " ".join(
            f"{left + wide * sample['items'] / items:.1f},{top + high - high * sample['memory'][kind] / 1e6 / most:.1f}"
            for sample in samples
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(
            f'<text x="{left + (0 if kind == "anonymous" else 260)}" y="{top + high + 38}" fill="{colour}">{kind}: {"heap" if kind == "anonymous" else "files, given back when asked for"}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    path = Path(sys.argv[1])
    figures = json.loads(path.read_text())
    for part, table in (("decode", decode), ("job", job), ("load", load), ("merge", searches), ("reindex", searches)):
        if part in figures:
            print("\n".join(table(figures[part])), end="\n\n")
    if "memory" in figures:
        samples = figures["memory"]["vectors"]["memory"]
        path.with_name("ingest_memory.svg").write_text(
            plot(samples, "100,000 vectors of 256, loaded from .npy with graphs")
        )


if __name__ == "__main__":
    main()
