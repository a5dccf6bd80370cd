"""Looks at the network: what cards collect before they tell, and how much sockets hold."""

import fcntl
import socket
import struct
from collections.abc import Iterator

import numpy as np

from alephtx.core.config_schema import Config
from alephtx.engine.machine import COSTS, Files, Finding, unseen

_SIOCETHTOOL = 0x8946
_GCOALESCE, _GGRO, _GTSO, _GFLAGS, _FLAG_LRO = 0x0E, 0x2B, 0x1E, 0x25, 1 << 15
_COALESCE_WORDS = 23
RMEM_MAX, WAIT_US = 4 << 20, 4


def look_at_cards(files: Files, config: Config | None) -> Iterator[Finding]:
    """Say what each card that is up does to a packet that comes."""
    cards = _cards(files)
    if not cards:
        yield unseen("network cards")
    for name in cards:
        driver = (files.root / f"sys/class/net/{name}/device/driver").resolve().name
        queues = len(files.find(f"sys/class/net/{name}/queues/rx-*"))
        speed = files.number(f"sys/class/net/{name}/speed")
        value = f"{driver if driver != 'driver' else 'no driver seen'}, {queues} queues"
        yield Finding(name, value + (f", {speed} Mbit/s" if speed and speed > 0 else ""))
        yield from _offloads(name)
        yield _coalescing(name)


def _cards(files: Files) -> list[str]:
    """Return the cards of the routing table; without one, all that are there."""
    lines = files.read("proc/net/route").splitlines()[1:]
    routed = {line.split()[0] for line in lines if line.split()}
    every = [path.name for path in files.find("sys/class/net/*")]
    return [n for n in every if (n in routed or not routed) and n not in ("lo", "bonding_masters")]


def _ask(name: str, command: int, words: int = 2) -> "np.ndarray[tuple[int], np.dtype[np.uint32]]":
    """Ask a card's driver; OSError where it does not answer."""
    told = np.zeros(words, np.uint32)
    told[0] = command
    request = struct.pack("16sP16x", name.encode(), told.ctypes.data)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
    return told


def _offloads(name: str) -> Iterator[Finding]:
    for word, command, mask, cost in (
        ("gro", _GGRO, ~0, "up to 20 us while packets are put together"),
        ("lro", _GFLAGS, _FLAG_LRO, "up to 50 us while packets are put together"),
        ("tso", _GTSO, ~0, ""),
    ):
        try:
            on = bool(int(_ask(name, command)[1]) & mask)
        except OSError as error:
            yield unseen(f"{name} {word}", error.strerror or "")
            continue
        if on and cost:
            remedy = f"ethtool -K {name} {word} off"
            yield Finding(f"{name} {word}", "on", COSTS, cost, remedy)
        else:
            yield Finding(f"{name} {word}", "on" if on else "off")


def _coalescing(name: str) -> Finding:
    """Say how long a card waits before it interrupts."""
    try:
        told = _ask(name, _GCOALESCE, _COALESCE_WORDS)
    except OSError as error:
        return unseen(f"{name} coalescing", error.strerror or "")
    wait, adaptive = int(told[1]), bool(told[10])
    value = f"{wait} us{', adaptive' if adaptive else ''}"
    if wait <= WAIT_US and not adaptive:
        return Finding(f"{name} coalescing", value)
    cost = f"up to {wait} us between a packet's arrival and its interrupt"
    remedy = f"ethtool -C {name} adaptive-rx off rx-usecs 0"
    return Finding(f"{name} coalescing", value, COSTS, cost, remedy)


def look_at_sockets(files: Files, config: Config | None) -> Iterator[Finding]:
    """Say how much a socket may hold, and whether the kernel polls for it."""
    most = files.number("proc/sys/net/core/rmem_max")
    if most is None:
        yield unseen("receive buffers")
    elif most < RMEM_MAX:
        cost = "a burst that is longer closes the window: a round trip until the rest comes"
        remedy = f"sysctl net.core.rmem_max={RMEM_MAX}"
        yield Finding("receive buffers", f"at most {most:,} bytes", COSTS, cost, remedy)
    else:
        yield Finding("receive buffers", f"at most {most:,} bytes")
    polls = files.number("proc/sys/net/core/busy_read")
    if polls is None:
        yield unseen("busy polling")
    elif polls == 0:
        cost = "5 to 20 us of interrupt and soft interrupt before a spinning reader sees a packet"
        yield Finding("busy polling", "off", COSTS, cost, "sysctl net.core.busy_read=50")
    else:
        yield Finding("busy polling", f"{polls} us")
