"""From a table as people have it to predictions, in two processes.

A bank's customers, in a CSV file with text, gaps, a number for each customer and a date. `gpunet
train` reads it and says what it does with each column; later, in another process, `gpunet predict`
answers for new customers from the model file alone.

What to notice: the columns of the new file are in another order, one city is new, two cells are
empty, and what the network was never told (the customer's number, the date) need not be there.

    pip install 'gpunet[tables]'
    python examples/table_to_predictions.py
"""

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

CITIES = ("Seoul", "Busan", "Daegu", "Jeju")


def customers(count, seed):
    """Rows of a customer's number, since when, city, age, income, member, and what they did: the
    young of Seoul and the old elsewhere stay, with some noise.
    """
    rng = np.random.default_rng(seed)
    for k in range(count):
        city, age = rng.choice(CITIES), int(rng.integers(18, 80))
        year, month, day = rng.integers((10, 1, 1), (25, 13, 29))
        stays = (age < 45) == (city == "Seoul")
        if rng.random() < 0.05:
            stays = not stays
        yield {
            "customer": f"C{seed}{k:05d}",
            "since": f"20{year}-{month:02d}-{day:02d}",
            "city": city if rng.random() > 0.05 else "",
            "age": age if rng.random() > 0.1 else "NA",
            "income": f"{rng.integers(20_000, 90_000):,}",
            "member": rng.choice(["yes", "no"]),
            "outcome": "stays" if stays else "leaves",
        }


def write(path, rows, columns=None):
    with open(path, "w", newline="", encoding="utf-8") as file:
        lines = csv.DictWriter(file, columns or list(rows[0]), extrasaction="ignore")
        lines.writeheader()
        lines.writerows(rows)


def gpunet(folder, *arguments):
    """The command in a process of its own; what it prints."""
    command = [sys.executable, "-m", "gpunet", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)


def main():
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, "customers.csv"), list(customers(1500, 1)))
        options = ["--label", "outcome", "--hidden", "32", "--epochs", "40", "--device", "cpu"]
        print(gpunet(folder, "train", "customers.csv", *options).stdout)

        new = [
            {"age": 25, "city": "Seoul", "income": "31,000", "member": "no"},
            {"age": 70, "city": "Seoul", "income": "45,500", "member": "yes"},
            {"age": 70, "city": "Busan", "income": "45,500", "member": "yes"},
            {"age": 22, "city": "Paris", "income": "28,000", "member": "no"},
            {"age": "", "city": "Jeju", "income": "", "member": "yes"},
        ]
        write(Path(folder, "new.csv"), new, ["member", "income", "age", "city"])
        predicted = gpunet(folder, "predict", "gpunet-out", "new.csv")
        shares = gpunet(folder, "predict", "gpunet-out", "new.csv", "--proba").stdout
        print(predicted.stderr.strip())
        for row, answer in zip(new, predicted.stdout.split()[1:], strict=True):
            print(f"age {row['age'] or '?':>2}, {row['city']:<5}: {answer}")
        print(f"\nprobabilities\n{shares}")

        write(Path(folder, "later.csv"), list(customers(500, 2)))
        print(gpunet(folder, "evaluate", "gpunet-out", "later.csv").stdout)


if __name__ == "__main__":
    main()
