"""Goal: a download that was cut goes on where it stopped, and nothing but the pinned bytes ever gets a wheel's name.

Method: an index on the loopback that cuts connections, ignores ranges, lists other bytes, or speaks no JSON.
"""

import hashlib
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fromagerie.setup.resume import Index, configured_index, download

NAME = "thing-1.0-py3-none-any.whl"
BYTES = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(BYTES).hexdigest()


class Shop:
    """An index with one wheel; `cuts` connections end after a third of what they promised."""

    def __init__(self, contents=BYTES, cuts=0, ranges=True, plain=False):
        self.contents, self.cuts, self.ranges, self.plain, self.sent, self.asked = contents, cuts, ranges, plain, 0, []
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                if self.path == "/simple/thing/":
                    return self.listing()
                start = int(re.match(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-")).group(1))
                shop.asked.append(start)
                start = start if shop.ranges else 0
                if start >= len(shop.contents):
                    return self.send_error(416)
                body = shop.contents[start:]
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if shop.cuts:
                    shop.cuts -= 1
                    body = body[: len(body) // 3]
                shop.sent += len(body)  # before the bytes: who has read the last of them may look here at once
                self.wfile.write(body)

            def listing(self):
                file = {"filename": NAME, "url": f"../../files/{NAME}", "hashes": {"sha256": DIGEST}}
                body = b"<html></html>" if shop.plain else json.dumps({"files": [file]}).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def fetch(self, folder, say=lambda line: None):
        index = Index(f"http://127.0.0.1:{self.server.server_port}/simple")
        return download(folder, index, "thing", frozenset([DIGEST]), lambda name: True, say, pause_s=0)


def test_a_cut_download_goes_on_where_it_stopped(tmp_path):
    shop = Shop(cuts=3)
    path = shop.fetch(tmp_path)
    assert path.name == NAME and path.read_bytes() == BYTES
    assert shop.sent == len(BYTES) and shop.asked == sorted(set(shop.asked)) and len(shop.asked) == 4
    assert [file.name for file in tmp_path.iterdir()] == [NAME]


def test_what_an_earlier_run_left_is_used(tmp_path):
    shop = Shop(cuts=5)
    assert shop.fetch(tmp_path) is None
    left = (tmp_path / f".{DIGEST}.partial").stat().st_size
    assert 0 < left < len(BYTES) and not (tmp_path / NAME).exists()
    said = []
    assert shop.fetch(tmp_path, said.append).read_bytes() == BYTES
    assert shop.asked[-1] == left and shop.sent == len(BYTES) and "going on after" in said[0]


def test_without_ranges_it_starts_again(tmp_path):
    assert Shop(cuts=1, ranges=False).fetch(tmp_path).read_bytes() == BYTES


@pytest.mark.parametrize("left", [b"other bytes", BYTES[:1000] + b"x", BYTES + b"more"])
def test_a_part_of_other_bytes_is_thrown_away(tmp_path, left):
    (tmp_path / f".{DIGEST}.partial").write_bytes(left)
    assert Shop().fetch(tmp_path).read_bytes() == BYTES


def test_other_bytes_than_pinned_never_get_the_name(tmp_path):
    assert Shop(contents=BYTES[:-1] + b"x").fetch(tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_an_index_without_json_is_left_to_pip(tmp_path):
    assert Shop(plain=True).fetch(tmp_path) is None


def test_no_index_at_all_is_left_to_pip(tmp_path):
    index = Index("file:///etc/passwd")
    assert download(tmp_path, index, "thing", frozenset([DIGEST]), lambda name: True, print, pause_s=0) is None


@pytest.mark.parametrize("config,expected", [
    ("", Index("https://pypi.org/simple")),
    ("global.index-url='https://a.example/simple/'\n:env:.cert='/c.pem'", Index("https://a.example/simple", "/c.pem")),
    ("global.no-index='true'", None),
])  # fmt: skip
def test_the_index_is_the_one_of_pip(config, expected):
    assert configured_index([sys.executable, "-c", f"print({config!r})"]) == expected
    assert configured_index([sys.executable, "-c", "raise SystemExit(1)"]) is None
