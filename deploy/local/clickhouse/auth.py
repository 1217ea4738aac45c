"""Who may send queries: the users file and password hashes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.clickhouse.errors import EngineError, StackError
from deploy.local.clickhouse.grants import Profile

__all__ = ["Credentials", "User", "Users", "credentials_of", "write_users_file"]

_FILE_VERSION = 1
_SCRYPT_COST = 2**14
_SCRYPT_BLOCK = 8
_SALT_BYTES = 16
_REMEMBERED_LOGINS = 256


@dataclass(frozen=True, slots=True)
class User:
    """A user that has proved its password."""

    name: str
    profile: Profile


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request claims; `given` is False when it named no user at all."""

    name: str
    password: str
    given: bool

    def __repr__(self) -> str:
        return f"Credentials(name={self.name!r}, password=***)"


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    profile: Profile
    salt: bytes
    digest: bytes


def _digest(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_SCRYPT_COST, r=_SCRYPT_BLOCK, p=1, maxmem=2**26)


def write_users_file(path: Path, users: Mapping[str, tuple[Profile, str]]) -> None:
    """Write the users file (JSON, mode 0600): name -> (profile, password); only salted scrypt hashes are stored."""
    entries = []
    for name, (profile, password) in users.items():
        salt = secrets.token_bytes(_SALT_BYTES)
        entries.append(
            {
                "name": name,
                "profile": profile.value,
                "scheme": "scrypt",
                "salt": salt.hex(),
                "hash": _digest(password, salt).hex(),
            }
        )
    text = json.dumps({"version": _FILE_VERSION, "users": entries}, indent=2) + "\n"
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    partial.replace(path)


class Users:
    """The users of one server. Thread-safe."""

    def __init__(self, entries: Mapping[str, _Entry]) -> None:
        self._entries = dict(entries)
        # scrypt costs about 50 ms: a login that was right once is remembered under a key only this process can compute.
        self._login_key = secrets.token_bytes(32)
        self._logins: OrderedDict[bytes, str] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def read(cls, path: Path) -> Users:
        """Read a users file. Raises StackError when it is missing, readable by others, or malformed."""
        try:
            mode = path.stat().st_mode & 0o077
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StackError(f"cannot read the users file {path}: {error}; create it with write_users_file()") from error
        if mode:
            raise StackError(f"the users file {path} is open to other accounts; run: chmod 600 {path}")
        try:
            if document["version"] != _FILE_VERSION:
                raise StackError(f"the users file {path} has version {document['version']}, expected {_FILE_VERSION}")
            entries = {
                item["name"]: _Entry(
                    item["name"],
                    Profile(item["profile"]),
                    bytes.fromhex(item["salt"]),
                    bytes.fromhex(item["hash"]),
                )
                for item in document["users"]
            }
        except (KeyError, TypeError, ValueError) as error:
            raise StackError(f"the users file {path} is malformed: {error!r}") from error
        return cls(entries)

    def remembered(self, credentials: Credentials) -> User | None:
        """The user when exactly this name and password were right before; costs microseconds."""
        key = self._key(credentials)
        with self._lock:
            name = self._logins.get(key)
            if name is None:
                return None
            self._logins.move_to_end(key)
        entry = self._entries[name]
        return User(entry.name, entry.profile)

    def check(self, credentials: Credentials) -> User:
        """Verify a password (about 50 ms of CPU). Raises EngineError 516 as ClickHouse does."""
        entry = self._entries.get(credentials.name)
        salt = entry.salt if entry is not None else b"\x00" * _SALT_BYTES
        digest = _digest(credentials.password, salt)
        if entry is None or not hmac.compare_digest(digest, entry.digest):
            raise EngineError(
                516,
                f"{credentials.name}: Authentication failed: password is incorrect, or there is no user with such name.",
                status=403 if credentials.given else 401,
            )
        with self._lock:
            self._logins[self._key(credentials)] = entry.name
            while len(self._logins) > _REMEMBERED_LOGINS:
                self._logins.popitem(last=False)
        return User(entry.name, entry.profile)

    def _key(self, credentials: Credentials) -> bytes:
        claim = json.dumps([credentials.name, credentials.password]).encode()
        return hmac.new(self._login_key, claim, hashlib.sha256).digest()


def credentials_of(headers: Mapping[str, str], parameters: Mapping[str, str]) -> Credentials:
    """Name and password from X-ClickHouse-User/-Key, Basic authorization, or the `user`/`password` URL parameters.

    Raises EngineError 516 when two of the ways are mixed, or the authorization header cannot be read.
    """
    header_name = headers.get("X-ClickHouse-User")
    header_key = headers.get("X-ClickHouse-Key")
    authorization = headers.get("Authorization")
    by_header = header_name is not None or header_key is not None
    by_parameter = "user" in parameters or "password" in parameters
    if (by_header and (authorization is not None or by_parameter)) or (authorization is not None and by_parameter):
        raise EngineError(
            516,
            "Invalid authentication: it is not allowed to use two of: X-ClickHouse HTTP headers, "
            "Authorization HTTP header, authentication via parameters simultaneously",
        )
    if by_header:
        return Credentials(header_name or "default", header_key or "", given=True)
    if authorization is not None:
        return _from_basic(authorization)
    if by_parameter:
        return Credentials(parameters.get("user", "default"), parameters.get("password", ""), given=True)
    return Credentials("default", "", given=False)


def _from_basic(authorization: str) -> Credentials:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise EngineError(516, f"Invalid authentication: '{scheme[:20]}' HTTP Authorization scheme is not supported")
    try:
        name, separator, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:
        name = separator = password = ""
    if not separator:
        raise EngineError(516, "Invalid authentication: the Authorization header is not valid base64 of user:password")
    return Credentials(name or "default", password, given=True)
