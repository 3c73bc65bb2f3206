"""The sentences in which a caption meets `[RET]`: plain captions, and the dialogues the product really reads.

`[RET]` stands at the end of a text. A word at position 0 would lie on the model's attention sink, hence BOS first, always.

Read next: `states.py` (who reads them).
"""

from __future__ import annotations

import random
from typing import Callable, List

from .captions import phrase

RET = 49152
USER, ASSISTANT, END = "<|im_start|>user\n", "<|im_start|>assistant\n", "<|im_end|>\n"

SYSTEM = (
    "You are a helpful assistant who can show pictures. Asked for a picture, you name it in one short sentence. "
    "Asked a question, you answer it in one sentence."
)
EXAMPLES = [
    ("Can you find me a photo of a tiger?", "Here is a tiger."),
    ("What is the capital of Italy?", "The capital of Italy is Rome."),
    ("I would like to see a wooden boat.", "Here is a wooden boat."),
    ("Another one like that, but blue.", "Here is a blue wooden boat."),
    ("What is two plus two?", "Two plus two is four."),
    ("What does a pear look like?", "Here is a pear."),
    ("Thank you!", "You are welcome."),
]
PREAMBLE = f"<|im_start|>system\n{SYSTEM}{END}" + "".join(f"{USER}{q}{END}{ASSISTANT}{a}{END}" for q, a in EXAMPLES)

ASKS = [
    "Show me {x}.", "Show me a picture of {x}.", "Can you show me {x}?", "I would like to see {x}.", "Please find me a picture of {x}.",
    "Do you have a photo of {x}?", "I want to see {x}.", "What does {x} look like?", "A picture of {x}, please.", "Can I see {x}?",
]  # fmt: skip
REPLIES = [
    "Here is {x}.", "Here is {x}.", "Here is {x}.", "Here is a picture of {x}.", "Sure, here is {x}.", "This is {x}.", "Here is another picture of {x}.",
]  # fmt: skip

PLAIN, REPLY = "plain", "reply"
READ = ((PLAIN, 0), (REPLY, 0), (REPLY, 1), (REPLY, 2))  # kinds and draws that are read of every caption


def named(kind: str, draw: int) -> str:
    """What a wording is called in settings and tables."""
    return f"{kind}, draw {draw}" if draw else kind


def text(kind: str, caption: str, encode: Callable[[str], List[int]], draw: int = 0) -> List[int]:
    """Token ids of one caption in a wording, `[RET]` last.

    `draw` picks other wordings for the same caption; everything is decided by the caption and `draw` alone. From draw 2 on the
    reply is always "Here is X.", which is what the model says most. The preamble of a reply is not part of it: it is
    the shared prefix.
    """
    x = phrase(caption)
    if kind == PLAIN:
        return encode(f"<|im_start|>a picture of {x}") + [RET]
    pick = random.Random(f"{caption}/chat/{draw}")
    ask, reply = pick.choice(ASKS).format(x=x), pick.choice(REPLIES if draw < 2 else REPLIES[:1]).format(x=x)
    return encode(f"{USER}{ask}{END}{ASSISTANT}") + encode(reply) + [RET]
