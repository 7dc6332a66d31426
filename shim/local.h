/* Running a tool here instead: the one of that name behind us on the PATH. */
#ifndef LOCAL_H
#define LOCAL_H

#include <stdbool.h>

#include "shim.h"

/* True when a link to this very program has that name beside the one we were called by. */
bool local_is_shim(const char *called_as, const char *tool);

enum local_reason { LOCAL_NO_PROXY, LOCAL_WANTED };

/* Becomes the tool of that name from the directories of the PATH after our own. Returns when
 * there is none; ends the program when it has come back here, or cannot be executed. */
void local_run(const char *called_as, const struct order *order, enum local_reason reason);

/* True when the program that an interpreter was asked to run lies outside the workspace, and
 * the user wants such programs to run here (AIFO_SHIM_SMART, AIFO_SHIM_SMART_NODE, _PYTHON). */
bool local_wants(const char *tool, char **arguments);

/* The workspace's directory as this machine has it; buffer has PATH_MAX bytes. */
const char *local_workspace(char *buffer);

#endif
