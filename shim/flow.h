/* Bytes on their way from one place to another, through a buffer that is never outgrown. */
#ifndef FLOW_H
#define FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FLOW_ROOM = 256 * 1024 }; /* the credit that a stream begins with */

struct flow {
	int source; /* -1: frames fill it, or nothing comes any more */
	int target; /* -1: what is read becomes frames of stdin */
	bool own_target, own_source; /* to be closed when the other side has ended */
	bool ended;                  /* nothing is read any more */
	bool is_pipe, is_socket;     /* what the target is */
	size_t piece;                /* what the target takes at once without blocking */
	size_t start, have;
	char *buffer; /* FLOW_ROOM bytes */
};

void flow_open(struct flow *flow, int source, int target, char *buffer);

/* Adds bytes; false when they do not fit. */
bool flow_put(struct flow *flow, const char *bytes, size_t length);

/* Writes what can be written without waiting and adds the rest. Returns how much went, -1 when
 * the target takes no more, -2 when they do not fit. */
long flow_pass(struct flow *flow, const char *bytes, size_t length);

/* Reads once what the source has, up to a limit; at its end the flow has ended. */
void flow_fill(struct flow *flow, size_t limit);

/* Writes once, without waiting when the target is ready. Returns how much went, 0 for
 * nothing yet, -1 when the target takes no more: errno says why. */
long flow_drain(struct flow *flow);

/* Nothing more comes in, and when that is written the target ends as well. */
void flow_end(struct flow *flow);

#endif
