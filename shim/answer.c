#include "answer.h"

#include <string.h>

#include "io.h"

enum { CHUNK_LINE_LIMIT = 1024, SWITCHING = 101, FIRST_FINAL = 200 };

bool answer_head(struct link *link, struct http_head *head)
{
	for (;;) {
		long size = http_head(link_bytes(link), link->have, head);
		if (size == HTTP_BAD)
			return false;
		if (size > 0)
			link_take(link, (size_t)size);
		if (size > 0 && (head->status >= FIRST_FINAL || head->status == SWITCHING))
			return true;
		if (size == HTTP_MORE && !link_read(link, true))
			return false;
	}
}

/* Copies exactly so many bytes. What nobody wants to have is read all the same. */
static bool copy(struct link *link, uint64_t length, int output)
{
	while (length > 0) {
		if (link->have == 0 && !link_read(link, true))
			return false;
		size_t piece = link->have < length ? link->have : (size_t)length;
		(void)write_all(output, link_bytes(link), piece);
		link_take(link, piece);
		length -= piece;
	}
	return true;
}

/* The next line without its CRLF, let go of already; NULL when it does not come. */
static const char *line(struct link *link, size_t *length)
{
	for (;;) {
		const char *text = link_bytes(link);
		size_t seen = link->have < CHUNK_LINE_LIMIT ? link->have : CHUNK_LINE_LIMIT;
		const char *end = memchr(text, '\n', seen);
		if (end != NULL && end > text && end[-1] == '\r') {
			*length = (size_t)(end - text) - 1;
			link_take(link, *length + 2);
			return text;
		}
		if (end != NULL || seen == CHUNK_LINE_LIMIT || !link_read(link, true))
			return NULL;
	}
}

/* A chunk's size in hexadecimal, before the end of the line or a semicolon. */
static bool read_size(const char *text, size_t length, uint64_t *size)
{
	static const char digits[] = "00112233445566778899AaBbCcDdEeFf";
	size_t used = 0;

	for (*size = 0; used < length && text[used] != ';'; used++) {
		const char *digit = text[used] == '\0' ? NULL : strchr(digits, text[used]);
		if (digit == NULL || *size >> 56 != 0)
			return false;
		*size = *size << 4 | (uint64_t)(digit - digits) / 2;
	}
	return used > 0;
}

static bool read_trailer(struct link *link, struct http_head *head)
{
	for (;;) {
		struct http_head found = {.exit_code = -1, .content_length = -1};
		long size = http_trailer(link_bytes(link), link->have, &found);
		if (size == HTTP_BAD || (size == HTTP_MORE && !link_read(link, true)))
			return false;
		if (size > 0) {
			link_take(link, (size_t)size);
			if (found.exit_code >= 0)
				head->exit_code = found.exit_code;
			return true;
		}
	}
}

static bool copy_chunks(struct link *link, struct http_head *head, int output)
{
	for (;;) {
		size_t length;
		uint64_t size;
		const char *text = line(link, &length);
		if (text == NULL || !read_size(text, length, &size))
			return false;
		if (size == 0)
			return read_trailer(link, head);
		if (!copy(link, size, output))
			return false;
		text = line(link, &length);
		if (text == NULL || length != 0)
			return false;
	}
}

bool answer_body(struct link *link, struct http_head *head, int output)
{
	if (head->chunked)
		return copy_chunks(link, head, output);
	if (head->content_length >= 0)
		return copy(link, (uint64_t)head->content_length, output);
	(void)copy(link, UINT64_MAX, output); /* until the connection ends */
	return true;
}
