"""TLS by the system's OpenSSL, for connections whose later reads and writes are compiled code's.

Python's own `ssl` hides the connection's address, and may be linked with another OpenSSL than the
system's. So context, handshake and certificate check are done here, through ctypes on libssl.so.3;
afterwards a thread that owns the connection calls SSL_read and SSL_write on `TlsSession.address`.
TLS 1.2 or newer; the peer's certificate and name are always verified.
"""

import ctypes
import ipaddress
import ssl
import weakref
from collections.abc import Iterable
from functools import cache
from typing import Any

from alephtx.core.errors import ConfigError, TransportError
from alephtx.core.syscalls import tls_library

WANT_READ, WANT_WRITE = 2, 3
DONE = 0

_ZERO_RETURN = 6
_VERIFY_PEER = 1
_TLS_1_2 = 0x0303
_CTRL_MODE, _CTRL_READ_AHEAD, _CTRL_CACHE_MODE = 33, 41, 44
_CTRL_HOST_NAME, _CTRL_MIN_VERSION = 55, 123
_MODE_PARTIAL_WRITE, _MODE_MOVING_BUFFER = 1, 2
# A hang-up without a goodbye is an end like any other: a WebSocket has its own. No renegotiation:
# then a write never waits for a read.
_OP_IGNORE_EOF, _OP_NO_COMPRESSION, _OP_NO_RENEGOTIATION = 1 << 7, 1 << 17, 1 << 30
_NO_PARTIAL_WILDCARDS = 4
_VERIFY_OK = 0

_P, _I, _L, _S, _U = (
    ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_char_p, ctypes.c_uint64,
)  # fmt: skip
_SSL_KINDS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "TLS_client_method": (_P, ()), "SSL_CTX_new": (_P, (_P,)), "SSL_CTX_free": (None, (_P,)),
    "SSL_CTX_ctrl": (_L, (_P, _I, _L, _P)), "SSL_CTX_set_options": (_U, (_P, _U)),
    "SSL_CTX_set_verify": (None, (_P, _I, _P)), "SSL_CTX_set_default_verify_paths": (_I, (_P,)),
    "SSL_CTX_get_cert_store": (_P, (_P,)), "SSL_new": (_P, (_P,)), "SSL_free": (None, (_P,)),
    "SSL_set_fd": (_I, (_P, _I)), "SSL_ctrl": (_L, (_P, _I, _L, _S)),
    "SSL_set1_host": (_I, (_P, _S)),
    "SSL_set_hostflags": (None, (_P, ctypes.c_uint)), "SSL_set_connect_state": (None, (_P,)),
    "SSL_do_handshake": (_I, (_P,)), "SSL_get_error": (_I, (_P, _I)),
    "SSL_get_verify_result": (_L, (_P,)), "SSL_get_version": (_S, (_P,)),
    "SSL_read": (_I, (_P, _P, _I)), "SSL_write": (_I, (_P, _P, _I)), "SSL_shutdown": (_I, (_P,)),
}  # fmt: skip
_CRYPTO_KINDS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "ERR_clear_error": (None, ()), "ERR_peek_last_error": (ctypes.c_ulong, ()),
    "ERR_reason_error_string": (_S, (ctypes.c_ulong,)),
    "X509_verify_cert_error_string": (_S, (_L,)), "d2i_X509": (_P, (_P, _P, _L)),
    "X509_free": (None, (_P,)), "X509_STORE_add_cert": (_I, (_P, _P)),
}  # fmt: skip


class _Functions:
    """The functions above, typed, on objects of their own: others may type them otherwise."""

    def __init__(self) -> None:
        library = tls_library()
        for home, kinds in ((library.ssl, _SSL_KINDS), (library.crypto, _CRYPTO_KINDS)):
            for name, (result, arguments) in kinds.items():
                found = ctypes.CFUNCTYPE(result, *arguments, use_errno=True)
                setattr(self, name, found((name, home)))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


@cache
def _functions() -> _Functions:
    return _Functions()


def error_text(error: int) -> str:
    """Return what an OpenSSL error says, as Python's own `ssl` spells it."""
    said = _functions().ERR_reason_error_string(error)
    return said.decode("ascii", "replace").upper().replace(" ", "_") if said else f"error {error}"


