/* Feeds any bytes to the shim as the frames of a call, in pieces: what it writes and how it ends
 * is what the frames say. The first byte is the size of the pieces; an odd one for a call that
 * has got our own streams. */
#include <fcntl.h>
#include <setjmp.h>
#include <string.h>

#include "die.h"
#include "fuzz_link.h"
#include "relay.h"
#include "shim.h"
#include "signals.h"

enum { ROOM = 128 * 1024 };
enum { GOES_ON = -1, MEANINGLESS = -2 }; /* how frames end that have no exit */

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static jmp_buf died;

noreturn void die(int status, const char *name, const char *format, ...)
{
	(void)name;
	(void)format;
	longjmp(died, status);
}

/* What was said, or is to be said, on both outputs. */
struct words {
	size_t output, error;
	char text[ROOM];
};

/* Takes one frame down; returns the exit status it brings, or how else the frames go on. */
static int expect(const struct frame *frame, const unsigned char *payload, struct words *words)
{
	switch (frame->type) {
	case FRAME_STDOUT:
		memcpy(words->text + words->output, payload, frame->length);
		words->output += frame->length;
		return GOES_ON;
	case FRAME_STDERR:
	case FRAME_NOTICE:
		words->error += frame->length;
		return GOES_ON;
	case FRAME_CREDIT:
		return frame->length == 5 ? GOES_ON : MEANINGLESS;
	case FRAME_EXIT:
		if (frame->length != 2 || payload[0] > 1)
			return MEANINGLESS;
		return payload[1] + (payload[0] == 1 ? SIGNALLED : 0);
	default:
		return MEANINGLESS;
	}
}

static int expect_all(const unsigned char *data, size_t size, struct words *words)
{
	struct frame frame;
	int end = GOES_ON;

	words->output = words->error = 0;
	while (end == GOES_ON && size >= FRAME_HEADER) {
		if (!frame_decode(data, &frame) || frame.length > FRAME_PAYLOAD_LIMIT)
			return MEANINGLESS;
		if (size - FRAME_HEADER < frame.length) {
			frame.length = (uint32_t)(size - FRAME_HEADER);
			if (frame.type == FRAME_STDOUT || frame.type == FRAME_STDERR)
				expect(&frame, data + FRAME_HEADER, words); /* as it comes */
			break;
		}
		end = expect(&frame, data + FRAME_HEADER, words);
		data += FRAME_HEADER + frame.length;
		size -= FRAME_HEADER + frame.length;
	}
	return end;
}

/* The streams of this process: an empty one, and two files. */
static void open_streams(int files[2])
{
	int null = open("/dev/null", O_RDONLY);

	dup2(null, 0);
	close(null);
	for (int i = 0; i < 2; i++) {
		int file = new_file();
		files[i] = i + 1;
		dup2(file, files[i]);
		close(file);
	}
	if (!signals_begin())
		abort();
	signals_end(); /* the fuzzer's own */
}

static int run(struct link *link, bool passed)
{
	struct streams streams = {.passed = {0, 1, 2}, .relayed = {-1, -1, -1}};
	int status = setjmp(died);

	if (status != 0)
		return GOES_ON;
	return relay(link, &streams, passed, (struct window){.rows = 0}, "tool");
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static struct words expected, said;
	static struct link connection;
	static int files[2];

	if (size == 0 || size > ROOM)
		return 0;
	if (files[0] == 0)
		open_streams(files);
	int end = expect_all(data + 1, size - 1, &expected);
	bring(&connection, data + 1, size - 1, data[0]);
	int status = run(&connection, data[0] & 1);
	close(connection.fd);
	said.output = take_written(files[0], said.text, ROOM);
	if (status != (end == MEANINGLESS ? GOES_ON : end) || said.output > expected.output ||
	    memcmp(said.text, expected.text, said.output) != 0)
		abort();
	said.error = take_written(files[1], said.text, ROOM);
	if (end != MEANINGLESS && /* then what is still in hand is dropped */
	    (said.output != expected.output || said.error != expected.error))
		abort();
	return 0;
}
