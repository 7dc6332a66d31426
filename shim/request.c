#include "request.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "http.h"
#include "io.h"
#include "signals.h"

enum { ROOM = 16 * 1024 };

/* Counts what is put in when it has no connection. */
struct writer {
	int connection;
	const int *descriptors;
	bool stopped;
	uint64_t count;
	size_t have;
	char buffer[ROOM];
};

static void attach(struct msghdr *message, void *control, size_t size, const int *descriptors)
{
	memset(control, 0, size);
	message->msg_control = control;
	message->msg_controllen = (socklen_t)size;
	struct cmsghdr *part = CMSG_FIRSTHDR(message);
	part->cmsg_level = SOL_SOCKET;
	part->cmsg_type = SCM_RIGHTS;
	part->cmsg_len = CMSG_LEN(STREAMS * sizeof(int));
	memcpy(CMSG_DATA(part), descriptors, STREAMS * sizeof(int));
}

/* Waits for room; true when an answer is there before the request was taken. */
static bool answers_first(int connection)
{
	return signals_await(connection, POLLIN | POLLOUT) & POLLIN;
}

static void flush(struct writer *writer)
{
	union {
		struct cmsghdr aligned;
		char bytes[CMSG_SPACE(STREAMS * sizeof(int))];
	} control;
	struct iovec part = {.iov_base = writer->buffer, .iov_len = writer->have};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	writer->have = 0;
	if (writer->descriptors != NULL)
		attach(&message, &control, sizeof control, writer->descriptors);
	while (part.iov_len > 0 && !writer->stopped) {
		ssize_t sent = sendmsg(writer->connection, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0) {
			writer->stopped = errno != EAGAIN || answers_first(writer->connection);
			continue;
		}
		writer->descriptors = message.msg_control = NULL;
		message.msg_controllen = 0;
		part.iov_base = (char *)part.iov_base + sent;
		part.iov_len -= (size_t)sent;
	}
}

static void put(struct writer *writer, const char *text)
{
	size_t length = strlen(text);

	writer->count += length;
	while (writer->connection >= 0 && length > 0) {
		size_t piece = length < ROOM - writer->have ? length : ROOM - writer->have;
		memcpy(writer->buffer + writer->have, text, piece);
		writer->have += piece;
		text += piece;
		length -= piece;
		if (writer->have == ROOM)
			flush(writer);
	}
}

static void put_encoded(struct writer *writer, const char *bytes)
{
	size_t length = strlen(bytes);

	if (writer->connection < 0) {
		writer->count += form_encode(bytes, length, NULL);
		return;
	}
	while (length > 0) {
		if (ROOM - writer->have < 3)
			flush(writer);
		size_t piece = (ROOM - writer->have) / 3;
		piece = length < piece ? length : piece;
		writer->have += form_encode(bytes, piece, writer->buffer + writer->have);
		bytes += piece;
		length -= piece;
	}
}

static void put_field(struct writer *writer, const char *name, const char *value)
{
	put(writer, name);
	put_encoded(writer, value);
}

/* A pattern is a name, or a beginning of names with a star behind it. */
static bool is_in(const char *name, size_t length, const char *patterns)
{
	while (*(patterns += strspn(patterns, ", ")) != '\0') {
		size_t wanted = strcspn(patterns, ", ");
		bool begins = patterns[wanted - 1] == '*';
		if (strncmp(name, patterns, wanted - begins) == 0 &&
		    (begins ? length >= wanted - 1 : length == wanted))
			return true;
		patterns += wanted;
	}
	return false;
}

bool is_candidate(const char *variable)
{
	static const char never[] = "LD_*,PATH,HOME,BASH_ENV,NODE_OPTIONS,PWD,OLDPWD,SHLVL,_";
	const char *narrow = getenv("AIFO_SHIM_ENV");
	size_t length = strcspn(variable, "=");

	if (length == 0 || variable[length] == '\0')
		return false;
	if (is_in(variable, length, "AIFO_*") && !is_in(variable, length, "AIFO_ENV_*"))
		return false;
	return !is_in(variable, length, never) && (narrow == NULL || is_in(variable, length, narrow));
}

static void put_body(struct writer *writer, const struct request *request)
{
	const struct order *order = request->order;

	put_field(writer, request->notify ? "cmd=" : "tool=", order->tool);
	if (request->cwd != NULL)
		put_field(writer, "&cwd=", request->cwd);
	if (request->tty != NULL)
		put_field(writer, "&tty=", request->tty);
	for (char **argument = order->arguments; *argument != NULL; argument++)
		put_field(writer, "&arg=", *argument);
	if (request->notify)
		return;
	for (char **variable = order->environment; *variable != NULL; variable++) {
		if (is_candidate(*variable))
			put_field(writer, "&env=", *variable);
	}
}

/* The call in which this one was made, for one who is a tool himself. */
static void put_parent(struct writer *writer)
{
	const char *parent = getenv("AIFO_EXEC_ID");
	static const char plain[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

	if (parent == NULL || parent[0] == '\0' || strlen(parent) > EXEC_ID_LIMIT ||
	    parent[strspn(parent, plain)] != '\0')
		return;
	put(writer, "X-Aifo-Parent-Id: ");
	put(writer, parent);
	put(writer, "\r\n");
}

static void put_head(struct writer *writer, const struct request *request, uint64_t length)
{
	char number[64];

	put(writer, request->notify ? "POST /notify" : "POST /exec");
	put(writer, " HTTP/1.1\r\nHost: ");
	put(writer, request->proxy->host);
	put(writer, "\r\nAuthorization: Bearer ");
	put(writer, request->proxy->token);
	put(writer, "\r\nContent-Type: application/x-www-form-urlencoded\r\n");
	if (request->notify)
		put(writer, "X-Aifo-Proto: 1\r\nConnection: close\r\n");
	else
		put(writer, "X-Aifo-Proto: 3\r\nConnection: Upgrade\r\nUpgrade: aifo-exec\r\n");
	put_parent(writer);
	snprintf(number, sizeof number, "Content-Length: %llu\r\n\r\n", (unsigned long long)length);
	put(writer, number);
}

void request_send(const struct request *request, int connection)
{
	static struct writer writer;

	writer.connection = -1;
	writer.stopped = false;
	writer.count = 0;
	put_body(&writer, request);
	uint64_t length = writer.count;
	writer.connection = connection;
	writer.descriptors = request->descriptors;
	put_head(&writer, request, length);
	put_body(&writer, request);
	flush(&writer);
}
