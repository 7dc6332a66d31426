#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"
#include "monitor.h"
#include "tool.h"

enum { PATIENCE = 10 * 1000, STAMP_LIMIT = 4096, SPEC_LIMIT = 256, ROOM = 16 * 1024 };

static char room[ROOM]; /* of most calls: to find memory takes longer than to fill it */

void refuse(int connection, enum stage stage, int error)
{
	unsigned char payload[5] = {(unsigned char)stage};

	store32(payload + 1, (uint32_t)error);
	(void)send_frame(connection, FRAME_FAILED, payload, sizeof payload, -1);
}

/* The stamp as it is now: a regular file, no link, not too large; else nothing. */
static size_t read_stamp(const char *path, char *buffer)
{
	struct stat status;
	char more[STAMP_LIMIT + 1];

	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t length = -1;
	if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
		length = read_all(fd, more, sizeof more);
	close(fd);
	if (length <= 0 || length > STAMP_LIMIT)
		return 0;
	memcpy(buffer, more, (size_t)length);
	return (size_t)length;
}

static bool welcome(int connection, const struct settings *settings)
{
	char payload[SPEC_LIMIT + 1 + STAMP_LIMIT];
	size_t length = strnlen(settings->spec, SPEC_LIMIT);

	memcpy(payload, settings->spec, length);
	payload[length++] = '\0';
	if (settings->stamp != NULL)
		length += read_stamp(settings->stamp, payload + length);
	return send_frame(connection, FRAME_WELCOME, payload, (uint32_t)length, -1);
}

static void let_go(char *payload)
{
	if (payload != room)
		free(payload);
}

/* The payload must come within the deadline and without descriptors: those belong to the
 * first byte of the frame. True when another call may follow. */
static bool take_call(int connection, uint32_t length, const struct passed *passed,
		      int64_t deadline, bool stays)
{
	struct passed stray = {.count = 0};
	struct failure failure;
	struct tool tool;
	struct call call;
	char *payload = length <= ROOM ? room : malloc(length);

	if (payload == NULL) {
		refuse(connection, STAGE_MALFORMED, ENOMEM);
		return false;
	}
	if (!receive(connection, payload, length, &stray, deadline)) {
		let_go(payload);
		return false;
	}
	if (stray.count > 0 || stray.bad || !call_decode(payload, length, &call)) {
		refuse(connection, STAGE_MALFORMED, EPROTO);
	} else if (!tool_may_have(passed, &call)) {
		refuse(connection, STAGE_DESCRIPTORS, EBADF);
	} else if (!tool_start(&call, passed, &tool, &failure)) {
		refuse(connection, failure.stage, failure.error);
	} else {
		let_go(payload);
		(void)send_frame(connection, FRAME_STARTED, NULL, 0, tool.master);
		return monitor(connection, &tool, stays && tool.master < 0); /* else we lead its session */
	}
	let_go(payload);
	return false;
}

/* Whoever gets its own descriptors back knows that they pass both ways. */
static bool echo(int connection, const struct passed *passed)
{
	unsigned char header[FRAME_HEADER];

	frame_encode(&(struct frame){.type = FRAME_ECHO}, header);
	ssize_t sent = send_some(connection, header, sizeof header, passed->fd, passed->count, 0);
	for (size_t i = 0; i < passed->count; i++)
		close(passed->fd[i]);
	return sent == sizeof header;
}

/* What was meant for a tool that had just ended. */
static bool take_late(int connection, uint32_t length, int64_t deadline)
{
	struct passed stray = {.count = 0};
	unsigned char payload[4];

	return length <= sizeof payload && receive(connection, payload, length, &stray, deadline) &&
	       stray.count == 0 && !stray.bad;
}

/* True as long as another frame may follow. Whoever stays has several calls. */
static bool take_frame(int connection, const struct settings *settings, bool *stays)
{
	unsigned char header[FRAME_HEADER];
	struct passed passed = {.count = 0};
	struct frame frame;
	int64_t deadline = now() + PATIENCE;

	if (!receive(connection, header, sizeof header, &passed, deadline))
		return false;
	bool bare = passed.count == 0 && !passed.bad;
	bool known = frame_decode(header, &frame);
	if (known && frame.type == FRAME_CALL)
		return take_call(connection, frame.length, &passed, deadline, *stays);
	if (known && frame.type == FRAME_HELLO && frame.length == 0 && bare)
		return welcome(connection, settings);
	if (known && frame.type == FRAME_READY && frame.length == 0 && bare)
		return *stays = true;
	if (known && frame.type == FRAME_ECHO && frame.length == 0 && !passed.bad)
		return echo(connection, &passed);
	bool late = frame.type == FRAME_SIGNAL || frame.type == FRAME_WINDOW ||
		    frame.type == FRAME_FOREGROUND;
	if (known && late && bare && *stays)
		return take_late(connection, frame.length, deadline);
	refuse(connection, STAGE_MALFORMED, EPROTO);
	return false;
}

noreturn void serve(int connection, const struct settings *settings)
{
	int64_t deadline = now() + PATIENCE;
	bool stays = false;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	while (wait_readable(connection, deadline) && take_frame(connection, settings, &stays))
		deadline = FOREVER; /* whoever has said something may take its time */
	close(connection); /* before the end itself, which takes its time */
	_exit(0);
}
