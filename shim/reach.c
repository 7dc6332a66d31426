#include "reach.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { REQUEST_LIMIT = 2 * FRAME_CALL_LIMIT };

void reach_open(struct reach *reach, const struct door *door)
{
	*reach = (struct reach){.door = door, .fd = -1};
}

/* Init, and not a tool that listens in its place. */
static bool is_init(int fd, pid_t init)
{
	struct ucred peer;
	socklen_t size = sizeof peer;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid == init;
}

enum reached reach_try(struct reach *reach)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return REACHED_NEVER;
	strncpy(address.sun_path, reach->door->socket, sizeof address.sun_path - 1);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
		enum reached reached = errno == EAGAIN ? REACHED_LATER : REACHED_NEVER;
		close(fd);
		return reached;
	}
	if (!is_init(fd, reach->door->init)) {
		close(fd);
		return REACHED_NEVER;
	}
	reach->fd = fd;
	return REACHED;
}

bool reach_add(struct reach *reach, const struct frame *frame, const char *payload)
{
	struct frame own = {.type = frame->type, .length = frame->length};
	size_t whole = FRAME_HEADER + frame->length;

	if (reach->length + whole > REQUEST_LIMIT)
		return true;
	char *request = realloc(reach->request, reach->length + whole);
	if (request == NULL)
		return false;
	if (frame->type == FRAME_CALL)
		reach->call_at = reach->length;
	frame_encode(&own, (unsigned char *)request + reach->length);
	memcpy(request + reach->length + FRAME_HEADER, payload, frame->length);
	reach->request = request;
	reach->length += whole;
	return true;
}

static void close_theirs(struct reach *reach)
{
	while (reach->theirs.count > 0)
		close(reach->theirs.fd[--reach->theirs.count]);
}

static void drop_request(struct reach *reach)
{
	free(reach->request);
	reach->request = NULL;
	reach->length = reach->sent = 0;
}

void reach_send(struct reach *reach)
{
	while (reach->sent < reach->length) {
		bool before = reach->theirs.count > 0 && reach->sent < reach->call_at;
		size_t end = before ? reach->call_at : reach->length;
		size_t passed = before ? 0 : reach->theirs.count;
		ssize_t sent = send_some(reach->fd, reach->request + reach->sent, end - reach->sent,
					 reach->theirs.fd, passed, MSG_DONTWAIT);
		if (sent < 0 && errno == EAGAIN)
			return;
		if (sent < 0 && errno == EINTR)
			continue;
		if (passed > 0)
			close_theirs(reach);
		if (sent < 0) /* init has answered already */
			break;
		reach->sent += (size_t)sent;
	}
	drop_request(reach);
}

void reach_leave(const struct reach *reach)
{
	shutdown(reach->fd, SHUT_WR);
}

void reach_close(struct reach *reach)
{
	if (reach->fd >= 0)
		close(reach->fd);
	reach->fd = -1;
	close_theirs(reach);
	drop_request(reach);
}
