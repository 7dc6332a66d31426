/* For the tests: decodes one table row a line, "stream HEX", "call HEX" or "relayed HEX", and
 * prints what came out, in hexadecimal. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_line.h"
#include "frame.h"

static void print_stream(const char *bytes, size_t length)
{
	struct frame frame;

	while (length >= FRAME_HEADER) {
		if (!frame_decode((const unsigned char *)bytes, &frame)) {
			printf("bad\n");
			return;
		}
		if (length < FRAME_HEADER + frame.length)
			break;
		printf("%d:%u:", frame.type, frame.call);
		print_hex(bytes + FRAME_HEADER, frame.length);
		printf(" ");
		bytes += FRAME_HEADER + frame.length;
		length -= FRAME_HEADER + frame.length;
	}
	printf("rest %zu\n", length);
}

static void print_call(char *bytes, size_t length)
{
	struct call call;

	if (!call_decode(bytes, length, &call)) {
		printf("bad\n");
		return;
	}
	uint32_t count = call.argc + call.envc;
	char **strings = calloc((size_t)count + 1, sizeof *strings);
	if (strings == NULL)
		abort();
	call_strings(call.strings, count, strings);
	printf("%d %d %d ", call.rows, call.columns, call.terminal);
	print_hex(call.cwd, strlen(call.cwd));
	for (uint32_t i = 0; i < count; i++) {
		printf(i < call.argc ? " a:" : " e:");
		print_hex(strings[i], strlen(strings[i]));
	}
	printf("\n");
	free(strings);
}

static void print_relayed(char *bytes, size_t length)
{
	printf("%d ", call_take_terminal(bytes, length));
	print_hex(bytes, length);
	printf("\n");
}

int main(void)
{
	struct line line;

	while (read_line(&line)) {
		if (strcmp(line.what, "stream") == 0)
			print_stream(line.bytes, line.length);
		else if (strcmp(line.what, "relayed") == 0)
			print_relayed(line.bytes, line.length);
		else
			print_call(line.bytes, line.length);
		free(line.bytes);
	}
	return 0;
}
