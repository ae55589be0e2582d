"""benchmarks.tables: the README says what the result files say, and no more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import tables, verify_gpu
from benchmarks.gpu import stages, update_timings

BEGIN, END = tables.marks(tables.GPU)
PEERS = "\n".join(
    [tables.marks(tables.PEERS)[0], "not yet measured", tables.marks(tables.PEERS)[1]]
)
README = f"before\n\n{BEGIN}\nold\n{END}\n\nbetween\n\n{PEERS}\n\nafter\n"


def result(**changes: Any) -> dict[str, Any]:
    return {
        "device": "NVIDIA H100 80GB HBM3",
        "commit": "0123456789abcdef",
        "dirty": False,
        "date": "2026-11-21T02:03:04+00:00",
        "cuda_runtime": 13020,
        "cupy": "14.2.0",
        "passed": 1800,
        "failed": 0,
        "skipped": 0,
        "timings": {
            update_timings.ADAM: {"median_s": 1.234e-3, "elements": 10**8, "share_of_copy": 0.871},
            update_timings.EAGER: {"median_s": 321.4e-6},
            stages.COMPILING: {"cold_s": 25.04},
        },
    } | changes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "page.md").write_text("\n".join([*tables.marks(tables.RATIOS_MARK), ""]))
    return tmp_path


def add(folder: Path, name: str, content: Any) -> None:
    (folder / "results" / name).write_text(json.dumps(content))


def run(folder: Path, *options: str) -> int:
    arguments = ["--readme", str(folder / "README.md"), "--page", str(folder / "page.md")]
    arguments += ["--results", str(folder / "results")]
    return tables.main([*arguments, *options])


def readme(folder: Path) -> str:
    return (folder / "README.md").read_text()


def test_without_results_it_says_so(folder: Path) -> None:
    assert run(folder) == 0
    assert readme(folder) == README.replace("old", "not yet run on a GPU")


def test_a_simulated_run_is_no_gpu_result(folder: Path) -> None:
    add(folder, "simulated.json", result(device="simulated"))
    run(folder)
    assert tables.NONE["en"] in readme(folder)


def test_a_line_for_each_run_oldest_first(folder: Path) -> None:
    add(folder, "a.json", result(date="2027-01-01T00:00:00+00:00", dirty=True, timings={}))
    add(folder, "b.json", result())
    assert run(folder) == 0
    lines = [line for line in readme(folder).splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in lines[0].split("|")[1:-1]] == list(tables.COLUMNS)
    assert lines[2] == (
        "| NVIDIA H100 80GB HBM3 | 0123456789 | 2026-11-21 | 1800 | 0 | 0 | 13.2 | 14.2.0 "
        "| 1.23 ms for 1e+08 | 87% | 321 us | 25.0 s |"
    )
    assert lines[3] == (
        "| NVIDIA H100 80GB HBM3 | 0123456789, with changes | 2027-01-01 | 1800 | 0 | 0 | 13.2 "
        "| 14.2.0 | - | - | - | - |"
    )
    assert len(lines) == 4


def test_the_two_parts_of_a_run_are_one_line(folder: Path) -> None:
    timings = result()["timings"]
    add(folder, "part1.json", result(part=1, timings={}))
    add(folder, "part2.json", result(part=2, passed=7, failed=1, date="2026-11-21T02:09:00+00:00"))
    add(folder, "other.json", result(part=1, date="2026-11-22T02:09:00+00:00"))
    found = tables.results(folder / "results")
    assert [(one["passed"], one["failed"], one["date"][:10]) for one in found] == [
        (1807, 1, "2026-11-21"),
        (1800, 0, "2026-11-22"),
    ]
    assert found[0]["timings"] == timings


def test_check_fails_until_it_is_rewritten_and_changes_nothing(folder: Path) -> None:
    assert run(folder, "--check") == 1
    assert readme(folder) == README
    assert run(folder) == 0
    assert run(folder, "--check") == 0
    add(folder, "new.json", result())
    assert run(folder, "--check") == 1


@pytest.mark.parametrize(
    "content", [[], {}, {"device": "x"}, result(timings={update_timings.ADAM: {"median_s": 1}})]
)
def test_a_file_of_another_kind_is_named(folder: Path, content: Any) -> None:
    add(folder, "odd.json", content)
    with pytest.raises(ValueError, match=r"odd\.json: no record"):
        run(folder)


@pytest.mark.parametrize("text", ["", BEGIN, END + BEGIN, README + README])
def test_marks_that_are_missing_or_doubled_are_refused(folder: Path, text: str) -> None:
    (folder / "README.md").write_text(text)
    with pytest.raises(ValueError, match="once each"):
        run(folder)
    assert readme(folder) == text


def test_what_verify_gpu_writes_is_what_this_reads(folder: Path) -> None:
    about = {"date": "2026-11-21T02:03:04+00:00", "device": "GPU", "commit": "c", "dirty": None}
    about |= {"cuda_runtime": 12090, "cupy": "14.0.1"}
    found = verify_gpu.record(about, {"suite": stages.Result(passed=3, skipped=1)}, ["suite"])
    assert tables.row(found)[:8] == ["GPU", "c", "2026-11-21", "3", "0", "1", "12.9", "14.0.1"]


def test_the_readme_of_this_checkout_is_up_to_date() -> None:
    assert tables.main(["--check"]) == 0
