/* Every read, write and wait: EINTR, short counts, passed descriptors, deadlines. */
#ifndef IO_H
#define IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "frame.h"

enum { STREAMS = 3 };

static const int64_t FOREVER = INT64_MAX;

/* Descriptors that came with some bytes; bad when some were lost or there were too many. */
struct passed {
	int fd[STREAMS];
	size_t count;
	bool bad;
};

/* Milliseconds of a clock that nobody sets. */
int64_t now(void);

/* The time until a deadline as poll takes it: -1 for FOREVER, never negative otherwise. */
int until(int64_t deadline);

/* False when the deadline passes first. */
bool wait_readable(int fd, int64_t deadline);

/* Takes exactly length bytes and the descriptors that come along. False when the
 * connection ends, fails, or the deadline passes first. */
bool receive(int socket, void *buffer, size_t length, struct passed *passed, int64_t deadline);

/* Takes what is there, without waiting: -1 when that is nothing, 0 at the end or a
 * failure. Descriptors that come along are closed. */
ssize_t receive_some(int socket, void *buffer, size_t length);

/* Sends a whole frame; descriptor goes with its first byte unless it is -1. */
bool send_frame(int socket, uint8_t type, const void *payload, uint32_t length, int descriptor);

/* Sends once what goes, with count descriptors along; -1 as errno says. */
ssize_t send_some(int socket, const void *bytes, size_t length, const int *descriptors,
		  size_t count, int flags);

/* Reads up to length bytes, until the end; -1 on failure. */
ssize_t read_all(int fd, void *buffer, size_t length);

/* Writes everything to a pipe or file. */
bool write_all(int fd, const void *buffer, size_t length);

#endif
