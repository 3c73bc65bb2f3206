"""Our side, as people run it: `fromagerie generate` for passes of the model alone, `fromagerie serve` for conversations."""

from __future__ import annotations

import json
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from fromagerie.client import Client

NEVER = -1000.0  # a bias under which [RET] is never chosen, only forced


def peak_bytes(pid: int) -> int:
    """The most memory that a process had resident."""
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


@dataclass
class Ours:
    """One contender: a bundle's variant on a device."""

    binary: Path
    bundle: Path
    variant: str | None = None
    threads: int = 2
    device: str = "cpu"
    command: list[str] = field(init=False)

    def __post_init__(self) -> None:
        chosen = ["--variant", self.variant] if self.variant else []
        self.command = ["--bundle", str(self.bundle), *chosen, "--threads", str(self.threads), "--device", self.device]


class Alone:
    """The model alone, asked line by line."""

    def __init__(self, ours: Ours) -> None:
        command = [str(ours.binary), "generate", *ours.command]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, text: str, tokens: int, image: Path | None = None, ret: bool = False) -> dict:
        """Reads `text` (`tokens` 0), or continues it by exactly `tokens`; `milliseconds` says how long that took."""
        parts = [{"image": str(image)}] if image else []
        parts += [{"text": text}] + (["ret"] if ret else [])
        line = {"parts": parts, "max_tokens": tokens, "ignore_stops": True, "ret_max": 0}
        print(json.dumps(line), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"generate ended with code {self.process.wait()}")
        return json.loads(answer)

    def close(self) -> int:
        """Ends it; its peak memory in bytes."""
        peak = peak_bytes(self.process.pid)
        self.process.stdin.close()
        self.process.wait()
        return peak


class Served:
    """A server over a fresh database with `pictures`."""

    def __init__(self, ours: Ours, folder: Path, pictures: Path) -> None:
        model = ["--bundle", str(ours.bundle)] + (["--variant", ours.variant] if ours.variant else [])
        ingest = [str(ours.binary), "ingest", "--db", str(folder), *model, "--collection", "pictures", str(pictures)]
        subprocess.run(ingest, check=True, stdout=subprocess.DEVNULL)
        command = [str(ours.binary), "serve", "--db", str(folder), *ours.command, "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            raise SystemExit(f"the server said {line!r} and ended with code {self.process.wait()}")
        self.client = Client(line.removeprefix("listening on ").strip())

    def open(self) -> str:
        """A new conversation."""
        return self.client.create_session("pictures")

    def turn(self, session: str, said: list[dict], tokens: int, show: bool) -> dict:
        """One turn, from the call to the last event."""
        parts = [part["text"] if "text" in part else Path(part["image"]).read_bytes() for part in said]
        options = {"max_tokens": tokens, "ret_bias": NEVER, "force_ret": show, "without_thumbnails": True}
        begun, text, shown, first, finished = time.perf_counter(), "", None, None, None
        for event in self.client.chat(session, *parts, **options):
            first = first or time.perf_counter()
            kind = event.WhichOneof("event")
            if kind == "text":
                text += event.text.text
            elif kind == "images":
                shown = event.images.hits[0].key if event.images.hits else None
            else:
                finished = event.finished
        ms = 1e3 * (time.perf_counter() - begun)
        return {"ms": ms, "first_ms": 1e3 * (first - begun), "text": text, "tokens": finished.reply_token_count, "shown": shown}

    def crowd(self, clients: int, said: list[str], tokens: int) -> dict:
        """A conversation of one turn for each of `said`, held by so many clients at once: tokens, and seconds from the first
        call to the last event."""
        sessions = [self.open() for _ in said]
        begun = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            talks = [pool.submit(self.turn, name, [{"text": words}], tokens, False) for name, words in zip(sessions, said)]
            turns = [talk.result() for talk in talks]
        seconds, total = time.perf_counter() - begun, sum(turn["tokens"] for turn in turns)
        return {"clients": clients, "tokens": total, "seconds": seconds, "tokens_per_second": total / seconds,
                "first_ms_max": max(turn["first_ms"] for turn in turns)}  # fmt: skip

    def close(self) -> int:
        """Stops it; its peak memory in bytes."""
        peak = peak_bytes(self.process.pid)
        self.client.close()
        self.process.terminate()
        self.process.wait(timeout=30)
        return peak
