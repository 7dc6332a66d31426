/* A call's own connection to init: what init has not taken yet, and what goes along with it. */
#ifndef REACH_H
#define REACH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "frame.h"
#include "io.h"

/* Where init listens, and which process it must be: a tool may have put its own socket there. */
struct door {
	const char *socket;
	pid_t init;
};

struct reach {
	const struct door *door;
	int fd;        /* -1 before and after */
	char *request; /* frames that init has not taken */
	size_t length, sent;
	size_t call_at;       /* where in the request the call begins */
	struct passed theirs; /* the tool's ends of its streams; they go with the call's first byte */
};

enum reached { REACHED, REACHED_LATER, REACHED_NEVER };

void reach_open(struct reach *reach, const struct door *door);

/* Connects; later where init's queue is full for a moment. */
enum reached reach_try(struct reach *reach);

/* Adds a frame to the request, the descriptors that are there with a call's; false without
 * memory. What comes faster than init takes it, as only signals can, is dropped. */
bool reach_add(struct reach *reach, const struct frame *frame, const char *payload);

/* Sends what goes. */
void reach_send(struct reach *reach);

/* The caller has left: init stops the call, and still ends the connection. */
void reach_leave(const struct reach *reach);

void reach_close(struct reach *reach);

#endif
