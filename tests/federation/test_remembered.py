"""Figures that are kept are those that were worked out, or none."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation import remembered as module
from federation.remembered import Remembered

ROOT = Path(__file__).parents[2]


class Work:
    """Works a figure out, and counts how often."""

    def __init__(self, figure: float = 1.5) -> None:
        self.figure, self.times = figure, 0

    def __call__(self) -> float:
        self.times += 1
        return self.figure


def kept(folder: Path, code: bytes = b"code") -> Remembered:
    made = Remembered(code)
    made.keep_in(folder)
    return made


def test_a_figure_is_worked_out_once_for_all_processes(tmp_path: Path) -> None:
    work = Work()
    for _ in range(3):
        assert kept(tmp_path / "a" / "prices").figure([1, "x"], work) == 1.5
    assert work.times == 1
    assert (tmp_path / "a" / "prices").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "a" / "prices").iterdir()} == {0o600}


def test_without_a_folder_it_is_worked_out_each_time() -> None:
    work, made = Work(), Remembered(b"code")
    assert [made.figure(1, work), made.figure(1, work)] == [1.5, 1.5]
    assert work.times == 2


def test_other_facts_or_other_code_have_a_figure_of_their_own(tmp_path: Path) -> None:
    for number, (code, facts) in enumerate([(b"a", [1]), (b"b", [1]), (b"a", [2]), (b"a", ["1"]), (b"a", {"x": 1})]):
        assert kept(tmp_path, code).figure(facts, Work(float(number))) == number
    assert len(list(tmp_path.iterdir())) == 5


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_figure_comes_back_to_the_last_bit(figure: float) -> None:
    line = module._line("name", figure)
    assert float.fromhex(line.split(" ")[0]) == figure


@pytest.mark.parametrize("figure", [math.inf, -math.inf, math.nan])
def test_what_is_no_number_is_not_kept(tmp_path: Path, figure: float) -> None:
    work = Work(figure)
    for _ in range(2):
        found = kept(tmp_path).figure(1, work)
        assert found == figure or math.isnan(found)
    assert work.times == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [
    b"", b"x", b"\xff\xfe", b"inf", b"nan", b"0x1p+99999", b"0x1.8p+0", b"1.5", b"0x1.0000000000000p+0", b"\x00" * 100])
def test_a_damaged_file_is_worked_out_anew_and_replaced(tmp_path: Path, content: bytes) -> None:
    kept(tmp_path).figure(1, Work())
    path, = tmp_path.iterdir()
    path.write_bytes(content)
    work = Work()
    assert kept(tmp_path).figure(1, work) == 1.5
    assert kept(tmp_path).figure(1, work) == 1.5
    assert work.times == 1


def test_one_bit_turned_or_a_part_missing_is_noticed(tmp_path: Path) -> None:
    kept(tmp_path).figure(1, Work())
    path, = tmp_path.iterdir()
    good = path.read_bytes()
    bad = [good[:place] + bytes([good[place] ^ 1]) + good[place + 1:] for place in range(len(good))]
    for content in (*bad, *(good[:length] for length in range(len(good)))):
        path.write_bytes(content)
        work = Work()
        assert kept(tmp_path).figure(1, work) == 1.5
        assert work.times == 1, content


def test_a_figure_under_anothers_name_is_not_taken(tmp_path: Path) -> None:
    kept(tmp_path).figure(1, Work(1.0))
    one, = tmp_path.iterdir()
    kept(tmp_path).figure(2, Work(2.0))
    two = next(path for path in tmp_path.iterdir() if path != one)
    one.replace(two)
    assert kept(tmp_path).figure(2, Work(2.0)) == 2.0


def test_a_full_disk_is_no_reason_to_give_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "replace_private", full)
    assert kept(tmp_path).figure(1, Work()) == 1.5
    monkeypatch.setattr(Path, "mkdir", full)
    assert kept(tmp_path / "new").figure(1, Work()) == 1.5


def test_a_folder_that_is_a_file_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "prices").write_text("")
    assert kept(tmp_path / "prices").figure(1, Work()) == 1.5


PRICE = """
import sys
from pathlib import Path
from federation.privacy.accounting import FIGURES
FIGURES.keep_in(Path(sys.argv[1]))
from federation.privacy.guarantee import price
from tests.worlds import make_plan
cost = price(make_plan(noise_multiplier=7.0))
print([value.hex() for value in (cost.round, cost.training, cost.statistics, cost.total)])
print(any(name.split(".")[0] == "dp_accounting" for name in sys.modules))
"""


def test_a_new_process_gives_the_same_price_without_the_accountant(tmp_path: Path) -> None:
    def price() -> list[str]:
        done = subprocess.run([sys.executable, "-c", PRICE, str(tmp_path)], capture_output=True, text=True, check=True,
                              cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
        return done.stdout.splitlines()

    first, second = price(), price()
    assert first[0] == second[0]
    assert (first[1], second[1]) == ("True", "False")
