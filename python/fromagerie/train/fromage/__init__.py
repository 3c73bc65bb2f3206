"""FROMAGe's recipe for any frozen language model and CLIP encoder: pairs of pictures and captions in, a model directory out
that `python -m fromagerie.export fromage` takes.

Read next: `run.py` (the loop), then `pairs.py`, `features.py`, `model.py`, `steps.py`, `judge.py`.
"""
