"""A server of our own for as long as a block lasts."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Server:
    """`fromagerie serve` on a free port; `address` is where it listens."""

    def __init__(self, binary: Path, database: Path, bundle: Path):
        self._command = [binary, "serve", "--db", database, "--bundle", bundle, "--listen", "127.0.0.1:0"]
        self.address = ""

    def __enter__(self) -> Server:
        command = [str(part) for part in self._command]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for line in self._process.stdout:
            if line.startswith("listening on "):
                self.address = line.removeprefix("listening on ").strip()
                return self
        raise RuntimeError(f"the server ended with code {self._process.wait()} before it listened")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
