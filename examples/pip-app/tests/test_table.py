import subprocess
import sys
import unittest
from pathlib import Path

import wcwidth

from table import drawn

TABLE = """\
┌────────┬────────┐
│ word   │   size │
├────────┼────────┤
│ 木     │      1 │
├────────┼────────┤
│ tree   │     40 │
└────────┴────────┘"""


class TableTest(unittest.TestCase):
    def test_numbers_go_right_and_wide_characters_count_twice(self) -> None:
        self.assertEqual(drawn(["word,size", "木,1", "tree,40"]), TABLE)
        self.assertEqual({wcwidth.wcswidth(line) for line in TABLE.splitlines()}, {19})

    def test_nothing_has_no_table(self) -> None:
        self.assertEqual(drawn([]), "")

    def test_the_program(self) -> None:
        program = Path(__file__).parents[1] / "table.py"
        done = subprocess.run(
            [sys.executable, program], input="a\n1\n", capture_output=True, text=True, check=True
        )
        self.assertEqual(done.stdout.splitlines()[1], "│   a │")


if __name__ == "__main__":
    unittest.main()
