/* For the tests: rows of a table on stdin, a word and hexadecimal bytes a line. */
#ifndef CHECK_LINE_H
#define CHECK_LINE_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct line {
	char what[16];
	char *bytes; /* exactly as large as they are many, for the sanitizer */
	size_t length;
};

static inline void print_hex(const char *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		printf("%02x", (unsigned)(unsigned char)bytes[i]);
}

static inline bool read_line(struct line *line)
{
	static char hex[1 << 20];
	unsigned byte;

	hex[0] = '\0';
	if (scanf("%15s%*1[ ]", line->what) != 1)
		return false;
	if (fgets(hex, sizeof hex, stdin) == NULL)
		return false;
	line->length = 0;
	while (sscanf(hex + 2 * line->length, "%2x", &byte) == 1)
		line->length++;
	line->bytes = malloc(line->length + (line->length == 0));
	if (line->bytes == NULL)
		abort();
	for (size_t i = 0; i < line->length; i++) {
		sscanf(hex + 2 * i, "%2x", &byte);
		line->bytes[i] = (char)byte;
	}
	return true;
}

#endif
