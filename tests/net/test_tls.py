"""TLS through the system's OpenSSL, against Python's own: only whom we trust, under his name."""

import asyncio
import ctypes
import datetime
import ipaddress
import os
import ssl
import warnings

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from alephtx.core.errors import ConfigError, TransportError
from alephtx.core.syscalls import tls_library
from alephtx.net import link_words as w
from alephtx.net import loop_link
from alephtx.net.frames import link_poll
from alephtx.net.loop_link import connect_loop
from alephtx.net.sending import link_serve
from alephtx.net.tls import TlsContext, context_like, error_text, system_context
from alephtx.net.wake import Wake
from alephtx.net.websocket import ABNORMAL, Closed
from tests.net.pump import CLOCK, Got, Pump, descriptors, opened
from tests.net.servers import frame, raw_server, until

SECOND = 1_000_000_000
DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.UTC)


def written(path, key, certificate):
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, form, plain)
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


def signed(name, issuer, issuer_key, key, *, authority, alternatives=(), until_=NOW + DAY):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 2 * DAY)
        .not_valid_after(until_)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


class Authority:
    """An authority of the test's own, and servers that it vouches for."""

    def __init__(self, folder):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = signed("authority", None, self.key, self.key, authority=True)
        self.der = self.certificate.public_bytes(serialization.Encoding.DER)

    def server(self, *names, until_=NOW + DAY, version=None):
        """Return a server's context with a certificate for these names."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = [
            x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
            for name in names
        ]
        certificate = signed(
            "server", self.certificate.subject, self.key, key,
            authority=False, alternatives=alternatives, until_=until_,
        )  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(written(self.folder / "server.pem", key, certificate))
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context

    def trusting(self):
        """Return a client's context of Python's that trusts this authority alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.der)
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.mark.kernel
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_messages_pass_both_ways(authority, version):
    sizes = [0, 1, 125, 126, 1000, 16_384, 65_536, 100_000, 900_000]
    answers = []

    async def serve(peer):
        for size in sizes:
            await peer.send(frame(b"m" * size))
        while len(answers) < 200:
            answers.append((await peer.receive())[1])
        await peer.send(frame(b"p", 9))
        assert await peer.receive() == (10, b"p")
        await peer.send(frame(b"all"))
        assert (await peer.receive())[0] == 8
        await peer.send(frame(b"\x03\xe8", 8))

    got = Got()
    server = authority.server("127.0.0.1", version=version)
    async with raw_server(serve, ssl=server) as base, Pump() as pump:
        link = await opened(pump, base, got, ssl_context=authority.trusting())
        assert link._tls.version == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
        sent = [os.urandom(n * 31 % 7000) for n in range(200)]
        for payload in sent:
            while True:
                try:
                    link.send(payload, binary=True)
                    break
                except TransportError:
                    await asyncio.sleep(0.001)
        await until(lambda: len(got) == len(sizes) + 1)
        assert [len(payload) for payload in got.payloads[:-1]] == sizes
        assert answers == sent
        assert link._words[w.MSG_STAMPED] == 0
        assert abs(got[-1][1] - CLOCK.now()) < 60 * SECOND
        assert await link.close() == Closed(1000, "", by_peer=True)


async def test_slow_reader_over_tls_gets_everything_in_order(authority):
    got = []
    sent = [b"%d:" % n * (n % 700) for n in range(500)]

    async def serve(peer):
        while len(got) < len(sent):
            got.append((await peer.receive())[1])
            if len(got) % 50 == 0:
                await asyncio.sleep(0.01)

    server = authority.server("127.0.0.1")
    async with raw_server(serve, ssl=server) as base, Pump() as pump:
        link = await opened(pump, base, Got(), ssl_context=authority.trusting())
        link._socket.setsockopt(1, 7, 1)  # SOL_SOCKET, SO_SNDBUF: the least there is
        for payload in sent:
            while True:
                try:
                    link.send(payload)
                    break
                except TransportError:
                    await asyncio.sleep(0.001)
        await until(lambda: len(got) == len(sent), 60)
        assert got == sent


async def refused(base, **options):
    wake = Wake()
    try:
        with pytest.raises(TransportError) as caught:
            await connect_loop(
                base, Got(), clock=CLOCK, wake=wake, **{"timeout_ns": 5 * SECOND, **options}
            )
    finally:
        wake.close()
    return caught.value


async def idle(peer):
    await peer.receive()


async def test_certificate_that_nobody_we_trust_signed_is_refused(authority, tmp_path):
    async with raw_server(idle, ssl=authority.server("127.0.0.1")) as base:
        stranger = Authority(tmp_path).trusting()
        for context in (None, stranger):
            error = await refused(base, ssl_context=context)
            assert "TLS failed: CERTIFICATE_VERIFY_FAILED" in str(error)
            assert not error.retryable


async def test_name_that_the_certificate_does_not_have_is_refused(authority):
    trusting = authority.trusting()
    async with raw_server(idle, ssl=authority.server("localhost")) as base:
        error = await refused(base, ssl_context=trusting)
        assert "TLS failed: CERTIFICATE_VERIFY_FAILED" in str(error)
        async with Pump() as pump:
            named = base.replace("127.0.0.1", "localhost")
            link = await opened(pump, named, Got(), ssl_context=trusting)
            link.abort()
    async with raw_server(idle, ssl=authority.server("127.0.0.2", "example.invalid")) as base:
        for name in ("127.0.0.1", "localhost"):
            error = await refused(base.replace("127.0.0.1", name), ssl_context=trusting)
            assert "CERTIFICATE_VERIFY_FAILED" in str(error)