class TlsContext:
    """What connections have in common: whom to trust, and how to speak.

    authorities: certificates (DER) of those to trust; None: those that the system trusts.
    """

    def __init__(self, authorities: Iterable[bytes] | None = None) -> None:
        lib = _functions()
        self.address = lib.SSL_CTX_new(lib.TLS_client_method())
        if not self.address:
            raise ConfigError("the system's OpenSSL makes no TLS context")
        weakref.finalize(self, lib.SSL_CTX_free, self.address)
        lib.SSL_CTX_ctrl(self.address, _CTRL_MIN_VERSION, _TLS_1_2, None)
        modes = _MODE_PARTIAL_WRITE | _MODE_MOVING_BUFFER
        lib.SSL_CTX_ctrl(self.address, _CTRL_MODE, modes, None)
        lib.SSL_CTX_ctrl(self.address, _CTRL_READ_AHEAD, 1, None)  # one system call a read, not two
        lib.SSL_CTX_ctrl(self.address, _CTRL_CACHE_MODE, 0, None)
        options = _OP_IGNORE_EOF | _OP_NO_COMPRESSION | _OP_NO_RENEGOTIATION
        lib.SSL_CTX_set_options(self.address, options)
        lib.SSL_CTX_set_verify(self.address, _VERIFY_PEER, None)
        if authorities is None:
            lib.SSL_CTX_set_default_verify_paths(self.address)
        else:
            for one in authorities:
                self._trust(one)

    def _trust(self, certificate: bytes) -> None:
        lib = _functions()
        held = ctypes.create_string_buffer(certificate, len(certificate))
        at = ctypes.c_void_p(ctypes.addressof(held))
        read = lib.d2i_X509(None, ctypes.addressof(at), len(certificate))
        if not read:
            lib.ERR_clear_error()
            raise ConfigError("an authority's certificate cannot be read", remedy="it must be DER")
        lib.X509_STORE_add_cert(lib.SSL_CTX_get_cert_store(self.address), read)
        lib.X509_free(read)
        lib.ERR_clear_error()


@cache
def system_context() -> TlsContext:
    """Return the context that trusts whom the system trusts; reading them takes some ms, once."""
    return TlsContext()


def context_like(given: ssl.SSLContext | None) -> TlsContext:
    """Return a context that trusts the authorities loaded into a context of Python's."""
    return system_context() if given is None else TlsContext(given.get_ca_certs(binary_form=True))


class TlsSession:
    """One TLS connection over a non-blocking socket, which stays its maker's.

    No method waits: what cannot go on says WANT_READ or WANT_WRITE. Not to be used while another
    thread uses the connection.
    """

    def __init__(self, context: TlsContext, fd: int, host: str, where: str) -> None:
        lib = _functions()
        self._where = where
        self.address: int = lib.SSL_new(context.address) or 0
        if not self.address:
            raise TransportError(f"{where}: TLS failed: no memory for a connection")
        name = host.encode("idna") if not host.isascii() else host.encode()
        lib.SSL_set_hostflags(self.address, _NO_PARTIAL_WILDCARDS)
        fits = lib.SSL_set1_host(self.address, name) == 1
        if not _is_address(host):
            fits = fits and lib.SSL_ctrl(self.address, _CTRL_HOST_NAME, 0, name) == 1
        if not fits or lib.SSL_set_fd(self.address, fd) != 1:
            self.free()
            raise TransportError(f"{where}: TLS failed: a bad host name", retryable=False)
        lib.SSL_set_connect_state(self.address)

    @property
    def version(self) -> str:
        """Return the protocol that was agreed on."""
        return str(_functions().SSL_get_version(self.address).decode())

    def _wants(self, result: int) -> int:
        """Return WANT_READ or WANT_WRITE; TransportError for whatever else went wrong."""
        lib = _functions()
        said = lib.SSL_get_error(self.address, result)
        if said in (WANT_READ, WANT_WRITE):
            return int(said)
        error, verdict = lib.ERR_peek_last_error(), lib.SSL_get_verify_result(self.address)
        lib.ERR_clear_error()
        if not error:
            raise TransportError(f"{self._where}: the server hung up during the handshake")
        text = error_text(error)
        if verdict != _VERIFY_OK:
            text += f" ({lib.X509_verify_cert_error_string(verdict).decode('ascii', 'replace')})"
        raise TransportError(
            f"{self._where}: TLS failed: {text}",
            retryable=False,
            remedy="check the host name and the machine's certificates",
        )

    def handshake(self) -> int:
        """Go on with the handshake: DONE, WANT_READ, WANT_WRITE."""
        lib = _functions()
        lib.ERR_clear_error()
        result = lib.SSL_do_handshake(self.address)
        return DONE if result == 1 else self._wants(result)

    def read(self, size: int) -> bytes | int:
        """Return at most so many bytes, none at the end; or WANT_READ, WANT_WRITE."""
        lib = _functions()
        lib.ERR_clear_error()
        held = ctypes.create_string_buffer(size)
        got = lib.SSL_read(self.address, ctypes.addressof(held), size)
        if got > 0:
            return held.raw[:got]
        if lib.SSL_get_error(self.address, got) == _ZERO_RETURN:
            return b""
        return self._wants(got)

    def write(self, data: bytes) -> tuple[int, int]:
        """Return how many bytes went, and DONE or what to wait for; then give the rest again."""
        lib = _functions()
        lib.ERR_clear_error()
        held = ctypes.create_string_buffer(data, len(data))
        got = lib.SSL_write(self.address, ctypes.addressof(held), len(data))
        return (got, DONE) if got > 0 else (0, self._wants(got))

    def goodbye(self) -> None:
        """Tell the peer that nothing more comes, if that can be said at once."""
        lib = _functions()
        lib.ERR_clear_error()
        lib.SSL_shutdown(self.address)
        lib.ERR_clear_error()

    def free(self) -> None:
        """Give the connection's memory back; safe to repeat. Only its owner may."""
        if self.address:
            _functions().SSL_free(self.address)
            self.address = 0


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
