"""The bundle: the same bytes everywhere, of nothing but the installed code, and enough to run both apps."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from federation.deployment import bundle as module
from federation.deployment.bundle import (
    PATTERNS,
    app_files,
    build_bundle,
    installed_bundle_sha256,
    project,
    sha256_of,
)
from federation.errors import InputError

ROOT = Path(__file__).parents[3]
HASH = "from federation.deployment.bundle import installed_bundle_sha256 as h; print(h())"


@pytest.fixture(scope="module")
def built() -> bytes:
    return build_bundle()


def names_of(bundle: bytes) -> set[str]:
    with zipfile.ZipFile(BytesIO(bundle)) as file:
        return set(file.namelist())


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The packages, copied elsewhere; the bundle is made of the copy."""
    folder = tmp_path / "copy"
    for name, data in app_files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    monkeypatch.setattr(module, "_root", lambda package: folder / package)
    return folder


def test_what_is_in_it_is_what_the_patterns_say_and_nothing_else(built: bytes) -> None:
    expected = {"pyproject.toml"} | {
        path.relative_to(ROOT).as_posix() for package, patterns in PATTERNS.items() for pattern in patterns
        for path in (ROOT / package).glob(pattern) if path.is_file()}
    assert set(app_files()) == expected
    assert names_of(built) == expected | {".info/CONTENT"}, "Flower leaves files of some names out"
    assert {name.split("/")[0] for name in expected} == {"clients", "federation", "server", "pyproject.toml"}
    assert {Path(name).suffix for name in expected} == {".py", ".yaml", ".toml"}
    assert {"clients/app.py", "server/app.py", "clients/deployment/gate.py"} <= expected
    assert not any("test" in Path(name).name or "__pycache__" in name for name in expected)


def test_each_file_comes_as_it_lies_on_the_disk(built: bytes) -> None:
    with zipfile.ZipFile(BytesIO(built)) as file:
        for name, data in app_files().items():
            assert file.read(name) == data or name == "pyproject.toml"
            if name != "pyproject.toml":
                assert data == (ROOT / name).read_bytes()


def test_it_depends_on_no_machines_way_to_pack_and_holds_no_time_and_no_mode(built: bytes) -> None:
    from flwr.common.constant import FAB_DATE

    with zipfile.ZipFile(BytesIO(built)) as file:
        for one in file.infolist():
            assert one.compress_type == zipfile.ZIP_STORED, "packed bytes differ from library to library"
            assert one.date_time == FAB_DATE
            assert one.external_attr == 0o600 << 16, "whatever the umask"


def test_flower_takes_it(built: bytes) -> None:
    from flwr.cli.config_utils import get_fab_config
    from flwr.common.constant import FAB_MAX_SIZE

    config = get_fab_config(built)
    assert config["tool"]["flwr"]["app"]["components"] == {
        "serverapp": "server.app:app", "clientapp": "clients.app:app"}
    assert config["tool"]["flwr"]["app"]["config"] == {"plan": ""}
    assert len(built) < FAB_MAX_SIZE / 2, "room for a few years"


def test_it_is_what_flower_builds_of_the_same_files(tmp_path: Path, built: bytes) -> None:
    from flwr.cli.build import build_fab_from_disk

    app = tmp_path / "leelight"
    app.mkdir()
    for name, data in app_files().items():
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).write_bytes(data)
    assert build_fab_from_disk(app) == built
    assert {path.relative_to(app).as_posix() for path in app.rglob("*") if path.is_file()} == set(app_files())


def test_the_checkouts_own_project_file_says_the_same() -> None:
    import tomllib

    mine = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]
    theirs = project()["tool"]["flwr"]["app"]
    assert sorted(mine.pop("fab-include")) == sorted(theirs.pop("fab-include"))
    assert mine == theirs


