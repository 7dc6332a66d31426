import random
import statistics
import subprocess

import pytest

from median import running


@pytest.mark.parametrize(
    ("numbers", "medians"),
    [([], []), ([3], [3]), ([3, 1], [3, 2]), ([1, 2, 9, 9], [1, 1.5, 2, 5.5])],
)
def test_the_median_after_each_number(numbers: list[float], medians: list[float]) -> None:
    assert list(running(numbers)) == medians


def test_it_is_the_median_that_python_knows() -> None:
    numbers = [random.Random(1).uniform(-1, 1) for _ in range(99)]
    assert list(running(numbers))[-1] == statistics.median(numbers)


def command(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["median"], input=text, capture_output=True, text=True, check=False)


def test_the_command() -> None:
    done = command("1\n2\n")
    assert (done.stdout, done.returncode) == ("1\n1.5\n", 0)


def test_a_line_that_is_no_number() -> None:
    done = command("one\n")
    assert (done.stderr, done.returncode) == (
        "median: could not convert string to float: 'one\\n'\n",
        1,
    )
