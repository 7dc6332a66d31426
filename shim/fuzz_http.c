/* Feeds any bytes to the readers of answers and forms; what is encoded decodes to itself. */
#include <stdlib.h>
#include <string.h>

#include "http.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static char *copy(const void *data, size_t size)
{
	char *bytes = malloc(size + (size == 0));

	if (bytes == NULL)
		abort();
	if (size > 0)
		memcpy(bytes, data, size);
	return bytes;
}

static void check_round_trip(const unsigned char *data, size_t size)
{
	size_t length = form_encode((const char *)data, size, NULL);
	char *encoded = malloc(length + 1), *position;
	struct form_field field;

	if (encoded == NULL)
		abort();
	memcpy(encoded, "=", 1);
	if (form_encode((const char *)data, size, encoded + 1) != length)
		abort();
	position = encoded;
	length++;
	if (!form_next(&position, &length, &field) || field.value_length != size ||
	    (size > 0 && memcmp(field.value, data, size) != 0))
		abort();
	free(encoded);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct http_head head;
	struct form_field field;
	char *bytes = copy(data, size), *position = bytes;
	size_t left = size;

	long taken = http_head(bytes, size, &head);
	if (taken > (long)size || (taken > 0 && head.exit_code > 255))
		abort();
	if (taken > 0)
		(void)http_trailer(bytes + taken, size - (size_t)taken, &head);
	while (form_next(&position, &left, &field)) {
		if (field.name < bytes || field.value + field.value_length > bytes + size)
			abort();
	}
	free(bytes);
	check_round_trip(data, size);
	return 0;
}
