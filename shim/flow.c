#include "flow.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A descriptor that others have open as well must stay as blocking as it is. When poll finds
 * it ready, a pipe or a terminal takes this much; files never block. */
static size_t piece_for(int target)
{
	struct stat status;

	if (target < 0 || (fcntl(target, F_GETFL) & O_NONBLOCK) || fstat(target, &status) != 0)
		return FLOW_ROOM;
	return S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode) ? PIPE_BUF : FLOW_ROOM;
}

void flow_open(struct flow *flow, int source, int target, char *buffer)
{
	*flow = (struct flow){.source = source, .target = target, .buffer = buffer};
	flow->piece = piece_for(target);
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
static ssize_t write_some(int target, const char *bytes, size_t length)
{
	ssize_t sent = send(target, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);

	return sent >= 0 || errno != ENOTSOCK ? sent : write(target, bytes, length);
}

long flow_drain(struct flow *flow)
{
	size_t length = flow->have < flow->piece ? flow->have : flow->piece;
	ssize_t sent = write_some(flow->target, flow->buffer + flow->start, length);

	if (sent < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	flow->start += (size_t)sent;
	flow->have -= (size_t)sent;
	if (flow->have == 0)
		flow->start = 0;
	if (flow->have == 0 && flow->ended)
		flow_end(flow);
	return sent;
}
