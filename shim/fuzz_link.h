/* For the fuzzers: a connection that brings given bytes in pieces of a given size, then ends,
 * and a file to write to. */
#ifndef FUZZ_LINK_H
#define FUZZ_LINK_H

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link.h"

enum { MOST_PIECES = 64 }; /* what a socket holds of the smallest */

/* Each message of such a socket is read alone. */
static inline void bring(struct link *link, const unsigned char *data, size_t size, size_t piece)
{
	int ends[2];

	if (piece < size / MOST_PIECES + 1)
		piece = size / MOST_PIECES + 1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) != 0)
		abort();
	for (; size > 0; data += piece, size -= piece) {
		piece = piece < size ? piece : size;
		if (send(ends[0], data, piece, MSG_DONTWAIT) != (ssize_t)piece)
			abort();
	}
	close(ends[0]);
	link->fd = ends[1];
	link->descriptor = -1;
	link->start = link->have = 0;
}

/* An empty file that is nobody else's. */
static inline int new_file(void)
{
	int file = memfd_create("written", 0);

	if (file < 0)
		abort();
	return file;
}

/* Takes what was written to a file; returns how much that was. */
static inline size_t take_written(int file, char *buffer, size_t room)
{
	ssize_t length = pread(file, buffer, room, 0);

	if (length < 0 || ftruncate(file, 0) != 0 || lseek(file, 0, SEEK_SET) != 0)
		abort();
	return (size_t)length;
}

#endif
