"""The demo: real pictures, a real model, a conversation over gRPC, and a page that shows it.

`make demo` runs it. `conversation` is what is said, `page` how it is shown; beside them lie the trained maps that the
demo's bundle is assembled with (`maps.safetensors`, `run_card.json`, `LICENSES.md`).
"""
