<?php
echo "hello ", stream_get_contents(STDIN), "\xff\n";
fwrite(STDERR, "said apart\n");
exit(7);
