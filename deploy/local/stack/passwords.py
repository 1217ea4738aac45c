"""The stack's users: made once with random passwords, kept in two files.

Both in the stack's folder:

    credentials.json   users and their passwords, mode 0600
    users.json         the same users with salted hashes, what the ClickHouse process reads
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from deploy.local.clickhouse.auth import write_users_file
from deploy.local.clickhouse.errors import StackError
from deploy.local.clickhouse.grants import rights

__all__ = ["clickhouse_passwords", "stored_passwords"]

_PASSWORD_BYTES: Final = 24


def clickhouse_passwords(folder: Path) -> dict[str, str]:
    """ClickHouse's users and passwords; the file its process reads is there afterwards. Raises StackError."""
    before = (folder / "credentials.json").read_bytes() if (folder / "credentials.json").exists() else b""
    passwords = stored_passwords(folder / "credentials.json", rights())
    if (folder / "credentials.json").read_bytes() != before or not (folder / "users.json").exists():
        users = {name: (one.profile, passwords[name]) for name, one in rights().items()}
        write_users_file(folder / "users.json", users)
    return passwords


def stored_passwords(path: Path, names: Iterable[str]) -> dict[str, str]:
    """The passwords of a file, mode 0600; who has none there gets a random one. Raises StackError."""
    passwords: dict[str, str] = {}
    if path.exists():
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            passwords = {str(name): str(password) for name, password in stored.items()}
        except (OSError, ValueError, AttributeError) as error:
            raise StackError(f"{path} cannot be read ({error}); remove it to have new passwords made") from error
    missing = [name for name in names if name not in passwords]
    if not missing:
        return passwords
    passwords |= {name: secrets.token_urlsafe(_PASSWORD_BYTES) for name in missing}
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(passwords, file, indent=2)
        file.write("\n")
    partial.replace(path)
    return passwords
