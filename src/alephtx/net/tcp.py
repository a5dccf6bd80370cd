"""Open a TCP connection, as every kind of link begins."""

import asyncio
import os
import socket


async def connect_tcp(host: str | None, port: int | None) -> socket.socket:
    """Return a non-blocking socket connected to the first of a host's addresses that takes it.

    OSError with what each address said; cancelled, it leaves nothing open.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failures: list[str] = []
    for family, kind, protocol, _, address in found:
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        try:
            await loop.sock_connect(made, address)
        except OSError as error:
            made.close()
            failures.append(os.strerror(error.errno) if error.errno else str(error))
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise OSError("; ".join(dict.fromkeys(failures)) or "no address")
