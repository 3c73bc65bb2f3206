"""Fetches what the project does not carry: ONNX Runtime's library, frozen models, demo pictures.

Runs on the system's plain Python (3.9 or later) with the standard library alone. Everything lands in `.cache/`
under the repository and is checked against the lock files in `python/requirements/`; a second run does nothing.

Read first: `__main__.py` (the verbs), then `fetch.py` (locks and downloads).
"""
