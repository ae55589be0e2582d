"""The words follow from the numbers, and claim no more."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from gpunet.study.compare import table
from gpunet.study.compare.comparison import compare
from gpunet.study.compare.grid import Setup
from gpunet.study.compare.runs import Result
from gpunet.study.compare.verdict import judge

Make = Callable[..., Result]


def words(results: Iterable[Result], planned: int = 0, rows: int = 200) -> dict[str, str]:
    """Findings by title, and the headline under ""."""
    verdict = judge(compare(results, planned), Setup(epochs=2), rows)
    return {"": verdict.headline, **{f.title: f.text for f in verdict.findings}}


def seeds(make: Make, name: str, loss: float, **others: object) -> list[Result]:
    return [make(name, seed=k, loss=loss + 0.01 * (k - 1), **others) for k in range(3)]


def test_within_the_spread_is_a_tie(make: Make) -> None:
    found = words([*seeds(make, "adam", 0.5), *seeds(make, "sgd", 0.51)])
    assert found[""].startswith("No single winner: all of the 2 optimizers reach the lowest")
    assert "within the spread over the 3 seeds" in found[""]
    assert found["The lowest loss"].startswith("SGD and Adam tie, from 0.5 to 0.51: ")
    assert "order in the table means nothing" in found["The lowest loss"]


def test_what_is_noise_does_not_change_the_verdict(make: Make) -> None:
    """Another kernel of the BLAS makes another first of those that tie, and the words stay."""
    told = []
    for adam, sgd, lion in ((0.50, 0.505, 0.521), (0.506, 0.498, 0.518), (0.5, 0.5, 0.52)):
        results = [*seeds(make, "adam", adam), *seeds(make, "sgd", sgd)]
        results += [*seeds(make, "lion", lion), *seeds(make, "rprop", 0.9)]
        found = words(results)
        ties = found["The lowest loss"].split(": the differences")[0].split(" tie, ")[0]
        border = "On the border" in found["The lowest loss"]
        told.append((found[""], ties.startswith("SGD and Adam") or "SGD, Adam" in ties, border))
    headlines = {headline for headline, *_ in told}
    assert headlines == {
        "No single winner: most of the 4 optimizers reach the lowest validation loss, or one "
        "within the spread over the 3 seeds."
    }
    assert all(same for _, same, _ in told)


def test_one_that_varies_much_does_not_tie_all_with_all(make: Make) -> None:
    wild = [make("nadam", seed=k, loss=loss) for k, loss in enumerate((0.1, 0.4, 0.9))]
    found = words([*wild, *seeds(make, "adam", 0.5), *seeds(make, "sgd", 0.6)])
    assert found["The lowest loss"].startswith("Adam and NAdam tie, ")
    assert found["The lowest loss"].endswith("Worse by more than that: SGD (0.6000 ±0.0100).")


def test_between_a_tie_and_a_difference_is_a_border(make: Make) -> None:
    found = words([*seeds(make, "adam", 0.5), *seeds(make, "sgd", 0.535)])
    assert found[""].startswith("No single winner: all of the 2 optimizers")
    assert "On the border, where other seeds or another processor" in found["The lowest loss"]


def test_it_names_the_seeds_and_the_blas(make: Make) -> None:
    comparison = compare(seeds(make, "adam", 0.5), 3)
    trust = judge(comparison, Setup(epochs=2), 200, ["openblas 0.3.31 Haswell"]).findings[-1].text
    assert trust.startswith("Seeds 0 to 2, 2 epochs")
    assert "Products by openblas 0.3.31 Haswell: " in trust
    one = judge(compare([make()], 1), Setup(epochs=2), 200).findings[-1].text
    assert one.startswith("Seed 0, 2 epochs")
    assert "Products by" not in one


def test_beyond_the_spread_is_a_winner(make: Make) -> None:
    found = words([*seeds(make, "adam", 0.5), *seeds(make, "sgd", 0.9)])
    assert found[""].startswith("Adam has the lowest validation loss, 0.5000 ±0.0100 at a learning")
    assert "by more than the spread" in found[""]
    assert found["The lowest loss"] == "Worse by more than that: SGD (0.9000 ±0.0100)."


def test_one_seed_claims_nothing(make: Make) -> None:
    found = words([make("adam", loss=0.1), make("sgd", loss=0.9)])
    assert "of one seed only" in found[""]
    assert "The lowest loss" not in found


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (0.9, "0.4000 above the lowest of those with a rate, which is more than the seeds' spread"),
        (0.51, "0.0100 above the lowest of those with a rate, which is a tie"),
        (0.1, "no tuned optimizer has a lower mean"),
    ],
)
def test_cocob_is_set_against_the_best_tuned(make: Make, loss: float, said: str) -> None:
    found = words([*seeds(make, "adam", 0.5), *seeds(make, "cocob", loss, lr=None)])
    assert said in found["Without a learning rate to choose"]


def test_a_best_at_the_edge_is_said(make: Make) -> None:
    rates = [make(lr=lr, loss=loss) for lr, loss in ((0.1, 0.6), (1.0, 0.5), (10.0, 0.7))]
    assert "At the edge of the grid" not in words(rates)
    assert "Adam (the highest, 1)" in words(rates[:2])["At the edge of the grid"]
    assert "(edge)" in table.text(compare(rates[:2], 2))


def test_what_diverged_is_counted(make: Make) -> None:
    assert words([make()])["What diverged"] == "No run did."
    burst = make(lr=1.0, train=(2.0, 1.0, 3.0))
    rprop = make("rprop", 0.1, train=(2.0, 3.0, 3.0))
    found = words([make(), burst, rprop])["What diverged"]
    assert found.startswith(
        "2 of 3 runs: Adam (1 of 2, from 1 up) and RProp (all of 1, from 0.1 up)"
    )
    assert "made for full batches" in found


def test_ranges_of_learning_rates(make: Make) -> None:
    bad = (0.1, 0.2, 0.3)
    results = [
        make("adam", 0.01, accuracy=bad),
        make("adam", 0.1, loss=0.4),
        make("adam", 1.0),
        make("adam", 10.0, accuracy=bad),
        make("sgd", 0.1),
        make("sgd", 1.0, accuracy=bad),
    ]
    found = words(results)["How much the learning rate matters"]
    assert "Widest, 1.0 decades: Adam (0.1 to 1)." in found
    assert "Narrowest, 0.0 decades: SGD (0.1 to 0.1 or beyond)." in found


def test_how_fast(make: Make) -> None:
    early = (0.1, 0.9, 0.9)
    found = words([*seeds(make, "adam", 0.5), *seeds(make, "sgd", 0.5, accuracy=early)])
    assert "fewest epochs: SGD, 1.0 ±0.0;" in found["How fast to 88.0%"]
    slow = words([*seeds(make, "adam", 0.5), *seeds(make, "lion", 0.5, accuracy=(0.1, 0.2, 0.3))])
    assert slow["How fast to 88.0%"].endswith("Not with every seed at its best rate: Lion.")


def test_how_far_to_trust_it(make: Make) -> None:
    found = words(seeds(make, "adam", 0.5), rows=50)["How far to trust this"]
    assert "one row is 2.00% accuracy" in found
    assert "Still improving in the last epoch: Adam" in found


def test_the_table_says_the_same(make: Make) -> None:
    results = [*seeds(make, "adam", 0.5), *seeds(make, "cocob", 0.9, lr=None)]
    lines = table.text(compare(results, 6)).splitlines()
    assert lines[1].split()[:5] == ["best", "Adam", "0.01", "0.5000", "±0.0100"]
    assert lines[2].split()[:2] == ["COCOB", "-"]
    assert "none needed" in lines[2]


def test_csv_reads_back(make: Make) -> None:
    import csv
    import io

    comparison = compare([make(), make("cocob", None, loss=0.9), make("sgd", train=(2, 3, 3))], 3)
    for rows in (table.rows(comparison), table.run_rows(comparison)):
        found = list(csv.DictReader(io.StringIO(table.to_csv(rows).decode())))
        assert [row["optimizer"] for row in found] == ["Adam", "COCOB", "SGD"]
        assert float(found[0]["valid_loss"]) == 0.5
    assert found[2]["diverged"].startswith("from epoch 1 on")
    assert found[1]["lr"] == ""
