/* Feeds any bytes to the frame and call decoders, and reads every string that they give. */
#include <stdlib.h>
#include <string.h>

#include "frame.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static size_t read_strings(char *strings, uint32_t count)
{
	char **pointers = calloc((size_t)count + 1, sizeof *pointers);
	size_t total = 0;

	if (pointers == NULL)
		abort();
	call_strings(strings, count, pointers);
	for (char **pointer = pointers; *pointer != NULL; pointer++)
		total += strlen(*pointer) + 1;
	free(pointers);
	return total;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	unsigned char header[FRAME_HEADER];
	struct frame frame;
	struct call call;

	if (size < FRAME_HEADER)
		return 0;
	if (frame_decode(data, &frame)) {
		frame_encode(&frame, header);
		if (memcmp(header, data, sizeof header) != 0)
			abort();
	}
	size_t length = size - FRAME_HEADER;
	char *payload = malloc(length + 1); /* exactly as large as it says, for the sanitizer */
	if (payload == NULL)
		abort();
	memcpy(payload, data + FRAME_HEADER, length);
	if (call_decode(payload, length, &call)) {
		size_t total = read_strings(call.strings, call.argc + call.envc);
		if (call.strings + total != payload + length)
			abort();
	}
	free(payload);
	return 0;
}
