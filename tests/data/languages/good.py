import subprocess
import sys
import time

if sys.argv[1:] == ["slow"]:
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    sys.stdout.write("started\n")
    sys.stdout.flush()
    time.sleep(1000)

sys.stdout.write("hello " + sys.stdin.read())
sys.stdout.flush()
sys.stdout.buffer.write(b"\xff\n")
for _ in range(100):
    sys.stdout.write("x" * 1_000_000)
sys.stdout.write("\n")
sys.stderr.write("said apart\n")
sys.exit(7)
