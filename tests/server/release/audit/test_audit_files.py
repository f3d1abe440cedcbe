"""Any byte that was changed since the release was sealed is seen, and its file is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation.errors import InputError
from server.release.audit import Check, Outcome, Report, audit_release
from server.release.bundle import ALL, JOURNAL, SIGNATURES, SIGNED
from tests.server.release.homes import COORDINATOR


def failed(report: Report) -> dict[str, Check]:
    return {check.name: check for check in report.checks if check.outcome is Outcome.FAILED}


def files_named(report: Report) -> set[str]:
    return {finding.file for check in failed(report).values() for finding in check.findings}


def test_an_honest_release_passes(bundle: Path, first_bundle: Path) -> None:
    report = audit_release(bundle, coordinator_key=COORDINATOR.public, previous=first_bundle)
    assert report.sound
    open_ones = [check.name for check in report.checks if check.outcome is Outcome.NOT_CHECKABLE]
    assert open_ones == ["measurements"]
    assert audit_release(first_bundle, coordinator_key=COORDINATOR.public).sound


@pytest.mark.parametrize("name", ALL)
def test_a_changed_byte_is_seen(bundle: Path, name: str) -> None:
    path = bundle / name
    data = path.read_bytes()
    for spot in (0, len(data) // 3, len(data) - 1):
        path.write_bytes(data[:spot] + bytes([data[spot] ^ 1]) + data[spot + 1:])
        report = audit_release(bundle)
        assert not report.sound, spot
        assert name in files_named(report), spot
        assert name == SIGNATURES or name in {finding.file for finding in failed(report)["files"].findings}
    path.write_bytes(data[:-1])
    assert name in files_named(audit_release(bundle))
    path.write_bytes(data + b"\n")
    assert name in files_named(audit_release(bundle))
    path.write_bytes(b"")
    assert name in files_named(audit_release(bundle))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(ALL), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_seen(bundle: Path, name: str, place: float, bit: int) -> None:
    path = bundle / name
    data = path.read_bytes()
    spot = int(place * len(data))
    path.write_bytes(data[:spot] + bytes([data[spot] ^ 1 << bit]) + data[spot + 1:])
    try:
        assert name in files_named(audit_release(bundle))
    finally:
        path.write_bytes(data)


@pytest.mark.parametrize("name", ALL)
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    assert name in files_named(audit_release(bundle))


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "index.html.orig"])
def test_a_file_too_many_is_named(bundle: Path, name: str) -> None:
    (bundle / name).write_text("believe me")
    assert files_named(audit_release(bundle)) == {name}


def test_a_folder_or_a_link_is_no_file(bundle: Path, tmp_path: Path) -> None:
    (bundle / "cells.csv").rename(tmp_path / "elsewhere.csv")
    (bundle / "cells.csv").symlink_to(tmp_path / "elsewhere.csv")
    assert files_named(audit_release(bundle)) == {"cells.csv"}
    (bundle / "cells.csv").unlink()
    (bundle / "cells.csv").mkdir()
    assert files_named(audit_release(bundle)) == {"cells.csv"}


def test_swapped_files_are_named(bundle: Path) -> None:
    one, other = (bundle / name for name in ("cells.csv", "corridors.csv"))
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    assert files_named(audit_release(bundle)) == {"cells.csv", "corridors.csv"}


@pytest.mark.parametrize("text", [b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"a":1' + b"0" * 5000 + b"}"])
@pytest.mark.parametrize("name", [*(each for each in SIGNED if each.endswith("json")), JOURNAL, SIGNATURES])
def test_anything_can_be_in_a_file_and_is_told_apart(bundle: Path, name: str, text: bytes) -> None:
    (bundle / name).write_bytes(text)
    assert name in files_named(audit_release(bundle))


def test_what_is_no_folder_is_told(bundle: Path) -> None:
    with pytest.raises(InputError, match="cannot be read as a folder"):
        audit_release(bundle / "nowhere")
    with pytest.raises(InputError, match="cannot be read as a folder"):
        audit_release(bundle / "cells.csv")


def test_a_file_that_cannot_be_read_is_named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_bytes

    def broken(path: Path) -> bytes:
        if path == bundle / "cells.csv":
            raise OSError(5, "Input/output error", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", broken)
    assert "cells.csv" in files_named(audit_release(bundle))
