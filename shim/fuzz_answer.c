/* Feeds any bytes to the shim as a proxy's answer: it takes the same from them however they are
 * cut on their way. The first byte is the size of the pieces. */
#include <string.h>

#include "answer.h"
#include "fuzz_link.h"

enum { SWITCHING = 101, ROOM = 64 * 1024 };

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

struct taken {
	bool has_head, has_body;
	struct http_head head;
	size_t length;
	char output[ROOM];
};

static void take(const unsigned char *data, size_t size, size_t piece, struct taken *taken)
{
	static struct link connection;
	static int file = -1;

	if (file < 0)
		file = new_file();
	bring(&connection, data, size, piece);
	taken->has_head = answer_head(&connection, &taken->head);
	taken->has_body = taken->has_head && taken->head.status != SWITCHING &&
			  answer_body(&connection, &taken->head, file);
	close(connection.fd);
	taken->length = take_written(file, taken->output, ROOM);
}

static bool are_same(const struct http_head *a, const struct http_head *b)
{
	return a->status == b->status && a->exit_code == b->exit_code &&
	       a->content_length == b->content_length && a->chunked == b->chunked &&
	       strcmp(a->exec_id, b->exec_id) == 0;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static struct taken whole, pieces;

	if (size == 0 || size > ROOM)
		return 0;
	take(data + 1, size - 1, size, &whole);
	take(data + 1, size - 1, data[0], &pieces);
	if (whole.has_head != pieces.has_head || whole.has_body != pieces.has_body ||
	    whole.length != pieces.length ||
	    memcmp(whole.output, pieces.output, whole.length) != 0)
		abort();
	if (whole.has_head && !are_same(&whole.head, &pieces.head))
		abort();
	return 0;
}
