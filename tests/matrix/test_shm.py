"""The file: whole or absent, owned by a lock, hostile ones refused by name and left alone."""

import itertools
import os
import resource
import stat
import subprocess
import sys
import zlib

import numpy as np
import pytest

from alephtx.core.errors import ConfigError, LayoutMismatch, MatrixError
from alephtx.core.instruments import Instruments
from alephtx.core.records import TOP_ROW
from alephtx.matrix import layout, place, writers
from alephtx.matrix.layout import Geometry, file_bytes, pack_header, unpack_header
from alephtx.matrix.ring import ring_publish
from alephtx.matrix.shm import Matrix
from alephtx.matrix.tops import top_publish, top_read
from tests.matrix.conftest import SMALL, make_instrument, make_instruments


def files(path):
    return sorted(entry.name for entry in path.parent.iterdir())


@pytest.mark.smoke
def test_created_matrix_is_private_and_attached_the_same(matrix, path):
    assert files(path) == ["matrix"]
    found = path.stat()
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_size == file_bytes(SMALL)
    assert found.st_blocks * 512 >= found.st_size, "its pages are reserved"
    with Matrix.attach(path) as joined:
        assert joined.geometry == SMALL
        assert (joined.epoch, joined.clock_offset_ns) == (1, 1)
        assert joined.instruments.to_json() == matrix.instruments.to_json()
        top_publish(joined.map, 1, 1, 2, 3, 4, 5, 6, 0)
        ring_publish(joined.map, 1, 1, 2, 3, 4, 5, 6, 0)
        assert matrix.ring_head(1) == 1
    out = np.zeros(1, TOP_ROW)
    assert top_read(matrix.map, 1, out) == 0
    assert out[0]["bid"] == 3


def test_sections_lie_apart_and_inside_the_file():
    found, size = layout.offsets(SMALL)
    starts = [*sorted(found.values()), size]
    assert starts[0] == layout.PAGE
    assert all(at % layout.PAGE == 0 for at in starts)
    assert all(b > a for a, b in itertools.pairwise(starts))
    made = layout.make_map(1 << 20, SMALL)
    assert made[layout.MAP_HALT] == (1 << 20) + layout.HALT_AT
    assert layout.HEADER_BYTES < layout.HALT_AT < layout.TABLE_CRC_AT + 8 < layout.PAGE


def test_second_owner_is_refused_while_the_first_lives(matrix, path):
    with pytest.raises(MatrixError, match="in use by a living owner"):
        Matrix.create(path, make_instruments(), SMALL)
    assert files(path) == ["matrix"]
    with Matrix.attach(path) as joined:
        assert joined.epoch == 1


