"""What is said in the demo, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fromagerie.client import Client

#: The user's turns; a path is a picture, relative to the folder of pictures.
SCRIPT: list[list[str | Path]] = [
    ["Hello! Who are you?"],
    ["Can you show me an umbrella?"],
    ["Show me another umbrella."],
    ["What is the capital of France?"],
    [Path("1F697.png"), "Show me something like this."],
    ["Please show me a strawberry."],
    ["Can I see a soccer ball?"],
    ["Thank you, goodbye."],
]


@dataclass
class Shown:
    """A picture in a turn."""

    jpeg: bytes
    title: str
    detail: str = ""


@dataclass
class Turn:
    """One side's turn: words and pictures in reading order."""

    who: str
    parts: list[str | Shown] = field(default_factory=list)
    note: str = ""


def hold(address: str, collection: str, pictures: Path) -> list[Turn]:
    """Holds the scripted conversation, printing it as it goes."""
    turns: list[Turn] = []
    with Client(address) as client:
        session = client.create_session(collection)
        for said in SCRIPT:
            asked = Turn("user")
            wire: list[str | bytes] = []
            for part in said:
                if isinstance(part, Path):
                    data = (pictures / part).read_bytes()
                    wire.append(data)
                    asked.parts.append(Shown(data, part.name))
                else:
                    wire.append(part)
                    asked.parts.append(part)
            print(f"\nyou> {' '.join(p if isinstance(p, str) else f'[{p.title}]' for p in asked.parts)}", flush=True)
            turns += [asked, answer(client, session, wire)]
    return turns


def answer(client: Client, session: str, parts: list[str | bytes]) -> Turn:
    """One reply, printed as it streams."""
    turn = Turn("assistant")
    for event in client.chat(session, *parts):
        kind = event.WhichOneof("event")
        if kind == "text":
            print(event.text.text, end="", flush=True)
            if turn.parts and isinstance(turn.parts[-1], str):
                turn.parts[-1] += event.text.text
            else:
                turn.parts.append(event.text.text)
        elif kind == "images":
            for hit in event.images.hits:
                print(f"\n  [{hit.key}  {hit.score:+.3f}  {hit.caption}]", flush=True)
                detail = f"score {hit.score:.3f}, P([RET]) {event.images.ret_probability:.2f}"
                turn.parts.append(Shown(hit.thumbnail, hit.caption or hit.key, detail))
        else:
            done = event.finished
            image = f", picture after {done.first_image_ms:.0f} ms" if done.first_image_ms else ""
            turn.note = (
                f"first token after {done.first_token_ms:.0f} ms{image}, {done.reply_token_count} tokens in "
                f"{done.total_ms:.0f} ms; {done.prompt_token_run_count} of {done.prompt_token_count} prompt tokens run"
            )
            print(f"\n  ({turn.note})", flush=True)
    return turn
