/* Starting a tool: streams, terminal, environment, the program on the PATH. */
#ifndef TOOL_H
#define TOOL_H

#include <stdbool.h>
#include <sys/types.h>

#include "frame.h"
#include "io.h"

struct tool {
	pid_t leader; /* of its process group; of its session unless it has a terminal */
	int master;   /* of its terminal; -1 when it has none */
	int slave;    /* kept: the terminal lasts as long as the tool, whoever has it open */
};

struct failure {
	uint8_t stage;
	int error;
};

/* True when these are the streams that a call needs and that a tool may have: no
 * directory, no O_PATH descriptor (both lead out of the container), no terminal. */
bool tool_may_have(const struct passed *passed, const struct call *call);

/* Starts the program. False, with the failure filled in, when that is not possible. */
bool tool_start(const struct call *call, const struct passed *passed, struct tool *tool,
		struct failure *failure);

#endif
