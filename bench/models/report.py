"""Tables of what `run.py` wrote.

    python3 bench/models/report.py bench/results/models.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median

NAMES = {"rerun": "PyTorch, whole sequence for each token", "cache": "PyTorch, with a cache", "fp32": "Fromagerie fp32",
         "fp16": "Fromagerie fp16", "int8": "Fromagerie int8", "q4": "Fromagerie 4-bit"}  # fmt: skip


def token_ms(passes: dict, name: str) -> float:
    """Milliseconds of one more token. PyTorch stops at the last token, ours has read it too."""
    tokens = passes["tokens"]
    if name == "rerun":
        return median(passes["decode_ms"][name]) / tokens
    more = [whole - read for whole, read in zip(passes["decode_ms"][name], passes["prefill_ms"][name])]
    return median(more) / (tokens - (name == "cache"))


def floor_ms(passes: dict, name: str) -> float | None:
    """Milliseconds in which memory gives the weights once."""
    if "bandwidth_bytes_per_second" not in passes:
        return None
    read = passes["weight_bytes"].get(name) or passes["weight_bytes"]["torch"]
    return 1e3 * read / passes["bandwidth_bytes_per_second"]


def together(model: dict, name: str, clients: int) -> float:
    """Tokens a second of so many clients."""
    return median(t["tokens_per_second"] for t in model["clients"][name]["tries"] if t["clients"] == clients)


def rows(model: dict) -> list[list[str]]:
    """One row of cells a contender."""
    passes, conversation = model.get("passes", {}), model.get("conversation", {}).get("contenders", {})
    clients, lines = model.get("clients", {}), []
    times = {name: median(told["ms"]) for name, told in conversation.items()}
    for name, title in NAMES.items():
        if name not in passes.get("prefill_ms", {}):
            continue
        one, floor = token_ms(passes, name), floor_ms(passes, name)
        cells = [title, f"{median(passes['prefill_ms'][name]):.0f}", f"{1e3 / one:.1f}"]
        cells.append("" if floor is None or name == "rerun" else f"{one / floor:.2f}")
        cells.append(f"{median(passes['image_ms'][name]):.0f}")
        if name in times:
            against = [f"{times[way] / times[name]:.1f}" if way in times else "" for way in ("rerun", "cache")]
            said = sum(turn["tokens"] for turn in conversation[name]["turns"])
            cells += [f"{times[name] / 1e3:.1f}", str(said), *against, f"{conversation[name]['peak_bytes'] / 1e6:,.0f}"]
        else:
            cells += [""] * 5
        if name in clients:
            one, eight = (together(model, name, count) for count in (1, 8))
            cells.append(f"{one:.1f} / {eight:.1f} ({eight / one:.2f})")
        else:
            cells.append("")
        lines.append(cells)
    return lines


def table(name: str, model: dict) -> str:
    """The model's table."""
    head = [name, "prefill, ms", "tokens/s", "a token over its floor", "picture to query, ms", "ten turns, s", "tokens said"]
    head += ["× rerun", "× cache", "memory, MB", "tokens/s, one / eight clients (ratio)"]
    lines = rows(model)
    kept = [n for n in range(len(head)) if any(cells[n] for cells in lines)]
    written = ["| " + " | ".join(cells[n] for n in kept) + " |" for cells in [head, *lines]]
    return "\n".join([written[0], "|" + "---|" * len(kept), *written[1:]])


def floor(passes: dict) -> str:
    """What the floor was made of."""
    if "bandwidth_bytes_per_second" not in passes:
        return ""
    gives = passes["bandwidth_bytes_per_second"] / 1e9
    read = ", ".join(f"{which} {size / 1e6:,.0f}" for which, size in passes["weight_bytes"].items())
    return f"Memory gives {gives:.1f} GB/s; weights a token reads, MB: {read}."


def main() -> None:
    for name, model in json.loads(Path(sys.argv[1]).read_text()).items():
        print(table(name, model) + "\n\n" + floor(model.get("passes", {})) + "\n")


if __name__ == "__main__":
    main()
