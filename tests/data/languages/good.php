<?php
if (($argv[1] ?? "") === "slow") {
    system("setsid sleep 1000 >/dev/null 2>&1 &");
    echo "started\n";
    sleep(1000);
}
echo "hello ", stream_get_contents(STDIN), "\xff\n";
for ($i = 0; $i < 100; $i++)
    echo str_repeat("x", 1_000_000);
echo "\n";
fwrite(STDERR, "said apart\n");
exit(7);
