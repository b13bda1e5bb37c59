"""Archives of many files, known by what is in them: the same files packed anew are the same data."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from pathlib import Path


def unpack(content: bytes, folder: str, into: Path) -> None:
    """The files of a zip archive that lie in its ``folder``, wherever that lies itself, into a new folder.

    **Raises** ``ValueError`` for what is no zip archive, or one that is damaged or has no such folder.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            members = {
                Path(name).name: name
                for name in packed.namelist()
                if not name.endswith("/") and Path(name).parent.name == folder
            }
            if not members:
                raise ValueError(f"it has no folder {folder}")
            into.mkdir(parents=True)
            for name, member in members.items():
                (into / name).write_bytes(packed.read(member))
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        shutil.rmtree(into, ignore_errors=True)
        raise ValueError(f"it is no whole zip archive: {error}") from None


def digest(folder: Path) -> tuple[int, str]:
    """Bytes in all, and SHA-256 of a folder's files: of each its name, size and content, in the order of their names."""
    whole, size = hashlib.sha256(), 0
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.is_file() and not path.name.startswith("."):
            content = path.read_bytes()
            whole.update(f"{path.name} {len(content)}\n".encode() + content)
            size += len(content)
    return size, whole.hexdigest()
