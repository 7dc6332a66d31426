"""Words of the standard input as JSON: ``python -m words <text.txt``."""

import json
import sys

from words import frequent

json.dump(frequent(sys.stdin.read()), sys.stdout, ensure_ascii=False)
