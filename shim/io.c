#include "io.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef MSG_CMSG_CLOEXEC
#define MSG_CMSG_CLOEXEC 0 /* macOS, where no descriptors are passed */
#endif

int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

int until(int64_t deadline)
{
	if (deadline == FOREVER)
		return -1;
	int64_t left = deadline - now();
	return left <= 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

bool wait_readable(int fd, int64_t deadline)
{
	struct pollfd wanted = {.fd = fd, .events = POLLIN};

	for (;;) {
		int ready = poll(&wanted, 1, until(deadline));
		if (ready > 0)
			return true;
		if (ready < 0 && errno != EINTR)
			return false;
		if (ready == 0 && now() >= deadline)
			return false;
	}
}

/* The kernel gathers all descriptors of a message into one part. */
static void keep_descriptors(struct msghdr *message, struct passed *passed)
{
	const struct cmsghdr *part = CMSG_FIRSTHDR(message);

	if (message->msg_flags & MSG_CTRUNC)
		passed->bad = true;
	if (part == NULL || part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
		return;
	size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	for (size_t i = 0; i < count; i++) {
		int fd;
		memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
		if (passed->count < STREAMS) {
			passed->fd[passed->count++] = fd;
		} else {
			passed->bad = true;
			close(fd);
		}
	}
}

bool receive(int socket, void *buffer, size_t length, struct passed *passed, int64_t deadline)
{
	char *position = buffer;

	while (length > 0) {
		union {
			struct cmsghdr aligned;
			char bytes[CMSG_SPACE(STREAMS * sizeof(int))];
		} control;
		struct iovec rest = {.iov_base = position, .iov_len = length};
		struct msghdr message = {
			.msg_iov = &rest,
			.msg_iovlen = 1,
			.msg_control = &control,
			.msg_controllen = sizeof control,
		};
		ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
		if (got > 0) {
			keep_descriptors(&message, passed);
			position += got;
			length -= (size_t)got;
		} else if (got == 0) {
			return false;
		} else if (errno == EAGAIN) {
			if (!wait_readable(socket, deadline))
				return false;
		} else if (errno != EINTR) {
			return false;
		}
	}
	return true;
}

ssize_t receive_some(int socket, void *buffer, size_t length)
{
	for (;;) {
		ssize_t got = recv(socket, buffer, length, MSG_DONTWAIT);
		if (got >= 0)
			return got;
		if (errno == EAGAIN)
			return -1;
		if (errno != EINTR)
			return 0;
	}
}

static ssize_t send_once(int socket, struct msghdr *message, const int *descriptors,
			 size_t count, int flags)
{
	union {
		struct cmsghdr aligned;
		char bytes[CMSG_SPACE(STREAMS * sizeof(int))];
	} control;

	if (count > 0) {
		memset(&control, 0, sizeof control);
		message->msg_control = control.bytes;
		message->msg_controllen = (socklen_t)CMSG_SPACE(count * sizeof(int));
		struct cmsghdr *part = CMSG_FIRSTHDR(message);
		part->cmsg_level = SOL_SOCKET;
		part->cmsg_type = SCM_RIGHTS;
		part->cmsg_len = (socklen_t)CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(part), descriptors, count * sizeof(int));
	}
	ssize_t sent = sendmsg(socket, message, MSG_NOSIGNAL | flags);
	message->msg_control = NULL;
	message->msg_controllen = 0;
	return sent;
}

ssize_t send_some(int socket, const void *bytes, size_t length, const int *descriptors,
		  size_t count, int flags)
{
	struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	return send_once(socket, &message, descriptors, count, flags);
}

bool send_frame(int socket, uint8_t type, const void *payload, uint32_t length, int descriptor)
{
	unsigned char header[FRAME_HEADER];
	struct iovec parts[2] = {
		{.iov_base = header, .iov_len = sizeof header},
		{.iov_base = (void *)(uintptr_t)payload, .iov_len = length},
	};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	size_t passed = descriptor >= 0;

	frame_encode(&(struct frame){.type = type, .length = length}, header);
	while (parts[0].iov_len + parts[1].iov_len > 0) {
		ssize_t sent = send_once(socket, &message, &descriptor, passed, 0);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return false;
		passed = 0;
		for (int i = 0; i < 2; i++) {
			size_t done = (size_t)sent < parts[i].iov_len ? (size_t)sent : parts[i].iov_len;
			parts[i].iov_base = (char *)parts[i].iov_base + done;
			parts[i].iov_len -= done;
			sent -= (ssize_t)done;
		}
	}
	return true;
}

ssize_t read_all(int fd, void *buffer, size_t length)
{
	size_t have = 0;

	while (have < length) {
		ssize_t got = read(fd, (char *)buffer + have, length - have);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		have += (size_t)got;
	}
	return (ssize_t)have;
}

bool write_all(int fd, const void *buffer, size_t length)
{
	const char *position = buffer;

	while (length > 0) {
		ssize_t written = write(fd, position, length);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return false;
		position += written;
		length -= (size_t)written;
	}
	return true;
}
