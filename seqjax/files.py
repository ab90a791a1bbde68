"""Files that others read while they are written anew."""

import os
from pathlib import Path


def replace_file(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Writes a file in one move: a reader, or a crash, meets the old content or the new, whole.

    Text is written as UTF-8 with the line ends that it has.
    """
    path = Path(path)
    # Processes that write the same file do not meet in the partial one.
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            # Otherwise the name may outlive a power failure and the content not.
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
