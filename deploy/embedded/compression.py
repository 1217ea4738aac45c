"""The content encodings of request and response bodies: gzip, deflate, lz4 (frame), zstd."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import Any, Protocol, cast

import lz4.frame
from backports import zstd

from deploy.embedded.errors import EngineError

__all__ = ["Compressor", "Readable", "accepted_encoding", "compressor", "decompressed"]

# Cheapest first: loopback has more bandwidth than the machine has CPU.
_PREFERRED = ("lz4", "zstd", "gzip", "deflate")
_GZIP_WINDOW_BITS = 31
_ZSTD_LARGEST_WINDOW_LOG = 27


class Readable(Protocol):
    """A blocking source of bytes: `read(n)` gives at most n bytes, b"" at the end."""

    def read(self, size: int = -1, /) -> bytes: ...


class Compressor(Protocol):
    """Compresses one response body, piece by piece."""

    def compress(self, data: bytes, /) -> bytes: ...

    def finish(self) -> bytes: ...


def accepted_encoding(accept_encoding: str) -> str:
    """The encoding to answer with for an Accept-Encoding header; empty when none of ours is accepted."""
    offered = set()
    for part in accept_encoding.split(","):
        name, _, quality = part.strip().partition(";")
        if quality.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}:
            offered.add(name.strip().lower())
    return next((name for name in _PREFERRED if name in offered), "")


class _Zlib:
    def __init__(self, window_bits: int) -> None:
        self._inner = zlib.compressobj(level=1, wbits=window_bits)

    def compress(self, data: bytes, /) -> bytes:
        return self._inner.compress(data)

    def finish(self) -> bytes:
        return self._inner.flush()


class _Zstd:
    def __init__(self) -> None:
        self._inner = zstd.ZstdCompressor(level=1)

    def compress(self, data: bytes, /) -> bytes:
        return self._inner.compress(data)

    def finish(self) -> bytes:
        return self._inner.flush()


class _Lz4:
    def __init__(self) -> None:
        self._inner: Any = lz4.frame.LZ4FrameCompressor()
        self._begun = False

    def compress(self, data: bytes, /) -> bytes:
        head = b"" if self._begun else self._inner.begin()
        self._begun = True
        return cast(bytes, head + self._inner.compress(data))

    def finish(self) -> bytes:
        head = b"" if self._begun else self._inner.begin()
        self._begun = True
        return cast(bytes, head + self._inner.flush())


def compressor(encoding: str) -> Compressor:
    """A fresh compressor for one of the names `accepted_encoding` gives."""
    match encoding:
        case "lz4":
            return _Lz4()
        case "zstd":
            return _Zstd()
        case "gzip":
            return _Zlib(_GZIP_WINDOW_BITS)
        case "deflate":
            return _Zlib(zlib.MAX_WBITS)
    raise EngineError(48, f"Unknown compression method {encoding}; use one of {', '.join(_PREFERRED)}")


class _Deflated:
    """A deflate body read piece by piece; never holds more than one compressed piece and what it expands to."""

    _PIECE_BYTES = 65_536

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._inner = zlib.decompressobj()

    def read(self, size: int = -1, /) -> bytes:
        wanted = size if size > 0 else 2**20
        while not self._inner.eof:
            piece = self._inner.unconsumed_tail or self._source.read(self._PIECE_BYTES)
            if not piece:
                raise EOFError("the deflate body ends early")
            data = self._inner.decompress(piece, wanted)
            if data:
                return data
        return b""


class _Guarded:
    """Turns a broken compressed body into the error ClickHouse answers."""

    def __init__(self, inner: Readable, encoding: str) -> None:
        self._inner = inner
        self._encoding = encoding

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._inner.read(size)
        except (OSError, EOFError, RuntimeError, ValueError, zlib.error, zstd.ZstdError) as error:
            raise EngineError(
                354,
                f"Cannot decompress the request body with Content-Encoding {self._encoding}: {error}",
                status=400,
            ) from error


class _Pulled(io.RawIOBase):
    """Lets the standard decompressors, which want a file, read from a `Readable`."""

    def __init__(self, source: Readable) -> None:
        super().__init__()
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def decompressed(source: Readable, encoding: str) -> Readable:
    """`source` decoded from a Content-Encoding, read in bounded memory.

    Raises EngineError 48 for an encoding this server does not know.
    """
    match encoding:
        case "" | "identity":
            return source
        case "gzip" | "x-gzip":
            inner: Readable = gzip.GzipFile(fileobj=io.BufferedReader(_Pulled(source), 65_536))
        case "deflate":
            inner = _Deflated(source)
        case "lz4":
            inner = lz4.frame.LZ4FrameFile(io.BufferedReader(_Pulled(source), 65_536))
        case "zstd":
            limits = {zstd.DecompressionParameter.window_log_max: _ZSTD_LARGEST_WINDOW_LOG}
            inner = zstd.ZstdFile(io.BufferedReader(_Pulled(source), 65_536), options=limits)
        case _:
            raise EngineError(
                48, f"Unsupported Content-Encoding {encoding}; use one of {', '.join(_PREFERRED)}"
            )
    return _Guarded(inner, encoding)
