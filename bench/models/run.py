"""What a model costs here and in PyTorch, from the same weights, in one run: prefill, decode, a conversation, many clients.

    .cache/venv/bin/python bench/models/run.py --model demo --torch .cache/venv-models/bin/python --out bench/results/models.json

Every contender is a process of its own, asked one thing at a time; they take turns, and medians are compared. `--torch` is a
Python with `requirements.txt`; without it only our side runs. `--parts`, `--ways` and `--variants` measure some of it, whose
figures replace those in the file. `report.py` makes tables of the file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import bundles
import script
from ours import Alone, Ours, Served
from rival import Rival

PARTS = ("passes", "conversation", "clients")
PROMPT_TOKENS = 64


class Bench:
    """One model's contenders."""

    def __init__(self, model: bundles.Model, arguments: argparse.Namespace) -> None:
        self.model, self.arguments = model, arguments
        self.ours = {
            variant: Ours(arguments.binary, bundle, name, arguments.threads, arguments.device)
            for variant, (bundle, name) in model.bundles.items()
            if variant in arguments.variants.split(",")
        }
        self.ways = tuple(arguments.ways.split(",")) if arguments.torch else ()

    def rival(self, way: str) -> Rival:
        a = self.arguments
        return Rival(a.torch, way, self.model.any_bundle, self.model.weights, a.threads, a.device, a.torch_dtype)

    def passes(self) -> dict:
        """A prompt of 64 tokens read; read and continued; read after a picture and answered with the query that finds
        one: milliseconds of each try. And what memory gives."""
        a = self.arguments
        alone = {variant: Alone(ours) for variant, ours in self.ours.items()}
        rivals = {way: self.rival(way) for way in self.ways}
        text = script.text_of(PROMPT_TOKENS, lambda text: next(iter({**alone, **rivals}.values())).ask(text, 0)["prompt_tokens"])
        found: dict = {"prompt_tokens": PROMPT_TOKENS, "tokens": a.tokens, "prefill_ms": {}, "decode_ms": {}, "image_ms": {}}
        found["weight_bytes"] = {variant: self.model.decoder_bytes(variant) for variant in alone}
        for number in range(2 * a.rounds + 1):  # the first warms up
            for name, contender in {**rivals, **alone}.items():
                if name == "rerun" and number > 1:
                    continue  # it takes its time
                for tokens, key in ((0, "prefill_ms"), (a.tokens, "decode_ms")):
                    took = contender.ask(text, tokens)["milliseconds"]
                    if number:
                        found[key].setdefault(name, []).append(took)
        _, picture = script.pictures(a.cache)
        for number in range(a.rounds + 1):
            for name, contender in {**rivals, **alone}.items():
                took = contender.ask(text, 0, picture, ret=True)["milliseconds"]
                if number:
                    found["image_ms"].setdefault(name, []).append(took)
        if "cache" in rivals:
            found["bandwidth_bytes_per_second"] = rivals["cache"].bandwidth()
            found["weight_bytes"]["torch"] = rivals["cache"].weight_bytes
            found["torch"] = rivals["cache"].version
        for contender in (*alone.values(), *rivals.values()):
            contender.close()
        return found

    def conversation(self) -> dict:
        """Ten turns with two pictures, from the first call to the last event, `rounds` times; the slowest way once."""
        a, found = self.arguments, {}
        folder, seen = script.pictures(a.cache)
        turns = script.turns(seen)
        with tempfile.TemporaryDirectory() as scratch:
            talkers = {way: self.rival(way).collection(folder) for way in self.ways}
            talkers |= {v: Served(ours, Path(scratch) / v, folder) for v, ours in self.ours.items()}
            for number in range(a.rounds):
                for name, talker in talkers.items():
                    if name == "rerun" and number:
                        continue
                    session = talker.open()
                    told = [talker.turn(session, said, a.reply, show) for said, show in turns]
                    mine = found.setdefault(name, {"ms": [], "turns": told})
                    mine["ms"].append(sum(turn["ms"] for turn in told))
                    print(f"{name}: {mine['ms'][-1]:.0f} ms", flush=True)
            for name, talker in talkers.items():
                found[name]["peak_bytes"] = talker.close()
        return {"reply_tokens_max": a.reply, "contenders": found}

    def clients(self) -> dict:
        """Eight conversations held by one client and by eight at once: tokens a second in all."""
        a, found = self.arguments, {}
        folder, _ = script.pictures(a.cache)
        with tempfile.TemporaryDirectory() as scratch:
            for variant, ours in self.ours.items():
                served = Served(ours, Path(scratch) / variant, folder)
                served.crowd(1, script.QUESTIONS[:1], a.reply)
                tries = [served.crowd(count, script.QUESTIONS, 3 * a.reply) for _ in range(a.rounds) for count in (1, 8)]
                found[variant] = {"tries": tries, "peak_bytes": served.close()}
                print(variant, [round(one["tokens_per_second"], 1) for one in tries], flush=True)
        return found


def merge(known: dict, found: dict) -> None:
    """Puts `found` into `known`: objects are merged, everything else is replaced."""
    for name, value in found.items():
        if isinstance(value, dict) and isinstance(known.get(name), dict):
            merge(known[name], value)
        else:
            known[name] = value


def machine(arguments: argparse.Namespace) -> dict:
    """What the figures were measured on."""
    name = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    return {"cpu": name, "cpus": os.cpu_count(), "kernel": platform.release(), "threads": arguments.threads,
            "device": arguments.device, "load": os.getloadavg()[0], "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}  # fmt: skip


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="demo", help="demo, or opt-SIZE with a size of random_opt.py")
    parser.add_argument("--binary", type=Path, default=Path("target/release/fromagerie"))
    parser.add_argument("--torch", type=Path, help="a Python with requirements.txt")
    parser.add_argument("--ways", default="rerun,cache", help="of PyTorch's")
    parser.add_argument("--torch-dtype", default="float32")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--variants", default=",".join(bundles.VARIANTS), help="of ours; may be empty")
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=16, help="that a prompt is continued by")
    parser.add_argument("--reply", type=int, default=8, help="tokens of a reply, at most")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--once", action="store_true", help="one small round of a tiny model, to see that it runs")
    parser.add_argument("--out", type=Path, help="JSON, to which the model's parts are added")
    arguments = parser.parse_args()
    if arguments.once:
        arguments.model, arguments.rounds, arguments.tokens, arguments.reply = "opt-tiny", 1, 4, 4
    return arguments


def main() -> None:
    arguments = parsed()
    cache = arguments.cache.absolute()
    arguments.cache, arguments.binary = cache, arguments.binary.absolute()
    size = arguments.model.removeprefix("opt-")
    model = bundles.demo(cache) if arguments.model == "demo" else bundles.opt(cache, size)
    bench = Bench(model, arguments)
    found = {}
    for part in arguments.parts.split(","):
        found[part] = {**getattr(bench, part)(), "machine": machine(arguments)}
        print(json.dumps(found[part])[:2000], flush=True)
        if arguments.out:
            known = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
            merge(known.setdefault(arguments.model, {}), found)
            arguments.out.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
