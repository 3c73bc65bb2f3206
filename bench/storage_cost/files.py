"""What the files of a database hold, read as `docs/FORMAT.md` draws them: bytes by part."""

import struct
from pathlib import Path

PARTS = {
    1: "vectors",
    2: "key offsets",
    3: "keys",
    4: "key order",
    5: "document offsets",
    6: "documents",
    7: "feature rows",
    8: "features",
    9: "graph",
    10: "payloads",
}


def parts_of(segment: Path) -> dict[str, int]:
    """Bytes of each part of a sealed segment; what is left is checksums, header, footer and padding."""
    with segment.open("rb") as file:
        file.seek(-16, 2)
        tail = file.tell()
        (footer,) = struct.unpack("<Q", file.read(8))
        file.seek(footer)
        frame = file.read(tail - footer)
    (count,) = struct.unpack_from("<Q", frame, 32)
    found = {}
    for part in range(count):
        kind, _, size = struct.unpack_from("<IQQ", frame, 40 + 32 * part)
        found[PARTS.get(kind, f"part {kind}")] = size
    found["checksums, header, footer, padding"] = tail + 16 - sum(found.values())
    return found


def by_part(db: Path) -> dict[str, int]:
    """Bytes of a whole database by part."""
    total: dict[str, int] = {}
    for path in sorted(db.rglob("*")):
        if path.is_file():
            kinds = {".fms": parts_of, ".fmj": lambda p: {"journal": size(p)}, ".fmm": lambda p: {"manifest": size(p)}}
            found = kinds.get(path.suffix, lambda p: {"catalog and small files": size(p)})(path)
            for name, count in found.items():
                total[name] = total.get(name, 0) + count
    return total


def size(path: Path) -> int:
    return path.stat().st_size


def on_disk(folder: Path) -> int:
    """Bytes that the files of a folder take on the disk."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
