#include "streams.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "die.h"
#include "shim.h"

#ifndef O_PATH
#define O_PATH 0
#endif

static const char *const names[] = {"standard input", "standard output", "standard error"};

static noreturn void no_descriptors(const char *tool)
{
	die(LOST, SELF, "%s: cannot make its streams: %s", tool, strerror(errno));
}

void streams_look(struct streams *streams, const char *tool)
{
	struct stat status;

	for (int n = 0; n < STREAMS; n++) {
		int flags = fcntl(n, F_GETFL);
		if (flags < 0 && open("/dev/null", O_RDWR) != n)
			no_descriptors(tool);
		if (fstat(n, &status) != 0)
			no_descriptors(tool);
		if (S_ISDIR(status.st_mode) || (flags >= 0 && (flags & O_PATH)))
			die(REFUSED, SELF,
			    "%s: %s is a directory, or leads to one: no tool may have it", tool,
			    names[n]);
		streams->terminal[n] = S_ISCHR(status.st_mode) && isatty(n);
		streams->passed[n] = n;
		streams->relayed[n] = -1;
	}
	streams->screen = streams->terminal[0] && streams->terminal[1];
}

/* A terminal in the place of both outputs gets one pipe, which keeps them in order. */
static bool is_one_terminal(void)
{
	struct stat output, error;

	return fstat(1, &output) == 0 && fstat(2, &error) == 0 && output.st_rdev == error.st_rdev;
}

static void make_pipe(struct streams *streams, int n, const char *tool)
{
	int ends[2];

	if (pipe(ends) != 0)
		no_descriptors(tool);
	streams->relayed[n] = ends[n == 0];
	streams->passed[n] = ends[n != 0];
	fcntl(streams->relayed[n], F_SETFL, O_NONBLOCK);
}

void streams_prepare(struct streams *streams, const char *tool)
{
	for (int n = 0; n < STREAMS; n++) {
		if (!streams->terminal[n])
			continue;
		if (streams->screen)
			streams->passed[n] = open("/dev/null", O_RDWR); /* keeps its place */
		else if (n == 2 && streams->terminal[1] && is_one_terminal())
			streams->passed[n] = streams->passed[1];
		else
			make_pipe(streams, n, tool);
		if (streams->passed[n] < 0)
			no_descriptors(tool);
	}
}

void streams_passed(struct streams *streams)
{
	for (int n = 0; n < STREAMS; n++) {
		if (streams->passed[n] >= STREAMS && streams->passed[n] != streams->passed[(n + 1) % STREAMS])
			close(streams->passed[n]);
	}
}
