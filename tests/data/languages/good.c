#include <stdio.h>

int main(void)
{
	char given[64] = "";
	size_t size = fread(given, 1, sizeof given - 1, stdin);
	printf("hello %.*s\xff\n", (int)size, given);
	fputs("said apart\n", stderr);
	return 7;
}
