"""A short form of tests/tools/kill.py: a training that is killed ends as if it never was.

On the captured path tests/train/test_checkpoint.py stops one in this process.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.tools.kill import kill_at_random


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_killed_and_gone_on_with() -> None:
    found = kill_at_random("adam", "cpu", 2, random.Random(1))
    assert found.moments == 2
    assert found.runs == found.equal > 0
