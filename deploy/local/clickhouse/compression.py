"""The content encodings of request and response bodies: gzip, deflate, lz4 (frame), zstd."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Protocol, cast

import lz4.frame
from backports import zstd

from deploy.local.clickhouse.errors import EngineError

__all__ = ["LARGEST_DECODED_BYTES", "Compressor", "Readable", "accepted_encoding", "compressor", "decompressed"]

# Cheapest first: loopback has more bandwidth than the machine has CPU.
_PREFERRED = ("lz4", "zstd", "gzip", "deflate")
_GZIP_WINDOW_BITS = 31
_ZSTD_LARGEST_WINDOW_LOG = 27
_ENCODED_BYTES = 262_144
_DECODED_BYTES = 2**20
# A small body may decompress to any size, or consist of frames without content; no client of ours comes near either.
LARGEST_DECODED_BYTES = 16 * 2**30
_MOST_FRAMES = 10_000


class Readable(Protocol):
    """A blocking source of bytes: `read(n)` gives at most n bytes, b"" at the end."""

    def read(self, size: int = -1, /) -> bytes:
        """Block until there are bytes, or the end."""


class Compressor(Protocol):
    """Compresses one response body, piece by piece."""

    def compress(self, data: bytes, /) -> bytes:
        """Take the next piece; what comes back may be empty."""

    def finish(self) -> bytes:
        """The rest, with the end of the frame."""


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


class _Decoder(Protocol):
    """What the bounded decompressors of lz4 and zstd have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes | None: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _ZlibDecoder:
    """zlib's decompressor in the shape of the others."""

    def __init__(self, window_bits: int) -> None:
        self._inner = zlib.decompressobj(window_bits)
        self._starved = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return self._starved

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        decoded = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self._starved = not self._inner.unconsumed_tail and len(decoded) < max_length
        return decoded


class _Decoded:
    """A compressed body read piece by piece; holds one compressed piece and at most one decoded one."""

    def __init__(self, source: Readable, make: Callable[[], _Decoder], encoding: str) -> None:
        self._source = source
        self._make = make
        self._decoder = make()
        self._encoding = encoding
        self._pending = b""
        self._frames = 1
        self._total_bytes = 0

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._decode(size if size > 0 else _DECODED_BYTES)
        except (OSError, EOFError, RuntimeError, ValueError, zlib.error, zstd.ZstdError) as error:
            raise EngineError(
                354,
                f"Cannot decompress the request body with Content-Encoding {self._encoding}: {error}",
                status=400,
            ) from error

    def _decode(self, wanted: int) -> bytes:
        data = b""
        while not data:
            if self._decoder.eof and not self._next_frame():
                break
            piece = self._next_piece() if self._decoder.needs_input else b""
            if not piece and self._decoder.needs_input:
                raise EOFError("it ends early")
            data = self._decoder.decompress(piece, wanted)
        self._total_bytes += len(data)
        if self._total_bytes > LARGEST_DECODED_BYTES:
            raise EngineError(307, f"The request body decompresses to more than {LARGEST_DECODED_BYTES} bytes")
        return data

    def _next_piece(self) -> bytes:
        piece, self._pending = self._pending or self._source.read(_ENCODED_BYTES), b""
        return piece

    def _next_frame(self) -> bool:
        """Several frames in a row are one body; False when nothing follows."""
        rest = self._decoder.unused_data or self._source.read(_ENCODED_BYTES)
        if not rest:
            return False
        self._frames += 1
        if self._frames > _MOST_FRAMES:
            raise ValueError(f"more than {_MOST_FRAMES} frames")
        self._decoder = self._make()
        self._pending = rest
        return True


def decompressed(source: Readable, encoding: str) -> Readable:
    """`source` decoded from a Content-Encoding, read in bounded memory.

    Raises EngineError 48 for an encoding this server does not know.
    """
    match encoding:
        case "" | "identity":
            return source
        case "gzip" | "x-gzip":
            return _Decoded(source, lambda: _ZlibDecoder(_GZIP_WINDOW_BITS), encoding)
        case "deflate":
            return _Decoded(source, lambda: _ZlibDecoder(zlib.MAX_WBITS), encoding)
        case "lz4":
            return _Decoded(source, lz4.frame.LZ4FrameDecompressor, encoding)
        case "zstd":
            limits = {int(zstd.DecompressionParameter.window_log_max): _ZSTD_LARGEST_WINDOW_LOG}
            return _Decoded(source, lambda: zstd.ZstdDecompressor(options=limits), encoding)
    raise EngineError(48, f"Unsupported Content-Encoding {encoding}; use one of {', '.join(_PREFERRED)}")
