#include "flow.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __linux__
enum { OPENS_ANEW = 1 };
#else
enum { OPENS_ANEW = 0 };
#endif

/* A descriptor that others have open as well must stay as blocking as it is. When poll finds
 * it ready, a pipe or a terminal takes this much; files never block. */
static void look(struct flow *flow)
{
	struct stat status;

	flow->piece = FLOW_ROOM;
	if (flow->target < 0 || fstat(flow->target, &status) != 0)
		return;
	flow->is_pipe = S_ISFIFO(status.st_mode);
	flow->is_socket = S_ISSOCK(status.st_mode);
	if ((flow->is_pipe || S_ISCHR(status.st_mode)) &&
	    !(fcntl(flow->target, F_GETFL) & O_NONBLOCK))
		flow->piece = PIPE_BUF;
}

void flow_open(struct flow *flow, int source, int target, char *buffer)
{
	*flow = (struct flow){.source = source, .target = target, .buffer = buffer};
	look(flow);
}

/* Whoever writes this much gets a pipe that holds it: its reader has to be woken less often. */
static void widen(int pipe)
{
#ifdef F_SETPIPE_SZ
	if (fcntl(pipe, F_GETPIPE_SZ) < FLOW_ROOM)
		(void)fcntl(pipe, F_SETPIPE_SZ, FLOW_ROOM); /* unless the user has too much already */
#else
	(void)pipe;
#endif
}

/* A pipe that is opened anew takes as much as it has room for and does not block us, whatever
 * it does to those who have it open already. Not for a little: it costs more than it saves. */
static void open_anew(struct flow *flow)
{
	char path[] = "/proc/self/fd/XXXXXXXXXX";

	if (!OPENS_ANEW || !flow->is_pipe || flow->own_target)
		return;
	flow->is_pipe = false; /* once */
	snprintf(strchr(path, 'X'), 11, "%d", flow->target);
	int opened = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (opened < 0)
		return; /* another user's, or no /proc here */
	flow->target = opened;
	flow->own_target = true;
	flow->piece = FLOW_ROOM;
	widen(opened);
}

static void make_room(struct flow *flow)
{
	memmove(flow->buffer, flow->buffer + flow->start, flow->have);
	flow->start = 0;
}

bool flow_put(struct flow *flow, const char *bytes, size_t length)
{
	if (length > FLOW_ROOM - flow->have)
		return false;
	if (length > FLOW_ROOM - flow->start - flow->have)
		make_room(flow);
	memcpy(flow->buffer + flow->start + flow->have, bytes, length);
	flow->have += length;
	return true;
}

void flow_end(struct flow *flow)
{
	if (!flow->ended && flow->own_source)
		close(flow->source);
	if (flow->have == 0 && flow->own_target && flow->target >= 0) {
		close(flow->target);
		flow->own_target = false;
	}
	flow->ended = true;
}

void flow_fill(struct flow *flow, size_t limit)
{
	if (flow->have > 0)
		return;
	ssize_t got = read(flow->source, flow->buffer, limit < FLOW_ROOM ? limit : FLOW_ROOM);
	flow->start = 0;
	if (got > 0)
		flow->have = (size_t)got;
	else if (got == 0 || (errno != EINTR && errno != EAGAIN))
		flow_end(flow);
}

/* A socket can be asked not to block; what else poll has found ready does not. */
static ssize_t write_some(const struct flow *flow, const char *bytes, size_t length)
{
	ssize_t sent;

	if (flow->is_socket)
		sent = send(flow->target, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		sent = write(flow->target, bytes, length);
	return sent < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : sent;
}

long flow_drain(struct flow *flow)
{
	if (flow->have > flow->piece)
		open_anew(flow);
	size_t length = flow->have < flow->piece ? flow->have : flow->piece;
	ssize_t sent = write_some(flow, flow->buffer + flow->start, length);

	if (sent < 0)
		return -1;
	flow->start += (size_t)sent;
	flow->have -= (size_t)sent;
	if (flow->have == 0)
		flow->start = 0;
	if (flow->have == 0 && flow->ended)
		flow_end(flow);
	return sent;
}

long flow_pass(struct flow *flow, const char *bytes, size_t length)
{
	ssize_t sent = 0;

	if (length > flow->piece)
		open_anew(flow);
	if (flow->have == 0 && flow->piece == FLOW_ROOM)
		sent = write_some(flow, bytes, length);
	if (sent < 0)
		return -1;
	return flow_put(flow, bytes + sent, length - (size_t)sent) ? sent : -2;
}
