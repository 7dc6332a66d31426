#include "ends.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { CREDIT_STEP = FLOW_ROOM / 4 };

void ends_open(struct ends *ends, char *buffer)
{
	*ends = (struct ends){.readable = false};
	flow_open(&ends->input, -1, -1, buffer);
	for (int i = 0; i < SOURCES; i++)
		ends->sources[i] = (struct source){.fd = -1, .left = -1};
	for (int n = 0; n < STREAMS; n++)
		ends->credit[n] = FLOW_ROOM;
}

static bool make_pipe(struct ends *ends, int n, struct passed *theirs)
{
	int pair[2];

	if (pipe2(pair, O_CLOEXEC) != 0)
		return false;
	int ours = n == 0 ? pair[1] : pair[0];
	theirs->fd[theirs->count++] = n == 0 ? pair[0] : pair[1];
	fcntl(ours, F_SETFL, O_NONBLOCK);
	if (n == 0) {
		flow_open(&ends->input, -1, ours, ends->input.buffer);
		ends->input.own_target = ends->readable = true;
	} else {
		ends->sources[n - 1].fd = ours;
		ends->sources[n - 1].type = (uint8_t)n;
	}
	return true;
}

static bool share_output(struct passed *theirs)
{
	int copy = fcntl(theirs->fd[theirs->count - 1], F_DUPFD_CLOEXEC, 0);

	if (copy >= 0)
		theirs->fd[theirs->count++] = copy;
	return copy >= 0;
}

bool ends_make(struct ends *ends, uint8_t terminal, struct passed *theirs)
{
	bool joined = (terminal & CALL_JOINED) && !(terminal & 6);

	ends->readable = terminal & 1;
	ends->sources[SCREEN].type = (terminal & 6) == 4 ? FRAME_STDERR : FRAME_STDOUT;
	for (int n = 0; n < STREAMS; n++) {
		if (terminal >> n & 1)
			continue;
		if (n == 2 && joined ? !share_output(theirs) : !make_pipe(ends, n, theirs))
			return false;
	}
	return true;
}

void ends_have_screen(struct ends *ends, int master)
{
	fcntl(master, F_SETFL, O_NONBLOCK);
	ends->sources[SCREEN].fd = master;
	if (ends->readable)
		ends->input.target = master;
}

bool ends_take_credit(struct ends *ends, const unsigned char *payload)
{
	uint8_t n = payload[0];
	uint32_t more = load32(payload + 1);

	if (n == 0 || n >= STREAMS || more > FLOW_ROOM - ends->credit[n])
		return false;
	ends->credit[n] += more;
	return true;
}

bool ends_close_stream(struct ends *ends, uint8_t n)
{
	for (int i = 0; i < SOURCES; i++) {
		if (ends->sources[i].type == n)
			ends_close_source(ends, i);
	}
	return n > 0 && n < STREAMS;
}

static void close_input(struct ends *ends)
{
	ends->input.have = 0;
	flow_end(&ends->input);
	ends->readable = false;
}

void ends_write(struct ends *ends)
{
	long written = ends->input.have > 0 ? flow_drain(&ends->input) : -1;

	if (written >= 0) {
		ends->owed += (uint32_t)written;
		return;
	}
	ends->refused = ends->readable;
	close_input(ends);
}

void ends_tell(struct ends *ends, uint32_t call, struct outbox *outbox)
{
	unsigned char payload[5] = {0};

	if (ends->refused) {
		outbox_put(outbox, FRAME_CLOSED, call, payload, 1);
		ends->refused = false;
	} else if (ends->owed >= CREDIT_STEP) {
		store32(payload + 1, ends->owed);
		outbox_put(outbox, FRAME_CREDIT, call, payload, sizeof payload);
		ends->owed = 0;
	}
}

bool ends_flow(const struct ends *ends, int i)
{
	return ends->sources[i].fd >= 0 && ends->credit[ends->sources[i].type] > 0;
}

static size_t limit_of(const struct ends *ends, const struct source *source)
{
	size_t limit = ends->credit[source->type];

	if (limit > FRAME_PAYLOAD_LIMIT)
		limit = FRAME_PAYLOAD_LIMIT;
	if (source->left >= 0 && limit > (size_t)source->left)
		limit = (size_t)source->left;
	return limit;
}

/* An empty frame is the end of a pipe; a terminal's end is the call's. */
void ends_read(struct ends *ends, int i, uint32_t call, struct outbox *outbox)
{
	struct source *source = &ends->sources[i];
	ssize_t got = read(source->fd, outbox_payload(outbox), limit_of(ends, source));

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		ends_close_source(ends, i);
		if (i != SCREEN)
			outbox_add(outbox, source->type, call, 0);
		return;
	}
	outbox_add(outbox, source->type, call, (size_t)got);
	ends->credit[source->type] -= (uint32_t)got;
	if (source->left >= 0 && (source->left -= (int)got) == 0)
		ends_close_source(ends, i);
}

void ends_settle(struct ends *ends)
{
	for (int i = 0; i < PIPES; i++) {
		struct source *source = &ends->sources[i];
		if (source->fd >= 0 &&
		    (ioctl(source->fd, FIONREAD, &source->left) != 0 || source->left == 0))
			ends_close_source(ends, i);
	}
	close_input(ends);
}

bool ends_are_closed(const struct ends *ends)
{
	for (int i = 0; i < SOURCES; i++) {
		if (ends->sources[i].fd >= 0)
			return false;
	}
	return true;
}

/* The terminal is where the input goes as well. */
void ends_close_source(struct ends *ends, int i)
{
	if (ends->sources[i].fd < 0)
		return;
	if (i == SCREEN)
		close_input(ends);
	close(ends->sources[i].fd);
	ends->sources[i].fd = -1;
}

void ends_close(struct ends *ends)
{
	close_input(ends);
	for (int i = 0; i < SOURCES; i++)
		ends_close_source(ends, i);
}
