"""The tables of the READMEs and of docs/benchmarks.md, made from the JSON of benchmarks/results/
and from nothing else: the runs on real GPUs (verify_gpu), and gpunet beside its peers
(benchmarks.peers).

python -m benchmarks.tables            rewrite README.md, README.ko.md and docs/benchmarks.md
                                       between the marks
python -m benchmarks.tables --check    exit status 1 if that would change it
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.stages import COMPILING
from benchmarks.gpu.update_timings import ADAM, EAGER
from benchmarks.records import RESULTS, ROOT, Record, newest, taken_on
from gpunet.files import write_atomically

READMES = [ROOT / "README.md", ROOT / "README.ko.md"]
PAGE = ROOT / "docs" / "benchmarks.md"
GPU, PEERS, RATIOS_MARK = "gpu-results", "peers", "peers-ratios"  # names of marks
NONE = {"en": "not yet run on a GPU", "ko": "아직 GPU에서 돌려 보지 않았습니다"}
NOT_COMPARED = {"en": "not yet measured", "ko": "아직 측정하지 않았습니다"}
BESIDE = ("PyTorch / gpunet", "JAX jit / gpunet")
COMPARED = {
    "en": ("", "a step of", "gpunet", "PyTorch", *BESIDE, "NumPy by hand / gpunet"),
    "ko": ("", "한 스텝의 내용", "gpunet", "PyTorch", *BESIDE, "직접 짠 NumPy / gpunet"),
}
KOREAN = {  # of what a workload is
    "an epoch of 60,000 rows": "60,000행을 한 에폭",
    "Adam alone": "Adam만",
    "2 million parameters in 1 tensor": "매개변수 200만 개를 텐서 1개에",
    "2 million parameters in 20 tensors": "매개변수 200만 개를 텐서 20개에",
}
RATIOS = ("PyTorch eager", "JAX jit", "NumPy by hand")
# Times are medians of rounds, and ratios are not those of the medians.
RATIOS_ARE = {
    "en": "Ratios are medians of the ratios within a round.",
    "ko": "비는 라운드마다 구한 비의 중앙값입니다.",
}
COLUMNS = (
    *("device", "commit", "date", "passed", "failed", "skipped", "CUDA", "CuPy"),
    *("Adam step", "of copy bandwidth", "784-100-10 step", "first use of all kernels"),
)


def results(folder: Path) -> list[dict[str, Any]]:
    """The runs on real GPUs, oldest first. ValueError naming a file that is none of ours."""
    found = []
    for file in sorted(folder.glob("*.json")):
        try:
            one = json.loads(file.read_bytes())
            row(one)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file}: no record of verify_gpu: {error!r}") from error
        if one["device"] != "simulated":
            found.append(one)
    return joined(sorted(found, key=lambda one: one["date"]))


def joined(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The two parts of a run (one device, commit and day) as one record; the first's date."""
    runs: dict[Any, dict[str, Any]] = {}
    for one in found:
        key = (one["device"], one["commit"], one["date"][:10]) if one.get("part") else id(one)
        known = runs.setdefault(key, one)
        if known is not one:
            sums = {count: known[count] + one[count] for count in ("passed", "failed", "skipped")}
            runs[key] = known | sums | {"timings": known["timings"] | one["timings"]}
    return list(runs.values())


def row(one: dict[str, Any]) -> list[str]:
    """One run, as COLUMNS names it; "-" for what was not measured."""
    adam, step, first = (one["timings"].get(what) for what in (ADAM, EAGER, COMPILING))
    changed = {True: ", with changes", False: "", None: ""}[one["dirty"]]
    version = one["cuda_runtime"]
    return [
        one["device"],
        one["commit"][:10] + changed,
        one["date"][:10],
        *(str(one[count]) for count in ("passed", "failed", "skipped")),
        f"{version // 1000}.{version % 1000 // 10}",
        one["cupy"],
        f"{adam['median_s'] * 1e3:.3g} ms for {adam['elements']:.0e}" if adam else "-",
        f"{adam['share_of_copy']:.0%}" if adam else "-",
        f"{step['median_s'] * 1e6:.0f} us" if step else "-",
        f"{first['cold_s']:.1f} s" if first else "-",
    ]


