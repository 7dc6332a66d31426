#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "slow") == 0) {
		system("setsid sleep 1000 &");
		puts("started");
		fflush(stdout);
		sleep(1000);
	}
	char given[64] = "";
	size_t size = fread(given, 1, sizeof given - 1, stdin);
	printf("hello %.*s\xff\n", (int)size, given);
	for (int i = 0; i < 100 * 1000 * 1000; i++)
		putchar('x');
	putchar('\n');
	fputs("said apart\n", stderr);
	return 7;
}
