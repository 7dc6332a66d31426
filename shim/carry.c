#include "carry.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "carried.h"
#include "die.h"
#include "io.h"
#include "outbox.h"

enum { IN = 0, OUT = 1, OWN = 2, INBOX_ROOM = 2 * (FRAME_HEADER + FRAME_PAYLOAD_LIMIT) };

static const char NAME[] = "aifo-init --relay";

static struct relay {
	struct door door;
	char *inbox; /* what came and is no whole frame yet */
	size_t start, have, room;
	struct outbox outbox;
	struct carried **calls;
	struct pollfd *polled; /* our own two, then CARRIED_POLLED for each call */
	size_t count, places;
	size_t first; /* whose turn it is to be first */
} relay;

static void *enough(void *memory, size_t size)
{
	memory = realloc(memory, size);
	if (memory == NULL)
		die(1, NAME, "no memory");
	return memory;
}

static void parse(char **argument)
{
	relay.door = (struct door){.socket = "/run/aifo/init.sock", .init = 1};
	for (; argument[0] != NULL; argument += 2) {
		if (argument[1] != NULL && strcmp(argument[0], "--socket") == 0)
			relay.door.socket = argument[1];
		else if (argument[1] != NULL && strcmp(argument[0], "--init") == 0)
			relay.door.init = atoi(argument[1]);
		else
			die(2, NAME, "usage: aifo-init --relay [--socket PATH] [--init PID]");
	}
}

/* Tools run as the same user: none of them may look into this process. It ends with its input,
 * and with the container: what TERM ends, init reports. */
static void protect(void)
{
	sigset_t all;

	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_NAME, "aifo-relay");
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	fcntl(IN, F_SETFL, fcntl(IN, F_GETFL) | O_NONBLOCK);
	fcntl(OUT, F_SETFL, fcntl(OUT, F_GETFL) | O_NONBLOCK);
}

static struct carried *find(uint32_t number)
{
	for (size_t i = 0; i < relay.count; i++) {
		if (relay.calls[i]->number == number)
			return relay.calls[i];
	}
	return NULL;
}

static struct carried *open_call(uint32_t number)
{
	struct carried *call = carried_open(number, &relay.door);

	if (call == NULL)
		die(1, NAME, "no memory");
	if (relay.count == relay.places) {
		relay.places = relay.places ? 2 * relay.places : 16;
		size_t polled = OWN + CARRIED_POLLED * relay.places;
		relay.calls = enough(relay.calls, relay.places * sizeof *relay.calls);
		relay.polled = enough(relay.polled, polled * sizeof *relay.polled);
	}
	relay.calls[relay.count++] = call;
	return call;
}

/* What is said to a call that is over crossed its end on the way. */
static void take(const struct frame *frame, char *payload)
{
	struct carried *call = find(frame->call);

	if (call == NULL && frame->type != FRAME_HELLO && frame->type != FRAME_CALL)
		return;
	if (call == NULL)
		call = open_call(frame->call);
	if (!carried_take(call, frame, payload))
		die(1, NAME, "call %u: frame %u has no meaning here", frame->call, frame->type);
}

static void make_room(size_t whole)
{
	if (relay.start > 0)
		memmove(relay.inbox, relay.inbox + relay.start, relay.have);
	relay.start = 0;
	if (relay.room < whole) {
		relay.inbox = enough(relay.inbox, whole);
		relay.room = whole;
	}
}

/* Takes the frames that are complete, and sees that there is room for the next. */
static void take_frames(void)
{
	size_t whole = FRAME_HEADER;
	struct frame frame;

	while (relay.have >= FRAME_HEADER) {
		char *bytes = relay.inbox + relay.start;
		if (!frame_decode((unsigned char *)bytes, &frame))
			die(1, NAME, "what came is no frame");
		whole = FRAME_HEADER + frame.length;
		if (relay.have < whole)
			break;
		take(&frame, bytes + FRAME_HEADER);
		relay.start += whole;
		relay.have -= whole;
		whole = FRAME_HEADER;
	}
	make_room(whole > INBOX_ROOM ? whole : INBOX_ROOM);
}

/* False when nothing more can come. */
static bool read_frames(void)
{
	size_t used = relay.start + relay.have;
	ssize_t got = read(IN, relay.inbox + used, relay.room - used);

	if (got < 0)
		return errno == EAGAIN || errno == EINTR;
	relay.have += (size_t)got;
	take_frames();
	return got > 0;
}

static int64_t next_look(void)
{
	int64_t look_at = FOREVER;

	for (size_t i = 0; i < relay.count; i++) {
		if (relay.calls[i]->look_at < look_at)
			look_at = relay.calls[i]->look_at;
	}
	return look_at;
}

static struct pollfd *polled_of(size_t i)
{
	return relay.polled + OWN + CARRIED_POLLED * i;
}

static void await(void)
{
	struct pollfd own[OWN] = {{.fd = IN, .events = POLLIN}, {.fd = OUT, .events = POLLOUT}};
	bool room = outbox_has_room(&relay.outbox);

	if (relay.outbox.have == 0)
		own[OUT].fd = -1;
	memcpy(relay.polled, own, sizeof own);
	for (size_t i = 0; i < relay.count; i++)
		carried_poll(relay.calls[i], room, polled_of(i));
	if (poll(relay.polled, OWN + CARRIED_POLLED * relay.count, until(next_look())) < 0)
		memset(relay.polled, 0, OWN * sizeof *relay.polled);
}

/* Each call goes on with what was ready; the first of them is another one every time, as the
 * room for what they say may not be enough for all. */
static void move_calls(size_t polled)
{
	static const struct pollfd nothing[CARRIED_POLLED];

	relay.first++;
	for (size_t turn = 0; turn < relay.count; turn++) {
		size_t i = (relay.first + turn) % relay.count;
		const struct pollfd *ready = i < polled ? polled_of(i) : nothing;
		carried_move(relay.calls[i], ready, &relay.outbox);
	}
	for (size_t i = relay.count; i-- > 0;) {
		if (!relay.calls[i]->over)
			continue;
		carried_close(relay.calls[i]);
		relay.calls[i] = relay.calls[--relay.count];
	}
}

int carry(char **arguments)
{
	parse(arguments);
	protect();
	make_room(INBOX_ROOM);
	relay.polled = enough(NULL, OWN * sizeof *relay.polled);
	for (;;) {
		await();
		size_t polled = relay.count;
		if (relay.polled[IN].revents != 0 && !read_frames())
			return 0;
		move_calls(polled);
		if (!outbox_write(&relay.outbox, OUT))
			return 0;
	}
}
