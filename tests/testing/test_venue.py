"""The kit itself: a sound plugin passes, and each kind of fault is found and named."""

import gzip
import shutil
from pathlib import Path

import msgspec
import pytest

from alephtx.core.errors import ConfigError
from alephtx.core.ports import Control, What
from alephtx.core.secrets import Secret
from alephtx.signers.evm import EvmSigner
from alephtx.testing.golden import load_golden, read_recording
from alephtx.testing.venue import NotConforming, check_venue, write_expected
from alephtx.venues.hyperliquid import Hyperliquid, HyperliquidCodec

GOLDEN = Path(__file__).parent.parent / "golden" / "hyperliquid"
KEY = "0x0123456789012345678901234567890123456789012345678901234567890123"
SIGNER = EvmSigner(Secret(KEY))


@pytest.fixture
def small(tmp_path):
    """A golden folder of few cases, so that each run is quick."""
    for name in ("instruments.json", "btcusd_20250126.gz"):
        shutil.copy(GOLDEN / name, tmp_path)
    content = load_golden(GOLDEN)
    content.frames = [case for case in content.frames if case.name in ("book", "fills", "pong")]
    content.answers = [case for case in content.answers if case.name == "order_open"]
    content.orders = [case for case in content.orders if case.name in ("cancel", "refused_fok")]
    content.recordings = []
    save(tmp_path, content)
    return tmp_path


def save(folder, content):
    (folder / "conformance.json").write_bytes(msgspec.json.encode(content))


def venue_with(codec_class):
    class Broken(Hyperliquid):
        def bind(self, instruments, signer, account, *, mainnet=False, user=""):
            return codec_class(instruments, signer, account, mainnet, user)

    return Broken()


def check(venue, folder, **options):
    return check_venue(venue, folder, signer=SIGNER, mutations=5, **options)


def test_sound_plugin_passes_and_the_report_is_not_empty(small):
    report = check(Hyperliquid(), small, secrets=[KEY[2:]])
    assert (report.instruments, report.frames, report.answers, report.orders) == (6, 3, 1, 2)
    assert report.truncations > 500
    assert report.mutations == 16, "five of each frame, one of the order's answer"
    assert report.compared > 500


class Raises(HyperliquidCodec):
    def decode(self, channel, frame, ts_recv, out):
        if bytes(frame).endswith(b","):
            raise IndexError("out of range")
        return super().decode(channel, frame, ts_recv, out)


class LeavesRows(HyperliquidCodec):
    def decode(self, channel, frame, ts_recv, out):
        returned = super().decode(channel, frame, ts_recv, out)
        if returned < 0:
            out.event_count += 1
        return returned


class OwnScanner(HyperliquidCodec):
    def decode(self, channel, frame, ts_recv, out):
        first = out.event_count
        returned = super().decode(channel, frame, ts_recv, out)
        if returned > 3 and b'"time":17600' not in bytes(frame):
            out.events[first + 2]["qty"] += 1
        return returned


class Clobbers(HyperliquidCodec):
    def decode(self, channel, frame, ts_recv, out):
        out.event_count = 0
        return super().decode(channel, frame, ts_recv, out)


class WrongPrice(HyperliquidCodec):
    def decode(self, channel, frame, ts_recv, out):
        first = out.event_count
        returned = super().decode(channel, frame, ts_recv, out)
        out.events[first : out.event_count]["price"] += 1
        return returned


class ExtraControl(HyperliquidCodec):
    def decode(self, channel, frame, ts_recv, out):
        returned = super().decode(channel, frame, ts_recv, out)
        out.controls.append(Control("done"))
        return returned


class ReplyRaises(HyperliquidCodec):
    def reply(self, request, status, headers, body, out):
        if request.what is What.ORDER:
            msgspec.json.decode(body)  # a cut body is a DecodeError, which is no VenueError
        super().reply(request, status, headers, body, out)


class NoWords(HyperliquidCodec):
    def encode(self, intents, now_ns, nonce):
        intents["tif"] = 1
        return super().encode(intents, now_ns, nonce)


class WrongOrder(HyperliquidCodec):
    def encode(self, intents, now_ns, nonce):
        intents["target_order_id"] += 1
        return super().encode(intents, now_ns, nonce)


class UnknownBucket(HyperliquidCodec):
    def request(self, what, now_ns, **args):
        made = super().request(what, now_ns, **args)
        return [msgspec.structs.replace(one, weights=(("other", 1),)) for one in made]


class ShowsSecret(HyperliquidCodec):
    def request(self, what, now_ns, **args):
        made = super().request(what, now_ns, **args)
        return [msgspec.structs.replace(one, body=one.body + KEY.encode()) for one in made]


class NoLinks(HyperliquidCodec):
    def links(self, role, login=""):
        return []


class HastyLink(HyperliquidCodec):
    def links(self, role, login=""):
        return [msgspec.structs.replace(x, stall_ns=1) for x in super().links(role, login)]


@pytest.mark.parametrize(
    ("codec_class", "says"),
    [
        (Raises, "damaged frame: IndexError"),
        (LeavesRows, "-1, and rows"),
        (OwnScanner, "scanner: "),
        (Clobbers, "were changed"),
        (WrongPrice, "book: events[0] is"),
        (ExtraControl, "pong: controls[0]"),
        (ReplyRaises, "DecodeError"),
        (NoWords, "refused_fok: refused[0]"),
        (WrongOrder, "cancel: request.request.payload.action.cancels[0].cloid is"),
        (UnknownBucket, "other=1 is of no bucket"),
        (ShowsSecret, "shows a secret"),
        (NoLinks, "no market link"),
        (HastyLink, "would stall"),
    ],
)
def test_fault_is_found_and_named(small, codec_class, says):
    if codec_class is OwnScanner:
        content = load_golden(small)
        content.recordings = ["btcusd_20250126.gz"]
        save(small, content)
    with pytest.raises(NotConforming) as caught:
        check(venue_with(codec_class), small, secrets=[KEY])
    assert says in str(caught.value)
    assert str(caught.value).startswith("hyperliquid:")


def test_recorded_frame_that_is_not_understood_is_a_fault(small):
    with gzip.open(small / "odd.gz", "wb") as lines:
        lines.write(b'1 {"channel":"odd"}\n')
    content = load_golden(small)
    content.recordings = ["odd.gz"]
    save(small, content)
    with pytest.raises(NotConforming, match=r"odd.gz: not understood"):
        check(Hyperliquid(), small)


def test_recording_line_without_a_time_is_named(tmp_path):
    with gzip.open(tmp_path / "bad.gz", "wb") as lines:
        lines.write(b"1 {}\n{}\n")
    with pytest.raises(ConfigError, match=r"bad.gz:2"):
        list(read_recording(tmp_path / "bad.gz"))


def test_write_expected_restores_what_the_codec_says(small):
    wanted = load_golden(small)
    blank = load_golden(small)
    for case in [*blank.frames, *blank.answers, *blank.orders]:
        case.updates = []
        if hasattr(case, "events"):
            case.events, case.controls = [], []
    save(small, blank)
    with pytest.raises(NotConforming):
        check(Hyperliquid(), small)
    write_expected(Hyperliquid(), small, signer=SIGNER)
    assert load_golden(small).frames == wanted.frames
    assert load_golden(small).answers == wanted.answers
    check(Hyperliquid(), small)
