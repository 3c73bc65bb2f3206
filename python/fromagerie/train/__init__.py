"""Trains the small maps between a frozen language model and a frozen vision encoder, in FROMAGe's way.

`fromage/` does so for models of one's own; the rest is the demo's. Of that, read `fit.py` first (the whole recipe), then `data.py` (what it learns from), `split.py` (what is held out),
`eval.py` (the figure). Needs the extra `train` (PyTorch, CPU is enough).
"""
