/* A connection to the proxy: what came and was not taken yet, the descriptor that came along. */
#ifndef LINK_H
#define LINK_H

#include <stdbool.h>
#include <stddef.h>

#include "frame.h"
#include "http.h"

enum { LINK_ROOM = 4 * (FRAME_HEADER + FRAME_PAYLOAD_LIMIT) };

struct link {
	int fd;
	int descriptor; /* the last that came; -1 for none */
	size_t start, have;
	char buffer[LINK_ROOM];
};

/* Takes what has come, waiting for it if told to; returns false at the end of the connection.
 * There is always room as long as no more than a head or a frame is left untaken. */
bool link_read(struct link *link, bool wait);

/* Lets go of bytes at the front. */
void link_take(struct link *link, size_t length);

static inline char *link_bytes(struct link *link)
{
	return link->buffer + link->start;
}

#endif
