/* Frames that wait to be written, in a buffer that is never outgrown. */
#ifndef OUTBOX_H
#define OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"

enum { OUTBOX_ROOM = 16 * (FRAME_HEADER + FRAME_PAYLOAD_LIMIT) };

struct outbox {
	size_t start, have;
	char bytes[OUTBOX_ROOM];
};

/* True when a frame of any size fits; to be asked before each of the next two. */
bool outbox_has_room(const struct outbox *outbox);

/* Where the payload of the next frame may be put, FRAME_PAYLOAD_LIMIT bytes at most. */
char *outbox_payload(struct outbox *outbox);

/* Adds a frame whose payload lies there already. */
void outbox_add(struct outbox *outbox, uint8_t type, uint32_t call, size_t length);

/* Adds a frame. */
void outbox_put(struct outbox *outbox, uint8_t type, uint32_t call, const void *payload,
		size_t length);

/* Writes what goes without waiting; false when nobody reads any more. */
bool outbox_write(struct outbox *outbox, int target);

#endif
