"""What is sent to another host for a worker there: labd's own side, and the task files with what lies beside them."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

BESIDE = (".py", ".json", ".toml", ".csv", ".txt")
LIMIT_BYTES = 16 * 1024 * 1024


class ParcelTooLarge(Exception):
    """The files are more than what is sent; the text names both sizes."""


def parcel(lend: Path, files: Iterable[str]) -> tuple[bytes, str]:
    """A tar file, compressed, with `lend/` and `files/<absolute path>`, and a digest of its content.

    A task file brings what lies in its folder along, as `import` and `open` beside it would find it: small text files
    only, and no folders.

    Raises:
        ParcelTooLarge: More than `LIMIT_BYTES`.
        OSError: A task file cannot be read.
    """
    contents = {f"lend/{path.relative_to(lend)}": path.read_bytes() for path in lend.rglob("*.py")}
    for text in files:
        contents[f"files{text}"] = Path(text).read_bytes()
        for path in sorted(Path(text).parent.iterdir()):
            name = f"files{path}"
            if path.suffix in BESIDE and not path.name.startswith(".") and name not in contents and path.is_file():
                contents[name] = path.read_bytes()
            size = sum(map(len, contents.values()))
            if size > LIMIT_BYTES:
                raise ParcelTooLarge(
                    f"the task files with what lies in their folders have {size} bytes or more, "
                    f"and at most {LIMIT_BYTES} are sent; move what the tasks do not need out of {Path(text).parent}"
                )
    digest = hashlib.sha256()
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz", compresslevel=6) as tar:
        for name, content in sorted(contents.items()):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return whole.getvalue(), digest.hexdigest()[:16]
