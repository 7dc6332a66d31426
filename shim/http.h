/* What a caller of the proxy needs of HTTP/1.1: form fields, and the head of an answer. No I/O. */
#ifndef HTTP_H
#define HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HTTP_HEAD_LIMIT = 64 * 1024, EXEC_ID_LIMIT = 64 };
enum { HTTP_MORE = 0, HTTP_BAD = -1 };

struct http_head {
	int status;
	int exit_code;          /* X-Exit-Code; -1 when there is none */
	int64_t content_length; /* -1 when there is none */
	bool chunked;
	char exec_id[EXEC_ID_LIMIT + 1]; /* X-Exec-Id; empty when there is none */
};

/* Reads an answer's head. Returns how many bytes it takes, HTTP_MORE as long as its end is
 * missing, HTTP_BAD for anything that is no answer or that two readers could read in two ways. */
long http_head(const char *bytes, size_t length, struct http_head *head);

/* Reads the fields after the last chunk into a head that http_head has filled. */
long http_trailer(const char *bytes, size_t length, struct http_head *head);

/* Percent-encodes bytes for a form; returns how many it makes, at most 3 * length. out may
 * be NULL to count them. */
size_t form_encode(const char *bytes, size_t length, char *out);

/* One field of a form, decoded in place; not ended by a NUL. */
struct form_field {
	char *name, *value;
	size_t name_length, value_length;
};

/* Takes the next field from *form, which has *length bytes left. False at the end, and for
 * a percent sign without two hexadecimal digits; *length is 0 only at the end. */
bool form_next(char **form, size_t *length, struct form_field *field);

#endif
