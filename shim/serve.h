/* One connection to init, from its greeting to the end of its call. */
#ifndef SERVE_H
#define SERVE_H

#include <stdnoreturn.h>
#include <sys/types.h>

#include "frame.h"

struct settings {
	const char *socket; /* where init listens */
	const char *spec;   /* digest of the spec that the sidecar was started with */
	const char *stamp;  /* file that every welcome carries; NULL for none */
	long idle;          /* seconds until init ends by itself; 0 for never */
	uid_t caller;       /* may call besides root and init's own user; 0 for nobody */
};

/* Runs in a process of its own, below init, and ends it: after one call, or with a caller
 * whose calls follow one another as long as they leave nobody behind. */
noreturn void serve(int connection, const struct settings *settings);

/* Says why there will be no call. Does not wait for a caller that does not read. */
void refuse(int connection, enum stage stage, int error);

#endif
