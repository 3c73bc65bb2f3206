"""Trains the small maps between a frozen language model and a frozen vision encoder, in FROMAGe's way.

Read `fit.py` first (the whole recipe), then `data.py` (what it learns from), `split.py` (what is held out),
`eval.py` (the figure). Needs the extra `train` (PyTorch, CPU is enough).
"""
