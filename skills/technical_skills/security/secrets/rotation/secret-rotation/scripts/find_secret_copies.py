#!/usr/bin/env python3
"""Find every file that holds a secret, also in encoded form. The secret comes from standard input.

    python3 find_secret_copies.py DIRECTORY... < secret-file

Looks for the plain, URL-encoded, hexadecimal and base64 forms (all three alignments, so a secret
inside a longer encoded text is found) and prints `path:line: form`. The value is never printed.
Exit codes: 0 not found, 1 found, 2 bad input or a directory that cannot be read.
"""

import argparse
import base64
import os
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

SHORTEST = 8
SKIPPED = {"node_modules", "__pycache__", ".venv", ".mypy_cache"}


def needles(secret: bytes) -> dict[str, bytes]:
    """The byte strings to look for, by the name of their form."""
    forms = {"plain": secret, "hex": secret.hex().encode()}
    quoted = urllib.parse.quote_from_bytes(secret, safe="").encode()
    if quoted != secret:
        forms["url-encoded"] = quoted
    for shift in range(3):
        # The first and last characters of each alignment mix with neighbours: leave them out.
        encoded = base64.b64encode(b"\0" * shift + secret).rstrip(b"=")
        start = (0, 2, 3)[shift]
        stop = len(encoded) - (1 if (shift + len(secret)) % 3 else 0)
        forms[f"base64+{shift}"] = encoded[start:stop]
    url_safe = {
        f"{name}, url-safe": text.translate(bytes.maketrans(b"+/", b"-_"))
        for name, text in forms.items()
        if name.startswith("base64")
    }
    return forms | {name: text for name, text in url_safe.items() if text not in forms.values()}


def files(roots: list[Path], biggest: int) -> Iterator[Path]:
    for root in roots:
        if root.is_file():
            yield root
            continue
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders if name not in SKIPPED)
            for name in sorted(names):
                path = Path(folder, name)
                if path.is_file() and not path.is_symlink() and path.stat().st_size <= biggest:
                    yield path


def places(data: bytes, forms: dict[str, bytes]) -> Iterator[tuple[int, str]]:
    """(1-based line, form) of each place, once per line and form."""
    folded = data.lower()
    for name, needle in forms.items():
        insensitive = name == "hex" or name == "url-encoded"
        haystack, wanted = (folded, needle.lower()) if insensitive else (data, needle)
        at, last = haystack.find(wanted), 0
        while at >= 0:
            line = data.count(b"\n", 0, at) + 1
            if line != last:
                yield line, name
            last = line
            at = haystack.find(wanted, at + 1)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("roots", nargs="+", type=Path, metavar="DIRECTORY")
    parser.add_argument("--max-megabytes", type=float, default=20.0, help="larger files are left out (20)")
    arguments = parser.parse_args()
    for root in arguments.roots:
        if not root.exists():
            print(f"find_secret_copies: {root} does not exist", file=sys.stderr)
            return 2
    if sys.stdin.isatty():
        parser.error("give the secret on standard input: ... < secret-file")
    secret = sys.stdin.buffer.read().rstrip(b"\r\n")
    if len(secret) < SHORTEST:
        print(f"find_secret_copies: fewer than {SHORTEST} bytes would match everywhere", file=sys.stderr)
        return 2
    forms, found, unread = needles(secret), 0, 0
    for path in files(arguments.roots, int(arguments.max_megabytes * 1_000_000)):
        try:
            data = path.read_bytes()
        except OSError as error:
            print(f"find_secret_copies: {path}: {error.strerror}", file=sys.stderr)
            unread += 1
            continue
        for line, form in sorted(places(data, forms)):
            print(f"{path}:{line}: {form}")
            found += 1
    print(f"{found} places, {unread} files not readable", file=sys.stderr)
    return 2 if unread and not found else int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
