/* What the parts of the shim share: the call that was ordered, and how it can end. */
#ifndef SHIM_H
#define SHIM_H

#define SELF "aifo-shim"

enum { REFUSED = 86, LOST = 125, NOT_EXECUTABLE = 126, NOT_FOUND = 127, SIGNALLED = 128 };

struct order {
	const char *tool;
	char **arguments;   /* without the tool's name; NULL at the end */
	char **environment; /* what the tool may get of it; NULL at the end */
};

/* A setting of the session: AIFO_TOOLEEXEC_<name>, as existing images spell it, else
 * AIFO_TOOLEXEC_<name>; NULL when there is none or it is empty. */
const char *setting(const char *name);

#endif
