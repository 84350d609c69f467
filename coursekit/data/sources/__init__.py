"""Scripts that rebuild the embedded extracts from the packages that they were taken from."""

import sys
from pathlib import Path

from coursekit.data.catalog import sha256_file


def compare(path: Path, expected: str) -> int:
    """Print the checksum of a rebuilt file and say whether it is the catalog's.

    Args:
        path: The rebuilt file.
        expected: SHA-256 that the catalog records.

    Returns:
        The exit code: 0 when they agree, else 1.
    """
    found = sha256_file(path)
    print(f"{path}: {path.stat().st_size} bytes, sha256 {found}")
    if found != expected:
        print(f"differs from the catalog, which has sha256 {expected}", file=sys.stderr)
        return 1
    print("same bytes as the catalog records")
    return 0
