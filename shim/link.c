#include "link.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io.h"
#include "signals.h"

static void make_room(struct link *link)
{
	if (link->start > 0)
		memmove(link->buffer, link_bytes(link), link->have);
	link->start = 0;
}

/* Only the last descriptor is kept: nobody sends more than one. */
static void keep_descriptors(struct msghdr *message, struct link *link)
{
	const struct cmsghdr *part = CMSG_FIRSTHDR(message);

	if (part == NULL || part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
		return;
	size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	for (size_t i = 0; i < count; i++) {
		if (link->descriptor >= 0)
			close(link->descriptor);
		memcpy(&link->descriptor, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
	}
}

bool link_read(struct link *link, bool wait)
{
	union {
		struct cmsghdr aligned;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;

	if (link->start + link->have > LINK_ROOM / 2)
		make_room(link);
	size_t used = link->start + link->have;
	struct iovec room = {.iov_base = link->buffer + used, .iov_len = LINK_ROOM - used};
	for (;;) {
		struct msghdr message = {
			.msg_iov = &room,
			.msg_iovlen = 1,
			.msg_control = &control,
			.msg_controllen = sizeof control,
		};
		if (wait)
			signals_await(link->fd, POLLIN); /* some end us */
		ssize_t got = recvmsg(link->fd, &message, MSG_DONTWAIT);
		if (got > 0) {
			keep_descriptors(&message, link);
			link->have += (size_t)got;
			return true;
		}
		if (got < 0 && errno == EAGAIN && !wait)
			return true;
		if (got == 0 || (errno != EINTR && errno != EAGAIN))
			return false;
	}
}

void link_take(struct link *link, size_t length)
{
	link->have -= length;
	link->start = link->have == 0 ? 0 : link->start + length;
}
