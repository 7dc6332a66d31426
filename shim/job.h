/* We and the tool as one job of the caller's shell: signals, stopping, the terminal's foreground. */
#ifndef JOB_H
#define JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "screen.h"

struct job {
	int proxy;          /* the connection to it */
	bool screen;        /* the tool has a terminal of its own */
	struct window told; /* what it knows of ours */
	int stopped_by;     /* the tool was, and we are to be at stop_at */
	int64_t stop_at;    /* FOREVER unless the tool has been stopped */
};

/* Passes a signal on; with it we stop, or go on, ourselves. */
void job_signal(struct job *job, int number);

/* The tool has been stopped, by itself or by a key on its terminal. */
void job_stopped(struct job *job, int number);

/* To be called each round: takes the terminal once it is ours, lets go of it when it is not, and
 * stops us soon after the tool. */
void job_look(struct job *job);

/* True while the tool is stopped and we are about to be. */
bool job_stops(const struct job *job);

#endif
