"""Downloads that go on where they were cut.

The index that pip is configured for is asked, in the JSON form of its simple API (PEP 691), for the file that has one
of the pinned hashes; its bytes are kept as they come, under a name made of the hash, and a later run asks for the rest
alone. What is unusual (an index without JSON, without hashes, behind a login) is left to pip: `download` returns None.

Read next: `fetch.py`, which falls back on pip.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, FrozenSet, List, Optional

JSON = "application/vnd.pypi.simple.v1+json"
DEFAULT_INDEX = "https://pypi.org/simple"
TIMEOUT_S = 60.0
ATTEMPTS = 5
PIECE = 1 << 18
LISTING_LIMIT = 64 << 20
TROUBLE = (urllib.error.URLError, http.client.HTTPException, OSError, ValueError)


@dataclass(frozen=True)
class Index:
    """Where packages are listed, and what its certificate is checked against."""

    url: str
    certificates: Optional[str] = None

    def open(self, url: str, headers: Dict[str, str]) -> http.client.HTTPResponse:
        """The response to a GET; an address that is not http(s) is refused."""
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(f"not an address to download from: {url}")
        context = ssl.create_default_context(cafile=self.certificates) if url.startswith("https") else None
        request = urllib.request.Request(url, headers=headers)
        return urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context)


def configured_index(pip: List[str]) -> Optional[Index]:
    """The index in pip's configuration (files and environment); None when pip is told not to use one."""
    done = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return None
    settings: Dict[str, str] = {}
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        settings[name.rpartition(".")[2]] = value.strip("'\"")
    if settings.get("no-index", "false").lower() not in ("false", "0", "no", "off"):
        return None
    return Index(settings.get("index-url", DEFAULT_INDEX).rstrip("/"), settings.get("cert"))


@dataclass(frozen=True)
class Remote:
    """A file of the index: its name, its address, its sha-256 in hexadecimal."""

    name: str
    url: str
    digest: str


def _find(index: Index, project: str, hashes: FrozenSet[str], fits: Callable[[str], bool]) -> Optional[Remote]:
    with index.open(f"{index.url}/{project.lower().replace('_', '-')}/", {"Accept": JSON}) as response:
        base = response.geturl()
        listing = json.loads(response.read(LISTING_LIMIT))
    for file in listing["files"]:
        name, digest = file["filename"], file.get("hashes", {}).get("sha256")
        if digest in hashes and fits(name) and name == os.path.basename(name):
            return Remote(name, urllib.parse.urljoin(base, file["url"]), digest)
    return None


def _go_on(index: Index, remote: Remote, partial: Path) -> None:
    """Appends to `partial` what is missing of the file; raises one of TROUBLE when the connection is cut."""
    have = partial.stat().st_size if partial.exists() else 0
    try:
        response = index.open(remote.url, {"Range": f"bytes={have}-"} if have else {})
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is missing, or what is there is not a part of this file: the hash will tell
            return
        raise
    with response, open(partial, "ab" if response.status == 206 else "wb") as out:
        start, length = out.tell(), response.headers.get("Content-Length")
        total = start + int(length) if length else None
        for piece in iter(lambda: response.read(PIECE), b""):
            out.write(piece)
            _show(remote.name, out.tell(), total)
        if total is not None and out.tell() < total:
            raise OSError(f"{remote.name}: the connection ended after {out.tell()} of {total} bytes")


def _show(name: str, done: int, total: Optional[int]) -> None:
    if sys.stderr.isatty():
        end = f"of {total / 1e6:.1f} MB" if total else "MB"
        print(f"\r  {name[:48]}  {done / 1e6:.1f} {end}\x1b[K", end="\r", file=sys.stderr, flush=True)


def sha256(path: Path) -> str:
    """The file's digest in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def download(
    folder: Path, index: Index, project: str, hashes: FrozenSet[str], fits: Callable[[str], bool],
    say: Callable[[str], None], pause_s: float = 1.0,
) -> Optional[Path]:  # fmt: skip
    """The project's file with one of the hashes whose name `fits`, in `folder`; None when pip should try instead.

    What a cut download left (`.<sha256>.partial`) is used; a part that turns out to be of other bytes is removed.
    """
    try:
        remote = _find(index, project, hashes, fits)
    except (*TROUBLE, KeyError, TypeError, AttributeError):
        return None
    if remote is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{remote.digest}.partial"
    if partial.exists():
        say(f"{remote.name}: going on after {partial.stat().st_size / 1e6:.1f} MB")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _go_on(index, remote, partial)
        except TROUBLE as error:
            say(f"{remote.name}: {error} (attempt {attempt} of {ATTEMPTS}; what came is kept)")
            if attempt < ATTEMPTS:
                time.sleep(pause_s * attempt)
            continue
        if sha256(partial) == remote.digest:
            os.replace(partial, folder / remote.name)
            return folder / remote.name
        say(f"{remote.name}: what came does not have the pinned sha-256; fetching it anew")
        partial.unlink()
    return None
