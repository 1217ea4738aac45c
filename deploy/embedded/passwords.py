"""The stack's users: made once with random passwords, kept in two files.

Both in the stack's folder:

    credentials.json   users and their passwords, mode 0600
    users.json         the same users with salted hashes, what the ClickHouse process reads
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from deploy.embedded.auth import Profile, write_users_file
from deploy.embedded.errors import StackError

__all__ = ["PROFILES", "clickhouse_passwords", "stored_passwords"]

PROFILES: Final[Mapping[str, Profile]] = {
    "classpulse_admin": Profile.ADMIN,
    "classpulse_worker": Profile.WRITER,
    "classpulse_reader": Profile.READONLY,
}
_PASSWORD_BYTES: Final = 24


def clickhouse_passwords(folder: Path) -> dict[str, str]:
    """ClickHouse's users and passwords; the file its process reads is there afterwards. Raises StackError."""
    existed = (folder / "credentials.json").exists()
    passwords = stored_passwords(folder / "credentials.json", PROFILES)
    if not existed or not (folder / "users.json").exists():
        users = {name: (PROFILES[name], password) for name, password in passwords.items() if name in PROFILES}
        write_users_file(folder / "users.json", users)
    return passwords


def stored_passwords(path: Path, names: Iterable[str]) -> dict[str, str]:
    """The passwords of a file; a missing file is made, mode 0600, with random ones. Raises StackError."""
    if path.exists():
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            return {str(name): str(password) for name, password in stored.items()}
        except (OSError, ValueError, AttributeError) as error:
            raise StackError(f"{path} cannot be read ({error}); remove it to have new passwords made") from error
    passwords = {name: secrets.token_urlsafe(_PASSWORD_BYTES) for name in names}
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(passwords, file, indent=2)
        file.write("\n")
    partial.replace(path)
    return passwords
