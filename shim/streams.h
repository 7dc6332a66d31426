/* The caller's three streams: what goes along to the tool in their place. */
#ifndef STREAMS_H
#define STREAMS_H

#include <stdbool.h>

#include "io.h"

struct streams {
	bool terminal[STREAMS];
	bool screen;            /* stdin and stdout are terminals: the tool gets one of its own */
	int passed[STREAMS];    /* what is passed; never a terminal */
	int relayed[STREAMS];   /* our end of the pipe that is passed for a terminal; -1 for none */
};

/* Looks at the streams, opening those that are closed. Ends the program for one that no tool
 * may have: a directory, or a descriptor without access. */
void streams_look(struct streams *streams, const char *tool);

/* Makes what is passed in place of terminals. */
void streams_prepare(struct streams *streams, const char *tool);

/* Closes our copies of the tool's ends, so that each pipe ends with the tool. */
void streams_passed(struct streams *streams);

#endif
