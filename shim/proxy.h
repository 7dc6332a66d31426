/* Where the proxy is and what it wants to see: the URL, the token, a connection. */
#ifndef PROXY_H
#define PROXY_H

#include <stdbool.h>

enum { HOST_LIMIT = 256, TOKEN_LIMIT = 4096 };

struct proxy {
	const char *url;
	const char *socket;    /* path of its unix socket; NULL for TCP */
	char host[HOST_LIMIT]; /* as the Host field has it, with the port */
	char token[TOKEN_LIMIT + 1];
};

/* False when no URL or no token is set; ends the program for one that cannot be used. */
bool proxy_find(struct proxy *proxy);

/* A connected socket; ends the program when nobody answers. */
int proxy_connect(const struct proxy *proxy, const char *tool);

#endif
