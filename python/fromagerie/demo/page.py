"""The conversation as one HTML page that needs nothing else: styles and pictures are inside."""

from __future__ import annotations

import base64
import html

from .conversation import Shown, Turn

HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A conversation with Fromagerie</title>
<style>
  :root { color-scheme: light dark; --ink: #26221c; --paper: #fbf7ee; --mine: #f2c14e; --yours: #fff; --soft: #8a8273; }
  @media (prefers-color-scheme: dark) { :root { --ink: #efe9dc; --paper: #1d1a16; --mine: #7a5c12; --yours: #2a2620; } }
  body { margin: 0 auto; max-width: 44rem; padding: 2.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
         font: 1.05rem/1.5 system-ui, sans-serif; }
  h1 { font-size: 1.4rem; margin: 0 0 2rem; }
  .turn { display: flex; flex-direction: column; margin: 0 0 1.2rem; }
  .user { align-items: flex-end; }
  .assistant { align-items: flex-start; }
  .said { max-width: 34rem; padding: .6rem 1rem; border-radius: 1.1rem; background: var(--yours);
          box-shadow: 0 1px 2px #0002; white-space: pre-wrap; }
  .user .said { background: var(--mine); }
  figure { margin: .5rem 0; padding: .7rem; border-radius: 1.1rem; background: #fff; color: #26221c;
           box-shadow: 0 1px 2px #0002; }
  img { display: block; width: 11rem; height: 11rem; object-fit: contain; }
  figcaption { max-width: 11rem; font-size: .8rem; margin-top: .4rem; }
  .soft { color: var(--soft); font-size: .75rem; }
</style>
</head>
<body>
<h1>A conversation with Fromagerie</h1>
"""

FOOT = """<p class="soft">Pictures: OpenMoji, CC BY-SA 4.0.</p>
</body>
</html>
"""


def render(turns: list[Turn]) -> str:
    """The whole page."""
    return HEAD + "".join(map(_turn, turns)) + FOOT


def _turn(turn: Turn) -> str:
    parts = "".join(_part(part) for part in turn.parts)
    note = f'<div class="soft">{html.escape(turn.note)}</div>' if turn.note else ""
    return f'<div class="turn {turn.who}">{parts}{note}</div>\n'


def _part(part: str | Shown) -> str:
    if isinstance(part, str):
        words = part.strip()
        return f'<div class="said">{html.escape(words)}</div>' if words else ""
    kind = "png" if part.jpeg.startswith(b"\x89PNG") else "jpeg"
    data = base64.b64encode(part.jpeg).decode()
    title = html.escape(part.title)
    detail = f'<div class="soft">{html.escape(part.detail)}</div>' if part.detail else ""
    return (
        f'<figure><img alt="{title}" src="data:image/{kind};base64,{data}">'
        f"<figcaption>{title}{detail}</figcaption></figure>"
    )
