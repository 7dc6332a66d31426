/* For the tests: reads one table row a line, "head HEX", "trailer HEX", "form HEX" or
 * "encode HEX", and prints what came out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_line.h"
#include "http.h"

static void print_head(long size, const struct http_head *head)
{
	if (size <= 0)
		printf("%s\n", size == HTTP_MORE ? "more" : "bad");
	else
		printf("%ld %d %d %lld %d '%s'\n", size, head->status, head->exit_code,
		       (long long)head->content_length, head->chunked, head->exec_id);
}

static void print_form(char *bytes, size_t length)
{
	struct form_field field;

	while (form_next(&bytes, &length, &field)) {
		print_hex(field.name, field.name_length);
		printf("=");
		print_hex(field.value, field.value_length);
		printf(" ");
	}
	printf("%s\n", length == 0 ? "end" : "bad");
}

static void print_encoded(const char *bytes, size_t length)
{
	size_t room = form_encode(bytes, length, NULL);
	char *encoded = malloc(room + 1);

	if (encoded == NULL)
		abort();
	form_encode(bytes, length, encoded);
	printf("%.*s\n", (int)room, encoded);
	free(encoded);
}

int main(void)
{
	struct line line;

	while (read_line(&line)) {
		struct http_head head = {.exit_code = -1, .content_length = -1};
		if (strcmp(line.what, "head") == 0)
			print_head(http_head(line.bytes, line.length, &head), &head);
		else if (strcmp(line.what, "trailer") == 0)
			print_head(http_trailer(line.bytes, line.length, &head), &head);
		else if (strcmp(line.what, "form") == 0)
			print_form(line.bytes, line.length);
		else
			print_encoded(line.bytes, line.length);
		free(line.bytes);
	}
	return 0;
}
