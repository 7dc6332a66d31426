/* Reading what the proxy answers: heads, and the bodies of answers that are no call. */
#ifndef ANSWER_H
#define ANSWER_H

#include <stdbool.h>

#include "http.h"
#include "link.h"

/* Reads the head of the final answer; false when none comes, or something else does. */
bool answer_head(struct link *link, struct http_head *head);

/* Copies the body to a descriptor, with any trailer's fields going into head; false when the
 * connection ends before the body does. */
bool answer_body(struct link *link, struct http_head *head, int output);

#endif
