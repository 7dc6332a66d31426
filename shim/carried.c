#include "carried.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"

enum { RETRY_PAUSE = 20, ANSWER_LIMIT = 8 * 1024 };
enum { TO_INIT, INPUT, OUTPUT };

/* Milliseconds of silence from a terminal that somebody keeps open; or he speaks for ever. */
enum { LAST_WORDS = 100, LAST_READS = 64 };

struct carried *carried_open(uint32_t number, const struct door *door)
{
	struct carried *call = malloc(sizeof *call);

	if (call == NULL)
		return NULL;
	memset(call, 0, offsetof(struct carried, buffer));
	call->number = number;
	call->look_at = now();
	reach_open(&call->init, door);
	ends_open(&call->ends, call->buffer);
	return call;
}

/* What there is of the output still goes, then this frame as the call's last. */
static void finish(struct carried *call, uint8_t last, const void *payload, size_t length)
{
	reach_close(&call->init);
	ends_settle(&call->ends);
	call->ending = true;
	call->look_at = now() + LAST_WORDS;
	call->last = last;
	call->last_length = length;
	if (length > 0)
		memcpy(call->last_payload, payload, length);
}

static void lose(struct carried *call)
{
	finish(call, FRAME_CLOSED, NULL, 0);
}

static void fail(struct carried *call, enum stage stage, int error)
{
	unsigned char payload[5] = {(unsigned char)stage};

	store32(payload + 1, (uint32_t)error);
	finish(call, FRAME_FAILED, payload, sizeof payload);
}

static void reach_init(struct carried *call)
{
	enum reached reached = reach_try(&call->init);

	call->look_at = reached == REACHED_LATER ? now() + RETRY_PAUSE : FOREVER;
	if (reached == REACHED_NEVER)
		lose(call);
}

static void ask(struct carried *call, const struct frame *frame, const char *payload)
{
	if (!call->ending && !reach_add(&call->init, frame, payload))
		lose(call);
}

static void take_call(struct carried *call, const struct frame *frame, char *payload)
{
	uint8_t terminal = call_take_terminal(payload, frame->length);

	call->called = true;
	if (call->ending)
		return;
	if (ends_make(&call->ends, terminal, &call->init.theirs))
		ask(call, frame, payload);
	else
		fail(call, STAGE_DESCRIPTORS, errno);
}

/* The caller has left: init stops the tool, which may still say something. */
static void leave(struct carried *call)
{
	if (call->init.fd >= 0)
		reach_leave(&call->init);
	else if (!call->ending)
		lose(call);
}

bool carried_take(struct carried *call, const struct frame *frame, char *payload)
{
	struct ends *ends = &call->ends;
	uint32_t length = frame->length;

	switch (frame->type) {
	case FRAME_HELLO:
		ask(call, frame, payload);
		return !call->called && length == 0;
	case FRAME_CALL:
		if (call->called)
			return false;
		take_call(call, frame, payload);
		return true;
	case FRAME_SIGNAL:
	case FRAME_WINDOW:
		ask(call, frame, payload);
		return call->called && length == (frame->type == FRAME_SIGNAL ? 1 : 4);
	case FRAME_FOREGROUND:
		ask(call, frame, payload);
		return call->called && length == 1;
	case FRAME_STDIN:
		return !ends->readable || flow_put(&ends->input, payload, length);
	case FRAME_STDIN_CLOSED:
		ends->readable = false;
		flow_end(&ends->input);
		return length == 0;
	case FRAME_CREDIT:
		return length == 5 && ends_take_credit(ends, (unsigned char *)payload);
	case FRAME_CLOSED:
		if (length > 0)
			return length == 1 && ends_close_stream(ends, (uint8_t)payload[0]);
		leave(call);
		return true;
	default:
		return false;
	}
}

