/* Writing a request: fields of a form, however long, through one small buffer. */
#ifndef REQUEST_H
#define REQUEST_H

#include <stdbool.h>

#include "proxy.h"
#include "shim.h"

struct request {
	const struct proxy *proxy;
	const struct order *order;
	bool notify;            /* a notification: the tool's name is the command's */
	const char *cwd;        /* NULL for a notification */
	const char *tty;        /* "rows,columns,mask"; NULL without a terminal */
	const int *descriptors; /* three that go with the first byte; NULL for none */
};

/* Sends it; stops early when an answer comes first or the connection ends, both of which show
 * when the connection is read. Signals have been taken over. */
void request_send(const struct request *request, int connection);

/* True for a variable that the tool may get, as far as the caller has a say: what never
 * reaches a tool is left out here, AIFO_SHIM_ENV narrows the rest. The proxy decides. */
bool is_candidate(const char *variable);

#endif