async def test_certificate_that_is_over_is_refused(authority):
    server = authority.server("127.0.0.1", until_=NOW - DAY)
    async with raw_server(idle, ssl=server) as base:
        error = await refused(base, ssl_context=authority.trusting())
        assert "certificate has expired" in str(error)


async def test_server_that_speaks_no_tls_is_refused():
    async def serve(peer):
        await peer.receive()

    async with raw_server(serve) as base:
        error = await refused(base.replace("ws:", "wss:"), timeout_ns=SECOND)
        assert "TLS failed" in str(error) or "within" in str(error) or "hung up" in str(error)


async def test_silent_server_and_one_that_hangs_up_during_the_handshake():
    async def wait(reader, writer):
        await reader.read(100)
        await asyncio.sleep(0.3)
        writer.close()

    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    base = f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    error = await refused(base, timeout_ns=SECOND // 10)
    assert "no WebSocket within 0.1 s" in str(error)
    error = await refused(base)
    assert "hung up" in str(error) or "UNEXPECTED_EOF" in str(error)
    server.close()
    await server.wait_closed()


async def test_old_protocols_are_refused(authority):
    server = authority.server("127.0.0.1")
    server.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):  # that they are old is the point
        server.minimum_version = ssl.TLSVersion.TLSv1
        server.maximum_version = ssl.TLSVersion.TLSv1_1
    async with raw_server(idle, ssl=server) as base:
        await refused(base, ssl_context=authority.trusting())


async def test_garbage_inside_the_connection_parks_with_the_reason(authority):
    """What is written past TLS into the connection is no record: TLS breaks, and says so."""

    async def serve(peer):
        await peer.send(frame(b"fine"))
        await peer.receive()
        os.write(peer.writer.get_extra_info("socket").fileno(), b"\x17garbage" * 100)
        await asyncio.sleep(5)

    got = Got()
    server = authority.server("127.0.0.1")
    async with raw_server(serve, ssl=server) as base, Pump() as pump:
        link = await opened(pump, base, got, ssl_context=authority.trusting())
        await until(lambda: got)
        link.send(b"now")
        closed = await asyncio.wait_for(link.wait_closed(), 5)
        assert (closed.code, closed.by_peer) == (ABNORMAL, True)
        assert closed.reason.startswith("TLS failed: ")
        assert "error 0" not in closed.reason


async def test_hang_ups_over_tls_are_1006(authority):
    async def cut(peer):
        await peer.send(frame(b"x"))
        peer.writer.transport.abort()

    async def leave(peer):
        await peer.send(frame(b"x"))
        peer.writer.close()
        await peer.writer.wait_closed()

    for serve in (cut, leave):
        server = authority.server("127.0.0.1")
        async with raw_server(serve, ssl=server) as base, Pump() as pump:
            link = await opened(pump, base, Got(), ssl_context=authority.trusting())
            closed = await asyncio.wait_for(link.wait_closed(), 5)
            assert (closed.code, closed.by_peer) == (ABNORMAL, True)


async def test_nothing_is_left_behind_over_tls(authority):
    async def serve(peer):
        await peer.send(frame(b"x"))
        await peer.receive()
        await peer.send(b"\xff\xff")

    async def scene(base):
        async with Pump() as pump:
            for hostile in (True, False):
                got = Got()
                link = await opened(pump, base, got, ssl_context=authority.trusting())
                await until(lambda got=got: got)
                if hostile:
                    link.send(b"go on")
                    assert (await link.wait_closed()).code == 1002
                else:
                    link.abort()
                await asyncio.wait_for(link._released, 5)
                assert link._tls.address == 0

    async with raw_server(serve, ssl=authority.server("127.0.0.1")) as base:
        await scene(base)
        await asyncio.sleep(0.05)
        before = descriptors()
        for _ in range(3):
            await scene(base)
        await until(lambda: descriptors() <= before)
    assert not loop_link._held


async def test_error_that_others_left_in_the_thread_is_not_taken_for_ours(authority):
    """OpenSSL keeps one queue of errors per thread, and SSL_get_error believes it."""
    wake = Wake()
    async with raw_server(idle, ssl=authority.server("127.0.0.1")) as base:
        link = await connect_loop(
            base, Got(), clock=CLOCK, wake=wake, ssl_context=authority.trusting()
        )
        crypto = tls_library().crypto
        for _ in range(3):
            assert crypto.d2i_X509(None, ctypes.byref(ctypes.c_char_p(b"no")), 2) == 0
            assert crypto.ERR_peek_error() != 0
            assert link_poll(link.address) == 0
            link.send(b"x")
            crypto.d2i_X509(None, ctypes.byref(ctypes.c_char_p(b"no")), 2)
            assert link_serve(link.address) == 1
        link.take()
        await link.wait_closed()
        await link._released
    wake.close()


def test_contexts_trust_whom_they_are_told_to():
    assert context_like(None) is system_context()
    with pytest.raises(ConfigError, match="must be DER"):
        TlsContext([b"no certificate"])
    assert error_text(0) == "error 0"