/* Init writes each of its frames at once: a part of one is none. */
static void take_answer(struct carried *call, struct outbox *outbox)
{
	unsigned char header[FRAME_HEADER];
	struct passed passed = {.count = 0};
	struct frame frame;
	char payload[ANSWER_LIMIT];

	bool whole = receive(call->init.fd, header, sizeof header, &passed, now()) &&
		     frame_decode(header, &frame) && frame.length <= sizeof payload &&
		     receive(call->init.fd, payload, frame.length, &passed, now());
	if (whole && ((frame.type == FRAME_EXIT && frame.length == 2) ||
		      (frame.type == FRAME_FAILED && frame.length == 5))) {
		finish(call, frame.type, payload, frame.length);
	} else if (whole && (frame.type == FRAME_WELCOME || frame.type == FRAME_STARTED)) {
		call->started = frame.type == FRAME_STARTED;
		if (call->started && passed.count == 1)
			ends_have_screen(&call->ends, passed.fd[--passed.count]);
		outbox_put(outbox, frame.type, call->number, payload, frame.length);
	} else if (whole && frame.type == FRAME_SIGNAL) {
		outbox_put(outbox, frame.type, call->number, payload, frame.length);
	} else {
		lose(call);
	}
	while (passed.count > 0)
		close(passed.fd[--passed.count]);
}

static bool flows(const struct carried *call, int i)
{
	return (call->started || call->ending) && ends_flow(&call->ends, i);
}

static void read_output(struct carried *call, int i, struct outbox *outbox)
{
	ends_read(&call->ends, i, call->number, outbox);
	if (call->ending && i == SCREEN)
		call->look_at = ++call->reads < LAST_READS ? now() + LAST_WORDS : now();
}

/* Whoever was left behind may keep the terminal open, for ever. */
static void await_screen(struct carried *call, bool was_polled)
{
	if (call->ends.sources[SCREEN].fd < 0) {
		call->look_at = FOREVER;
	} else if (now() >= call->look_at) {
		call->look_at = now() + LAST_WORDS;
		if (was_polled)
			ends_close_source(&call->ends, SCREEN);
	}
}

static void end_if_said(struct carried *call, struct outbox *outbox)
{
	if (!ends_are_closed(&call->ends) || !outbox_has_room(outbox))
		return;
	outbox_put(outbox, call->last, call->number, call->last_payload, call->last_length);
	call->over = true;
}

void carried_poll(const struct carried *call, bool room, struct pollfd wanted[CARRIED_POLLED])
{
	const struct flow *input = &call->ends.input;
	int events = (call->init.length > 0 ? POLLOUT : 0) | (room ? POLLIN : 0);
	bool is_pipe = input->own_target && !input->ended; /* which tells that nobody reads it */

	wanted[TO_INIT] = (struct pollfd){.fd = events ? call->init.fd : -1, .events = (short)events};
	wanted[INPUT] = (struct pollfd){.fd = is_pipe ? input->target : -1};
	if (input->have > 0)
		wanted[INPUT] = (struct pollfd){.fd = input->target, .events = POLLOUT};
	for (int i = 0; i < SOURCES; i++) {
		int fd = room && flows(call, i) ? call->ends.sources[i].fd : -1;
		wanted[OUTPUT + i] = (struct pollfd){.fd = fd, .events = POLLIN};
	}
}

void carried_move(struct carried *call, const struct pollfd ready[CARRIED_POLLED],
		  struct outbox *outbox)
{
	if (call->init.fd < 0 && !call->ending && now() >= call->look_at)
		reach_init(call);
	if (call->init.fd >= 0)
		reach_send(&call->init);
	if (ready[INPUT].revents != 0 && ready[INPUT].fd == call->ends.input.target)
		ends_write(&call->ends);
	for (int i = 0; i < SOURCES; i++) {
		if (ready[OUTPUT + i].revents != 0 && flows(call, i) && outbox_has_room(outbox))
			read_output(call, i, outbox);
	}
	if (ready[TO_INIT].revents & ~POLLOUT && call->init.fd >= 0 && outbox_has_room(outbox))
		take_answer(call, outbox);
	if (call->started && !call->ending && outbox_has_room(outbox))
		ends_tell(&call->ends, call->number, outbox);
	if (call->ending) {
		await_screen(call, ready[OUTPUT + SCREEN].fd >= 0);
		end_if_said(call, outbox);
	}
}

void carried_close(struct carried *call)
{
	reach_close(&call->init);
	ends_close(&call->ends);
	free(call);
}
