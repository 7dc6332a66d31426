/* A call that runs: its frames, the streams that could not be passed, signals, its end. */
#ifndef RELAY_H
#define RELAY_H

#include "link.h"
#include "screen.h"
#include "streams.h"

/* Stays with the call until its end and returns its exit status; ends the program when the
 * connection ends first. passed says that the tool has got the streams themselves; window is
 * what the request said. Signals have been taken over. */
int relay(struct link *link, struct streams *streams, bool passed, struct window window,
	  const char *tool);

#endif
