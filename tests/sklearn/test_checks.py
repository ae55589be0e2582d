"""scikit-learn's own checks of an estimator, all of them, with default settings."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn.utils.estimator_checks import estimator_checks_generator

from gpunet.sklearn import MLPClassifier, MLPRegressor

ESTIMATORS = [MLPClassifier(), MLPRegressor()]
APART = "check_array_api_input"  # is skipped unless SCIPY_ARRAY_API is set before SciPy loads


def _name(value: Any) -> str:
    function = getattr(value, "func", value)
    options = getattr(value, "keywords", {})
    return getattr(function, "__name__", type(value).__name__) + "".join(map(str, options.values()))


ALL = [pair for one in ESTIMATORS for pair in estimator_checks_generator(one)]
CHECKS = [(estimator, check) for estimator, check in ALL if not _name(check).startswith(APART)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check"), CHECKS, ids=_name)
def test_check(estimator: Any, check: Any) -> None:
    """None is expected to fail."""
    check(estimator)


def test_they_are_many_and_those_that_matter_are_among_them() -> None:
    names = [_name(check) for _, check in CHECKS]
    assert len(names) > 100
    for name in ("check_sample_weight_equivalence_on_dense_data", "check_class_weight_classifiers"):
        assert name in names


IN_A_PROCESS = f"""
from sklearn.utils.estimator_checks import estimator_checks_generator
from gpunet.sklearn import MLPClassifier, MLPRegressor

for one in (MLPClassifier(), MLPRegressor()):
    for estimator, check in estimator_checks_generator(one):
        if getattr(check, "func", check).__name__ == {APART!r}:
            check(estimator)
            print("passed")
"""


def test_the_check_that_is_skipped_otherwise() -> None:
    environment = os.environ | {"SCIPY_ARRAY_API": "1"}
    command = [sys.executable, "-c", IN_A_PROCESS]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["passed"] * (len(ALL) - len(CHECKS))


WITHOUT = """
import sys
sys.modules["sklearn"] = None
import gpunet
assert "sklearn" in dir(gpunet)
try:
    import gpunet.sklearn
except ImportError as error:
    print(error)
"""


def test_without_scikit_learn_one_line_says_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True
    )
    assert done.stdout == "gpunet.sklearn needs sklearn: pip install 'gpunet[sklearn]'\n"