def table(found: Sequence[dict[str, Any]], language: str = "en") -> str:
    """Markdown, a line for each run."""
    if not found:
        return NONE[language]
    lines = [COLUMNS, ["---"] * len(COLUMNS), *map(row, found)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


# gpunet beside its peers


def peer_table(found: dict[str, Record], language: str) -> str:
    """For each place what was measured there, then a line for each workload."""
    if not found:
        return NOT_COMPARED[language]
    parts = []
    for one in found.values():
        versions = ", ".join(f"{name} {v}" for name, v in one["versions"].items())
        lines = [COMPARED[language], ["---"] * len(COMPARED[language])]
        lines += [peer_row(name, w, language) for name, w in one["workloads"].items()]
        parts.append(f"{taken_on(one)}; {versions}")
        parts.append("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
    return "\n\n".join([*parts, RATIOS_ARE[language]])


def ratio_table(found: dict[str, Record]) -> str:
    """For each place a line for each peer: its time by PyTorch eager's, for each workload."""
    parts = []
    for one in found.values():
        workloads = one["workloads"]
        names = dict.fromkeys(name for w in workloads.values() for name in w["peers"])
        lines = [["", *workloads], ["---"] * (len(workloads) + 1)]
        for name in names:
            cells = [w["peers"].get(name, {}).get("times_pytorch") for w in workloads.values()]
            lines.append([name, *("-" if ratio is None else f"{ratio:.2f}" for ratio in cells)])
        parts.append(taken_on(one))
        parts.append("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
    return "\n\n".join(parts) or NOT_COMPARED["en"]


def in_korean(what: str) -> str:
    """ "784-100-10 ReLU, 배치 100, SGD"; names of layers and optimizers are the same."""
    parts = (KOREAN.get(part, part) for part in what.split(", "))
    return ", ".join(re.sub(r"^batch (?=\d)", "배치 ", part) for part in parts)


def peer_row(name: str, workload: Record, language: str = "en") -> list[str]:
    """The times of gpunet and PyTorch, and the others' as multiples of gpunet's; "-" for none."""
    peers = workload["peers"]
    times = [peers.get(peer, {}).get("us_per_step") for peer in ("gpunet", "PyTorch eager")]
    ratios = [peers.get(peer, {}).get("times_gpunet") for peer in RATIOS]
    return [
        name,
        in_korean(workload["what"]) if language == "ko" else workload["what"],
        *("-" if us is None else duration(us) for us in times),
        *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
    ]


def duration(us: float) -> str:
    """Three digits of microseconds or milliseconds."""
    value, unit = (us, "us") if us < 1000 else (us / 1000, "ms")
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f} {unit}"


# In the text


def rewritten(text: str, mark: str, content: str) -> str:
    """`text` with `content` between the marks. ValueError unless each mark is there once."""
    begin, end = marks(mark)
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"expected {begin} and then {end}, once each")
    before, rest = text.split(begin)
    return f"{before}{begin}\n{content}\n{end}{rest.split(end)[1]}"


def marks(name: str) -> tuple[str, str]:
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def with_tables(text: str, folder: Path, language: str) -> str:
    """A README with both tables as the records in `folder` have them."""
    text = rewritten(text, GPU, table(results(folder), language))
    return rewritten(text, PEERS, peer_table(compared(folder), language))


def with_ratios(text: str, folder: Path, language: str) -> str:
    """The page of the benchmarks with the table of all peers."""
    return rewritten(text, RATIOS_MARK, ratio_table(compared(folder)))


def compared(folder: Path) -> dict[str, Record]:
    """The newest record of the peers, by place."""
    return newest(folder / "peers", lambda one: (taken_on(one), peer_table({"": one}, "en")))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables")
    parser.add_argument("--check", action="store_true", help="change nothing; 1 if it would differ")
    parser.add_argument("--readme", type=Path, nargs="+", default=READMES)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    status = 0
    for file in (*options.readme, options.page):
        before = file.read_text("utf-8")
        made = with_ratios if file == options.page else with_tables
        after = made(before, options.results, "ko" if ".ko" in file.suffixes else "en")
        if before == after:
            continue
        if options.check:
            print(f"{file} differs from its results: python -m benchmarks.tables rewrites it")
            status = 1
        else:
            write_atomically(file, after.encode())
    return status


if __name__ == "__main__":
    sys.exit(main())
