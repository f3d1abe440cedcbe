"""Made-up files in the layouts of the public ones."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

SUBREDDITS = ("domesticviolence", "survivorsofabuse", "homeless", "almosthomeless", "food_pantry", "assistance", "ptsd",
              "anxiety", "stress", "relationships")


def _write(path: Path, header: str, rows: list[list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(header.split(","))
        writer.writerows(rows)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up texts, in the layouts of the public files; one field is longer than the csv module's usual limit."""
    folder = tmp_path_factory.mktemp("data")
    _write(folder / "us_hotline_states" / "calls_cases_2012_2016.csv", "postal,state,year,calls,cases",
           [["CA", "california", "2012", "700", "9"], ["CA", "california", "2013", "200", "9"],
            ["TX", "texas", "2012", "90", "2"], ["WY", "wyoming", "2012", "10", "0"]])
    _write(folder / "dreaddit" / "posts.csv", "doc_id,group,partner,text,label,confidence,timestamp_month",
           [[f"dr{i}", f"g{i // 3}-{SUBREDDITS[i % 10]}", SUBREDDITS[i % 10], f'made up, "text" no.\n{i}', str(i % 2),
             "0.8", "2018-01"] for i in range(200)])
    _write(folder / "goemotions_distress" / "posts.csv", "doc_id,group,text,label,emotions",
           [[f"ge{i}", f"u{i}", f"made up comment {i}", str(int(i % 4 == 0)), "fear"] for i in range(120)])
    _write(folder / "sms_spam" / "messages.csv", "doc_id,text,label",
           [[f"sm{i}", f"made up message {i}", str(int(i % 8 == 0))] for i in range(81)])
    _write(folder / "emscad_small" / "ads.csv",
           "doc_id,partner,region,title,text,industry,employment_type,telecommuting,has_company_logo,label",
           [[f"ad{i}", "US", "US, CA", "job", "made up advert " * (9000 if i == 0 else 3), "", "", "0", "1",
             str(int(i == 3))] for i in range(20)])
    return folder
