/* The parent of one tool, from its start until nothing of it that must end is left. */
#ifndef MONITOR_H
#define MONITOR_H

#include "tool.h"

/* Obeys the connection's frames, stops the tool when the connection ends, reports how the
 * tool ended, and reaps it. The process must be a child subreaper with SIGCHLD blocked.
 * True when the caller, who may stay, was told that another call can follow: then nobody is
 * left below us. */
bool monitor(int connection, const struct tool *tool, bool stays);

#endif
