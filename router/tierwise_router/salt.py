"""Reads the secret salt of a route, with which features of its requests are hashed.

It is read from its file each time that it is needed: a mounted Secret may change, and 64 bytes cost nothing. It is
never logged, and no error repeats it.
"""

from __future__ import annotations

from pathlib import Path

from tierwise.errors import Invalid
from tierwise.routing.text_features import MOST_KEY_BYTES

LEAST_SALT_BYTES = 16


def read_salt(path: Path) -> bytes:
    """The salt in a file. Raises Invalid where it cannot be read, or can be guessed."""
    try:
        salt = path.read_bytes().strip()
    except OSError as error:
        raise Invalid(f"the salt file {path} cannot be read: {error.strerror}") from error
    if not LEAST_SALT_BYTES <= len(salt) <= MOST_KEY_BYTES:
        raise Invalid(f"the salt file {path} must hold {LEAST_SALT_BYTES} to {MOST_KEY_BYTES} bytes of chance")
    return salt
