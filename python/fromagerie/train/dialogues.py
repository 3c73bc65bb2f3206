"""Dialogues in which one knows whether a picture belongs at each position: what `[RET]`'s output row learns from.

A dialogue is a list of `(ids, label)` pieces that follow the preamble: label 1 says "the next token after this piece is
`[RET]`", 0 says "no token of this piece is followed by `[RET]`", None says "not judged". Announcing sentences come
from templates over captions; ordinary answers are written by the frozen model itself, so that what is called negative
is what it will really say.

Read next: `decision.py` (the row and its figures).
"""

from __future__ import annotations

import random
from typing import Callable, List, Optional, Sequence, Tuple

from .captions import phrase
from .wordings import ASKS, ASSISTANT, END, REPLIES, USER

Piece = Tuple[List[int], Optional[int]]
Encode = Callable[[str], List[int]]

AGAIN = ["Another one, please.", "Show me another one.", "Can I see another?", "One more, please.", "Do you have a different one?"]
CHANGED = ["Another one like that, but {c}.", "The same, but {c}.", "Now a {c} one, please.", "I would like a {c} one."]
COLOURS = ["red", "blue", "green", "yellow", "black", "white", "small", "big", "old", "wooden", "happy"]
THANKS = [("Thank you!", "You are welcome."), ("Nice, thanks.", "You are welcome."), ("Great!", "I am glad you like it."), ("Hello!", "Hello! How can I help you?")]
ABOUT = [
    "What do {xs} need?", "Why do people like {xs}?", "Tell me something about {xs}.", "Where can one find {xs}?", "How old can {a} be?", "Is {a} expensive?",
    "Who invented {xs}?", "Do you like {xs}?", "What is {a} used for?", "How much does {a} weigh?", "What is {a}?", "How do you spell {x}?",
]  # fmt: skip
FACTS = [
    "What is the capital of France?", "How many days are in a year?", "Who wrote Hamlet?", "What is seven times eight?", "Why is the sky blue?",
    "What is the largest ocean?", "Good morning!", "How are you?", "What can you do?", "Tell me a joke.", "What is photosynthesis?", "Who was Einstein?",
    "How do I cook rice?", "What is ten minus four?", "Goodbye!", "Can you help me with my homework?", "What language do people speak in Brazil?",
    "What is the boiling point of water?", "Write a short poem about the sea.", "Give me three tips for sleeping well.", "What day comes after Monday?",
    "How far away is the moon?", "Who painted the Mona Lisa?", "What is a prime number?", "My name is Anna.", "I had a bad day.", "Is it going to rain?",
    "Translate good morning to Spanish.", "What is the meaning of life?", "Which animals live in the desert?", "I don't like that one.", "That is funny.",
]  # fmt: skip


def ask_turn(encode: Encode, user: str) -> List[int]:
    """A user's turn and the assistant's prefix."""
    return encode(f"{USER}{user}{END}{ASSISTANT}")


def shown(encode: Encode, user: str, reply: str, after: Sequence[int]) -> List[Piece]:
    """A turn answered by an announcing sentence, the picture (`after`: ids of `[RET]` and stand-ins), and the end."""
    says = encode(reply)
    return [(ask_turn(encode, user) + says[:-1], 0), (says[-1:], 1), (list(after), None), (encode(END), 0)]


def told(encode: Encode, user: str, reply: str) -> List[Piece]:
    """A turn answered in words."""
    return [(ask_turn(encode, user) + encode(reply) + encode(END), 0)]


def make(captions: Sequence[str], encode: Encode, answer: Callable[[str], str], marks: Callable[[str], List[int]], count: int, seed: int) -> List[List[Piece]]:
    """`count` dialogues of one to three turns. `answer(question)`: the frozen model's own reply; `marks(caption)`:
    ids standing for `[RET]` and a picture of the caption (negative ids: see `decision.embed`)."""
    draw = random.Random(seed)
    out = []
    for _ in range(count):
        pieces: List[Piece] = []
        caption = draw.choice(captions)
        for turn in range(draw.choice([1, 1, 2, 2, 3])):
            x, kind = phrase(caption), draw.random()
            if kind < 0.4 or turn == 0 and kind < 0.5:
                pieces += shown(encode, draw.choice(ASKS).format(x=x), draw.choice(REPLIES).format(x=x), marks(caption))
            elif kind < 0.5:
                reply = draw.choice([f"Here is another {caption}.", f"Here is another picture of {x}.", "Here is another one."])
                pieces += shown(encode, draw.choice(AGAIN), reply, marks(caption))
            elif kind < 0.6 and turn:
                colour = draw.choice(COLOURS)
                caption = f"{colour} {caption}"
                pieces += shown(encode, draw.choice(CHANGED).format(c=colour), f"Here is {phrase(caption)}.", marks(caption))
            elif kind < 0.7:
                pieces += told(encode, *draw.choice(THANKS))
            else:
                question = draw.choice(FACTS) if kind < 0.85 else draw.choice(ABOUT).format(x=caption, xs=caption + "s", a=x)
                pieces += told(encode, question, answer(question))
            if draw.random() < 0.5:
                caption = draw.choice(captions)
        out.append(pieces)
    return out
