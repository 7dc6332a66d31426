/* The processes below one process, as /proc shows them. */
#ifndef TREE_H
#define TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct process {
	pid_t pid, parent;
	bool zombie;
	bool below;
};

struct tree {
	struct process *list; /* by pid */
	size_t count, room;
};

/* Reads all descendants of root into the tree, which is reused; PID 1 has everybody else.
 * What does not fit into memory is left out. */
void tree_read(struct tree *tree, pid_t root);

/* Asks a process to end, awake or stopped. */
void tree_signal(const struct process *process, int signal);

/* A process's parent; 0 for one from outside, -1 when it is gone. */
pid_t tree_parent(pid_t pid);

#endif
