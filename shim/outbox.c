#include "outbox.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { FRAME_LIMIT = FRAME_HEADER + FRAME_PAYLOAD_LIMIT };

bool outbox_has_room(const struct outbox *outbox)
{
	return outbox->have <= OUTBOX_ROOM - FRAME_LIMIT;
}

char *outbox_payload(struct outbox *outbox)
{
	if (outbox->start + outbox->have > OUTBOX_ROOM - FRAME_LIMIT) {
		memmove(outbox->bytes, outbox->bytes + outbox->start, outbox->have);
		outbox->start = 0;
	}
	return outbox->bytes + outbox->start + outbox->have + FRAME_HEADER;
}

void outbox_add(struct outbox *outbox, uint8_t type, uint32_t call, size_t length)
{
	struct frame frame = {.type = type, .call = call, .length = (uint32_t)length};
	char *header = outbox->bytes + outbox->start + outbox->have;

	frame_encode(&frame, (unsigned char *)header);
	outbox->have += FRAME_HEADER + length;
}

void outbox_put(struct outbox *outbox, uint8_t type, uint32_t call, const void *payload,
		size_t length)
{
	char *place = outbox_payload(outbox);

	if (length > 0)
		memcpy(place, payload, length);
	outbox_add(outbox, type, call, length);
}

bool outbox_write(struct outbox *outbox, int target)
{
	while (outbox->have > 0) {
		ssize_t written = write(target, outbox->bytes + outbox->start, outbox->have);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return errno == EAGAIN;
		outbox->start += (size_t)written;
		outbox->have -= (size_t)written;
	}
	outbox->start = 0;
	return true;
}
