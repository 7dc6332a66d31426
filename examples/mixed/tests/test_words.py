import subprocess
import sys

from words import frequent


def test_the_most_frequent_word_comes_first() -> None:
    text = "A ship, the ship and a sea; the sea and a ship."
    assert frequent(text) == [("ship", 3), ("sea", 2)]


def test_words_of_another_language_stay_out() -> None:
    assert frequent("Das Schiff und die See", "german") == [("schiff", 1), ("see", 1)]


def test_it_is_a_command() -> None:
    argv = [sys.executable, "-m", "words"]
    done = subprocess.run(argv, input="über <sea>", text=True, capture_output=True, check=True)
    assert done.stdout == '[["sea", 1], ["über", 1]]'
