import sys

sys.stdout.write("hello " + sys.stdin.read())
sys.stdout.flush()
sys.stdout.buffer.write(b"\xff\n")
sys.stderr.write("said apart\n")
sys.exit(7)