def test_second_owner_in_another_process_is_refused(matrix, path):
    code = (
        "import sys; from alephtx.matrix.shm import Matrix;"
        "from alephtx.core.instruments import Instruments;"
        "from alephtx.core.errors import MatrixError\n"
        "try: Matrix.create(sys.argv[1], Instruments())\n"
        "except MatrixError as e: print(e); sys.exit(7)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 7, done.stderr
    assert "in use by a living owner" in done.stdout


def test_matrix_of_dead_owner_is_reclaimed_and_its_readers_halted(path, capsys):
    first = Matrix.create(path, make_instruments(), SMALL)
    orphan = Matrix.attach(path)
    top_publish(first.map, 0, 1, 1, 10, 1, 11, 1, 0)
    first.close()
    with Matrix.create(path, make_instruments(), SMALL) as second:
        assert "matrix_reclaimed" in capsys.readouterr().err
        assert second.epoch == 2
        assert writers.halt_read(orphan.map) == writers.HALT_ORPHANED
        assert writers.halt_read(second.map) == 0
        out = np.zeros(1, TOP_ROW)
        assert top_read(second.map, 0, out) == 0
        assert out[0]["bid"] == 0
        top_publish(orphan.map, 0, 1, 1, 66, 1, 67, 1, 0)
        assert top_read(second.map, 0, out) == 0
        assert out[0]["bid"] == 0, "a left-over writer cannot reach the new file"
    orphan.close()
    assert files(path) == ["matrix"]


def test_matrix_is_reclaimed_after_owner_was_killed(path):
    code = (
        "import sys, os, signal; from alephtx.matrix.shm import Matrix;"
        "from alephtx.core.instruments import Instruments\n"
        "m = Matrix.create(sys.argv[1], Instruments()); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -9
    with Matrix.create(path, make_instruments(), SMALL) as second:
        assert second.epoch == 2


def write(path, data):
    path.write_bytes(data)
    path.chmod(0o600)


@pytest.mark.parametrize("data", [b"", b"A", b"somebody's letter" * 999, b"\0" * 8192])
def test_foreign_file_is_refused_and_left_alone(path, data):
    write(path, data)
    for opened in (
        lambda: Matrix.create(path, make_instruments(), SMALL),
        lambda: Matrix.attach(path),
    ):
        with pytest.raises(MatrixError, match="is not a matrix of this build: no magic"):
            opened()
    assert path.read_bytes() == data
    assert files(path) == ["matrix"]


def left_over(path):
    Matrix.create(path, make_instruments(), SMALL).close()
    return path.read_bytes()


@pytest.mark.parametrize("keep", [150, 4096, 9999, -4096])
def test_truncated_file_is_refused(path, keep):
    write(path, left_over(path)[:keep])
    with pytest.raises(MatrixError, match=r"bytes where|no magic"):
        Matrix.create(path, make_instruments(), SMALL)
    with pytest.raises(MatrixError, match=r"bytes where|no magic"):
        Matrix.attach(path)


def test_other_layout_is_refused_by_name(path):
    data = bytearray(left_over(path))
    for at in (8, 16):  # version, layout hash
        spoilt = bytearray(data)
        spoilt[at] ^= 1
        write(path, bytes(spoilt))
        with pytest.raises(LayoutMismatch, match="delete the file"):
            Matrix.create(path, make_instruments(), SMALL)
        with pytest.raises(LayoutMismatch, match="layout"):
            Matrix.attach(path)


def test_every_flipped_bit_of_the_header_is_noticed(path):
    data = left_over(path)
    for bit in range(layout.HEADER_BYTES * 8):
        spoilt = bytearray(data[: layout.HEADER_BYTES])
        spoilt[bit // 8] ^= 1 << bit % 8
        with pytest.raises(MatrixError):
            unpack_header(bytes(spoilt), len(data), "it")


def test_header_of_absurd_geometry_is_refused(path):
    """A header with a right CRC but hostile numbers must not make us map or index anything."""
    body = bytearray(pack_header(layout.Header(SMALL, 1, 1, os.geteuid()))[:-4])
    for n, absurd in ((3, 1 << 60), (4, -1), (5, 0), (6, 17), (9, 1 << 62)):
        spoilt = bytearray(body)
        at = 8 + (n - 1) * 8
        spoilt[at : at + 8] = absurd.to_bytes(8, "little", signed=True)
        data = bytes(spoilt) + zlib.crc32(spoilt).to_bytes(4, "little")
        with pytest.raises(MatrixError, match="geometry"):
            unpack_header(data, 1 << 20, "it")


@pytest.mark.parametrize("target", ["victim", "nowhere"])
def test_symbolic_link_is_refused_and_its_target_untouched(path, target):
    victim = path.parent / "victim"
    victim.write_bytes(b"precious")
    path.symlink_to(path.parent / target)
    with pytest.raises(MatrixError, match="is a symbolic link"):
        Matrix.create(path, make_instruments(), SMALL)
    with pytest.raises(MatrixError, match="is a symbolic link"):
        Matrix.attach(path)
    assert victim.read_bytes() == b"precious"
    assert files(path) == ["matrix", "victim"]


def test_fifo_and_directory_are_refused(path):
    os.mkfifo(path)
    with pytest.raises(MatrixError, match="no plain file"):
        Matrix.create(path, make_instruments(), SMALL)
    path.unlink()
    path.mkdir()
    with pytest.raises(MatrixError, match="cannot be opened"):
        Matrix.attach(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_file_of_another_user_is_refused(path):
    left_over(path)
    os.chown(path, 12345, 12345)
    with pytest.raises(MatrixError, match="belongs to user 12345"):
        Matrix.create(path, make_instruments(), SMALL)
    with pytest.raises(MatrixError, match="belongs to user 12345"):
        Matrix.attach(path)


def test_no_room_is_one_clear_error_and_leaves_nothing(path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes(SMALL) - 1, hard))
    try:
        with pytest.raises(MatrixError, match=r"no room for \d+ bytes"):
            Matrix.create(path, make_instruments(), SMALL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(path) == []


def test_full_volume_is_one_clear_error_and_leaves_nothing(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting needs root")
    try:
        with pytest.raises(MatrixError, match="No space left on device"):
            Matrix.create(tmp_path / "matrix", make_instruments(), SMALL)
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_directory_that_is_not_there_is_said(tmp_path):
    with pytest.raises(MatrixError, match="cannot make a file in"):
        Matrix.create(tmp_path / "none" / "matrix", make_instruments(), SMALL)
    with pytest.raises(MatrixError, match="there is no matrix at"):
        Matrix.attach(tmp_path / "matrix")


def test_shared_memory_that_is_too_small_moves_the_matrix(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(place, "SHARED", tmp_path / "shm")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    wanted = place.default_path()
    used = place.place_for(wanted, 1)
    assert used == tmp_path / f"alephtx-{os.geteuid()}" / "aleph-matrix"
    assert stat.S_IMODE(used.parent.stat().st_mode) == 0o700
    assert "matrix_moved" in capsys.readouterr().err
    (tmp_path / "shm").mkdir()
    assert place.place_for(wanted, 1 << 62) == used
    assert "at most" in capsys.readouterr().err
    assert place.place_for(wanted, 1) == wanted
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    assert place.fallback_directory() == runtime
    runtime.chmod(0o755)
    assert place.fallback_directory() == used.parent
    used.parent.chmod(0o777)
    with pytest.raises(MatrixError, match="only user"):
        place.fallback_directory()
    used.parent.rmdir()
    used.parent.symlink_to(runtime)
    with pytest.raises(MatrixError, match="only user"):
        place.fallback_directory()


def test_leftovers_of_dead_creators_are_removed_and_living_ones_kept(path):
    old, young = path.with_name(".matrix.aa.new"), path.with_name(".matrix.bb.new")
    for leftover in (old, young):
        leftover.write_bytes(b"x")
    os.utime(old, (1, 1))
    with Matrix.create(path, make_instruments(), SMALL):
        assert files(path) == [".matrix.bb.new", "matrix"]
    hidden, descriptor = place.make_file(path, 4096)
    os.utime(hidden, (1, 1))
    assert place.remove_leftovers(path) == 0, "its creator holds the lock"
    os.close(descriptor)
    assert place.remove_leftovers(path) == 1


def test_instrument_table_grows_and_readers_see_it(matrix, path):
    with Matrix.attach(path) as joined:
        assert matrix.append_instruments([make_instrument("gamma", "SOL")]) == [4]
        assert len(joined.instruments) == 4
        assert joined.refresh_instruments()[4].key == "gamma:SOL-USDT"
        with pytest.raises(MatrixError, match="not ours to change"):
            joined.append_instruments([])
        with pytest.raises(MatrixError, match="not ours to change"):
            joined.unlink()
    with pytest.raises(ConfigError, match="listed twice"):
        matrix.append_instruments([make_instrument("gamma", "ADA"), make_instrument("beta", "BTC")])
    assert len(matrix.instruments) == 5, "all or none"


def test_table_beyond_the_geometry_is_refused(matrix, path):
    with pytest.raises(MatrixError, match="instruments_max 9"):
        matrix.append_instruments([make_instrument("beta", f"C{n}") for n in range(5)])
    with pytest.raises(MatrixError, match="venues_max 5"):
        matrix.append_instruments([make_instrument(f"v{n}", "BTC") for n in range(3)])
    with Matrix.attach(path) as joined:
        assert len(joined.instruments) == 4
    tight = Geometry(table_bytes=4096)
    many = Instruments(make_instrument("v", f"C{n}") for n in range(30))
    with pytest.raises(MatrixError, match="table_bytes"):
        Matrix.create(path.with_name("tight"), many, tight)


def test_damaged_table_is_noticed(matrix, path):
    data = bytearray(path.read_bytes())
    at = data.index(b'{"instruments"')
    with path.open("r+b") as file:
        file.seek(at + 30)
        file.write(b"\xff")
    with pytest.raises(MatrixError, match="does not match its CRC"):
        Matrix.attach(path)


def test_venue_has_one_living_feeder(matrix, path):
    first, second = Matrix.attach(path), Matrix.attach(path)
    assert first.take_venue(0, 3) == 1
    assert writers.venue_writer(matrix.map, 0) == 3
    with pytest.raises(MatrixError, match="alpha already has a living feeder"):
        second.take_venue(0)
    assert second.take_venue(1) == 1
    with pytest.raises(MatrixError, match="has no venue 2"):
        second.take_venue(2)
    first.close()
    assert second.take_venue(0) == 2, "the lock ended with its holder"
    second.close()


def test_unlink_leaves_mappings_and_never_another_ones_file(path):
    first = Matrix.create(path, make_instruments(), SMALL)
    joined = Matrix.attach(path)
    first.unlink()
    assert files(path) == []
    assert top_publish(joined.map, 0, 1, 1, 1, 1, 2, 1, 0) == 0
    with Matrix.create(path, make_instruments(), SMALL) as second:
        first.unlink()
        assert files(path) == ["matrix"], "the name is another matrix by now"
        second.unlink()
    first.close()
    first.close()
    joined.close()
    with pytest.raises(MatrixError, match="not ours"):
        first.unlink()


@pytest.mark.parametrize(
    "bad",
    [
        {"instruments_max": 0},
        {"ring_slots": 24},
        {"depth": -1},
        {"venues_max": 1 << 30},
        {"table_bytes": 1},
    ],
)
def test_geometry_that_cannot_be_is_refused(path, bad):
    with pytest.raises(MatrixError, match=next(iter(bad))):
        Matrix.create(path, make_instruments(), Geometry(**bad))
    assert files(path) == []
