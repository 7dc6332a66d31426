/* Those who want calls: the socket, the process that waits there, those that serve. */
#ifndef CALLERS_H
#define CALLERS_H

#include <stdbool.h>
#include <sys/types.h>

#include "serve.h"

enum { CALLS = 1024 };

struct callers {
	const struct settings *settings;
	int listener; /* -1 when nobody can come any more */
	int taken[2]; /* a pipe: the waiting process writes its pid when it has a caller */
	pid_t spare;  /* waits for the next caller; 0 when there is none */
	pid_t calls[CALLS]; /* the processes that serve a connection */
	int count;
};

/* Listens on the socket that the settings name, or ends this process. */
void callers_open(struct callers *callers, const struct settings *settings);

/* Sees that a process waits, as long as there is room for what it will serve. */
void callers_wait(struct callers *callers);

/* Nobody waits although there is room: callers are for us to take. */
bool callers_are_ours(const struct callers *callers);
void callers_take(struct callers *callers);

/* Hears whether the waiting process has a caller. To be called before anybody is reaped: it
 * may have ended. */
void callers_notice(struct callers *callers);

/* A child has ended; true when it served a caller. */
bool callers_forget(struct callers *callers, pid_t child);

/* True for a process that serves a caller. */
bool callers_served_by(const struct callers *callers, pid_t process);

/* Nobody finds us any more; those who wait already are still served. */
void callers_hide(const struct callers *callers);

/* Ends the process that waits. */
void callers_dismiss(struct callers *callers);

/* Nobody is served any more but those who are already. */
void callers_close(struct callers *callers);

#endif
