"""Ed25519 by the system's libcrypto (OpenSSL 3), the one that Python's own ssl module uses.

It signs in 50 us (PyCryptodome: 2 ms, measured), and a kernel can call it by address. Where there
is no such library, as beside a Python that has OpenSSL built in, `load` returns None.
"""

import ctypes
import weakref
from functools import cache
from typing import Any, NoReturn

_ED25519 = 1087  # NID_ED25519
_NAMES = ("libcrypto.so.3", "libcrypto.so.4")
_POINTER = ctypes.c_void_p


@cache
def load() -> Any:
    """Return the library, None where it is not there."""
    for name in _NAMES:
        try:
            library: Any = ctypes.CDLL(name)
            _declare(library)
        except (OSError, AttributeError):
            continue
        return library
    return None


def _declare(library: Any) -> None:
    size = ctypes.c_size_t
    kinds: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "EVP_PKEY_new_raw_private_key": (_POINTER, (ctypes.c_int, _POINTER, ctypes.c_char_p, size)),
        "EVP_PKEY_free": (None, (_POINTER,)),
        "EVP_MD_CTX_new": (_POINTER, ()),
        "EVP_MD_CTX_free": (None, (_POINTER,)),
        "EVP_DigestSignInit": (ctypes.c_int, (_POINTER,) * 5),
        "EVP_DigestSign": (
            ctypes.c_int, (_POINTER, ctypes.c_char_p, _POINTER, ctypes.c_char_p, size)
        ),
    }  # fmt: skip
    for name, (result, arguments) in kinds.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments


class LibraryKey:
    """A private key inside libcrypto, which wipes it when the last holder lets go.

    key, context: addresses for a kernel; init, sign: of EVP_DigestSignInit and EVP_DigestSign. The
    context is for one thread.
    """

    __slots__ = ("__weakref__", "_library", "context", "init", "key", "sign_at")

    def __init__(self, library: Any, seed: bytes) -> None:
        self._library = library
        self.key: int = library.EVP_PKEY_new_raw_private_key(_ED25519, None, seed, len(seed))
        self.context: int = library.EVP_MD_CTX_new()
        assert self.key, "libcrypto refuses an Ed25519 key"
        assert self.context, "libcrypto has no memory"
        weakref.finalize(self, _free, library, self.key, self.context)
        functions = library.EVP_DigestSignInit, library.EVP_DigestSign
        self.init, self.sign_at = (ctypes.cast(one, _POINTER).value or 0 for one in functions)

    def sign(self, payload: bytes) -> bytes:
        """Return the 64 bytes of a payload's signature."""
        library, context = self._library, self._library.EVP_MD_CTX_new()
        out, size = ctypes.create_string_buffer(64), ctypes.c_size_t(64)
        try:
            done = library.EVP_DigestSignInit(context, None, None, None, self.key)
            where = ctypes.byref(size)
            done &= library.EVP_DigestSign(context, out, where, payload, len(payload))
        finally:
            library.EVP_MD_CTX_free(context)
        assert done == 1, "libcrypto does not sign"
        return out.raw

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key never leaves its process")


def _free(library: Any, key: int, context: int) -> None:
    library.EVP_MD_CTX_free(context)
    library.EVP_PKEY_free(key)