def test_the_same_files_elsewhere_give_the_same_bytes(built: bytes, copied: Path) -> None:
    assert build_bundle() == built
    for number, path in enumerate(sorted(copied.rglob("*.py"), reverse=True)):
        path.chmod(0o600 + number % 2)
        os.utime(path, (number, number))
    for name in ("__pycache__", "deployment/__pycache__"):
        (copied / "clients" / name).mkdir()
        (copied / "clients" / name / "app.cpython-311.py").write_text("x")
    (copied / "clients" / "notes.txt").write_text("private")
    (copied / "clients" / "records.sqlite").write_bytes(b"private")
    (copied / "clients" / "person.secret").write_bytes(b"private")
    (copied / "federation" / "node.yaml").write_text("private")
    assert build_bundle() == built
    assert {f"{name}/app.cpython-311.py" for name in ("clients/__pycache__", "clients/deployment/__pycache__")
            }.isdisjoint(app_files())


def test_one_byte_in_any_file_changes_the_hash(built: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    files = app_files()
    seen = {sha256_of(built)}
    for name in sorted(files)[::12]:
        if name != "pyproject.toml":
            monkeypatch.setattr(module, "app_files", lambda name=name: files | {name: files[name] + b"\n"})
            seen.add(sha256_of(build_bundle()))
    assert len(seen) == 1 + len([name for name in sorted(files)[::12] if name != "pyproject.toml"])


def test_a_file_more_fewer_or_elsewhere_changes_the_hash(built: bytes, copied: Path) -> None:
    seen = {sha256_of(built)}
    (copied / "clients" / "extra.py").write_text("")
    seen.add(sha256_of(build_bundle()))
    (copied / "clients" / "extra.py").rename(copied / "clients" / "other.py")
    seen.add(sha256_of(build_bundle()))
    (copied / "clients" / "other.py").unlink()
    (copied / "clients" / "gate.py").write_bytes((copied / "clients" / "deployment" / "gate.py").read_bytes())
    (copied / "clients" / "deployment" / "gate.py").unlink()
    seen.add(sha256_of(build_bundle()))
    assert len(seen) == 4


def test_another_process_in_another_place_with_other_settings_gives_the_same_hash(tmp_path: Path, built: bytes) -> None:
    (tmp_path / "clients").mkdir()
    (tmp_path / "clients" / "secret.py").write_text("x = 1")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    (tmp_path / ".gitignore").write_text("*\n")
    done = subprocess.run(
        ["sh", "-c", 'umask 077; exec "$0" -P -c "$1"', sys.executable, HASH], cwd=tmp_path, capture_output=True,
        text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "tr_TR.UTF-8",
                                    "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.stdout.strip() == sha256_of(built) == installed_bundle_sha256()


def test_an_installation_that_is_not_whole_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="install leelight anew"):
        app_files()


def test_what_flower_does_not_take_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "app_files", lambda: {"pyproject.toml": b""})
    with pytest.raises(InputError, match="install leelight anew") as caught:
        build_bundle()
    assert "\n" not in str(caught.value)


IMPORTS = """
import sys, site
sys.path[:] = [sys.argv[1], *[path for path in sys.path if 'leelight' not in path and path != sys.argv[2]],
               *[path for path in sys.argv[3].split(':')]]
import clients.app, server.app
assert clients.app.app and server.app.app
ours = {name: module.__file__ for name, module in sys.modules.items()
        if name.split('.')[0] in ('clients', 'server', 'federation', 'simulations') and module.__file__}
outside = [path for path in ours.values() if not path.startswith(sys.argv[1])]
assert not outside, outside
print(len(ours))
"""


def test_both_apps_start_from_the_bundle_alone(tmp_path: Path, built: bytes) -> None:
    app = tmp_path / "unpacked"
    with zipfile.ZipFile(BytesIO(built)) as file:
        file.extractall(app)
    packages = os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))
    # Without `site`, so that an editable installation's way to the checkout is not set up.
    done = subprocess.run([sys.executable, "-I", "-S", "-c", IMPORTS, str(app), str(ROOT), packages], cwd=tmp_path,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50
