"""A process of `reference.py`, asked as our side is."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Rival:
    """PyTorch in one way: `rerun` or `cache`."""

    def __init__(
        self, python: Path, way: str, bundle: Path, weights: str, threads: int, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        command = [str(python), str(HERE / "reference.py"), "--way", way, "--bundle", str(bundle), "--weights", weights]
        command += ["--threads", str(threads), "--device", device, "--dtype", dtype]
        environ = dict(os.environ, PYTHONPATH=str(HERE.parents[1] / "python"))
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environ)
        hello = self._read()
        self.version, self.weight_bytes = hello["torch"], hello["weight_bytes"]

    def _read(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"reference.py ended with code {self.process.wait()}")
        return json.loads(line)

    def _ask(self, **ask: object) -> dict:
        print(json.dumps(ask), file=self.process.stdin, flush=True)
        return self._read()

    def ask(self, text: str, tokens: int, image: Path | None = None, ret: bool = False) -> dict:
        """As `Alone.ask`."""
        told = self._ask(do="pass", text=text, tokens=tokens, image=image and str(image), ret=ret)
        return {**told, "milliseconds": told["ms"]}

    def bandwidth(self) -> float:
        """Bytes a second that a product of a large matrix and a vector reads."""
        return self._ask(do="bandwidth")["bytes_per_second"]

    def collection(self, folder: Path) -> "Rival":
        """Reads the pictures that it may show."""
        self._ask(do="collection", pictures=str(folder))
        return self

    def open(self) -> str:
        """A new conversation, in place of the one before."""
        self._ask(do="open")
        return ""

    def turn(self, session: str, said: list[dict], tokens: int, show: bool) -> dict:
        """As `Served.turn`."""
        return self._ask(do="turn", said=said, tokens=tokens, show=show)

    def close(self) -> int:
        """Ends it; its peak memory in bytes."""
        peak = self._ask(do="memory")["peak_bytes"]
        self.process.stdin.close()
        self.process.wait()
        return peak
