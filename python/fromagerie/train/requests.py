"""Thirty-two requests, written by hand: does the model show a picture when, and only when, one is wanted?

    python -m fromagerie.train.requests --maps python/fromagerie/demo/maps.safetensors

Runs the engine's loop in small: greedy decoding after the preamble, `[RET]` when its logit (plus the bias) is the
largest, then stand-in visual tokens, then on to the end of the turn. Prints each answer and the share that is right;
for pictures also whether the answer names the thing. These requests were not trained on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import List, Optional, Tuple

import numpy as np
import torch

from . import features, wordings
from .dialogues import ask_turn
from .lm import EOS, Llama, Past, load_lm
from .maps import Written

REQUESTS: List[Tuple[List[str], Optional[str]]] = [  # turns, and the word the last answer must name (None: no picture)
    (["Show me a picture of a hedgehog."], "hedgehog"),
    (["I'd like to see a red car."], "red car"),
    (["Can you find me a photo of an elephant?"], "elephant"),
    (["Do you have a picture of a violin?"], "violin"),
    (["What does a pineapple look like?"], "pineapple"),
    (["Please show me a castle on a hill."], "castle"),
    (["Picture of a birthday cake"], "cake"),
    (["Could you show me some strawberries?"], "strawberr"),
    (["I need an image of a sleeping cat."], "cat"),
    (["Let me see a sailing boat."], "boat"),
    (["Show me the moon."], "moon"),
    (["Find a picture of two dogs playing."], "dog"),
    (["Show me a dog.", "Another one, please."], "dog"),
    (["Show me a car.", "Another one like that, but red."], "red"),
    (["Can I see a guitar?", "Show me another."], "guitar"),
    (["Show me a house.", "And now a tree."], "tree"),
    (["Show me a flower.", "The same, but yellow."], "yellow"),
    (["What do bees eat?", "Show me a bee."], "bee"),
    (["What do hedgehogs eat?"], None),
    (["What is two plus three?"], None),
    (["Hello!"], None),
    (["Thank you very much."], None),
    (["How many legs does a spider have?"], None),
    (["Show me a cat.", "Why do cats purr?"], None),
    (["Tell me about France."], None),
    (["Show me a rocket.", "Thanks!"], None),
    (["What is the largest planet?"], None),
    (["Who was the first person on the moon?"], None),
    (["Can you write a sentence about trees?"], None),
    (["Good night!"], None),
    (["Is a tomato a fruit?"], None),
    (["Show me a horse.", "How fast can it run?"], None),
]


@torch.inference_mode()
def answer(lm: Llama, ids: List[int], past: Past, row: torch.Tensor, bias: float, pictures: torch.Tensor, most: int = 40) -> Tuple[List[int], bool, Past]:
    """Greedy answer (ids without `[RET]`), whether a picture came, and the keys and values after it."""
    embeds, out, shown = lm.embeddings[torch.tensor(ids)], [], False
    for _ in range(most):
        result = lm.forward(embeds[None], past)
        final, past = result.final[:, -1], result.past
        logits = lm.logits(final)[0]
        if not shown and float(final[0] @ row) + bias > float(logits.max()):
            shown, embeds = True, torch.cat([lm.ret[None], pictures])
            continue
        token = int(logits.argmax())
        if token in (EOS, 0):
            break
        out.append(token)
        embeds = lm.embeddings[[token]]
    return out, shown, past


def main() -> None:
    parser = argparse.ArgumentParser(prog="fromagerie.train.requests", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=Path, default=Path("python/fromagerie/demo/maps.safetensors"))
    parser.add_argument("--data", type=Path, default=Path(".cache/train-data"), help="where the features are cached")
    parser.add_argument("--ret-bias", type=float, default=0.0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    trained = Written(args.maps)
    row, bias = trained.tensors["ret_output_embedding"], float(trained.tensors["ret_output_bias"]) + args.ret_bias
    lm, encode, tokenizer = load_lm()
    lm.ret = trained.tensors["ret_input_embedding"]
    seen = np.concatenate([features.cached(args.data, encoder, splits=()) for encoder in trained.config["encoders"]], 1)
    with torch.inference_mode():
        stand_in = trained.visual_tokens(torch.from_numpy(np.nanmean(seen, 0, keepdims=True)))[0]  # the mean picture's tokens
    start = lm.prefix(encode(wordings.PREAMBLE))
    right = named = wanted = 0
    for turns, word in REQUESTS:
        past = start
        for user in turns:
            said, shown, past = answer(lm, ask_turn(encode, user), past, row, bias, stand_in)
            past = lm.forward(lm.embeddings[encode(wordings.END)][None], past).past
        text = tokenizer.decode(said)
        right += shown == (word is not None)
        wanted += word is not None
        named += bool(word and shown and word in text.lower())
        print("ok " if shown == (word is not None) else "NO ", turns, "->", text, "[RET]" if shown else "", flush=True)
    print(f"preamble {len(encode(wordings.PREAMBLE))} tokens; right {right} of {len(REQUESTS)}; pictures that name the thing {named} of {wanted}")


if __name__ == "__main__":
    main()
