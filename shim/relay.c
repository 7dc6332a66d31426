#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "die.h"
#include "flow.h"
#include "job.h"
#include "shim.h"
#include "signals.h"

enum {
	CREDIT_STEP = 64 * 1024,
	BACKGROUND_PAUSE = 250, /* after which a job in the background looks at its terminal */
	FRONT_PAUSE = 1000,     /* after which one in front does: nothing else says that it is not */
	ALIVE_PAUSE = 5 * 1000, /* after which the proxy hears from us although our reader waits */
	LAST_WORDS = 100,       /* of silence, from a terminal that somebody keeps open */
	LAST_MOVES = 1024,
	END_PATIENCE = 10 * 1000,
};

/* Our input; what comes from pipes or a pseudo-terminal; what comes in frames. */
enum { INPUT, OUTPUT, ERROR, FRAMED_OUTPUT, FRAMED_ERROR, FLOWS };

struct running {
	struct link *link;
	const struct streams *streams;
	const char *tool;
	int signals;
	int master;      /* of the tool's terminal; -1 when we have none */
	uint32_t credit; /* for stdin in frames */
	uint32_t owed[STREAMS];
	int64_t alive_at; /* when the proxy is to hear from us; FOREVER while nobody keeps us */
	uint32_t coming;  /* of the payload of an output's frame, for the flow `into` */
	int into;
	struct job job;
	int64_t patience; /* when we stop waiting for the proxy */
	bool over;
	int status;
	struct flow flows[FLOWS];
};

static char buffers[FLOWS][FLOW_ROOM];

static noreturn void lost(const struct running *run, const char *why)
{
	screen_restore();
	die(LOST, SELF, "%s: %s", run->tool, why);
}

/* That the connection has ended shows when it is read. */
static void tell(const struct running *run, uint8_t type, const void *payload, uint32_t length)
{
	(void)send_frame(run->link->fd, type, payload, length, -1);
}

static void tell_credit(struct running *run, int stream)
{
	unsigned char payload[5] = {(unsigned char)stream};

	store32(payload + 1, run->owed[stream]);
	tell(run, FRAME_CREDIT, payload, sizeof payload);
	run->owed[stream] = 0;
}

static int stream_of(int flow)
{
	return 1 + flow - FRAMED_OUTPUT;
}

/* Whoever reads what we write takes his time, as one before a pager does: credit, be it for no
 * byte, tells the proxy that we live. */
static void tell_alive(struct running *run)
{
	bool waits = false;

	for (int n = FRAMED_OUTPUT; n < FLOWS; n++) {
		if (run->flows[n].have == 0)
			continue;
		waits = true;
		if (now() >= run->alive_at)
			tell_credit(run, stream_of(n));
	}
	if (!waits)
		run->alive_at = FOREVER;
	else if (run->alive_at == FOREVER || now() >= run->alive_at)
		run->alive_at = now() + ALIVE_PAUSE;
}

/* As the tool itself would have ended, had it written there. */
static noreturn void end_by_broken_pipe(void)
{
	screen_restore();
	signal(SIGPIPE, SIG_DFL);
	raise(SIGPIPE);
	exit(SIGNALLED + SIGPIPE);
}

/* A stream of ours cannot be written: the tool must not go on as if it could. */
static noreturn void unwritable(const struct running *run)
{
	if (errno == EPIPE)
		end_by_broken_pipe();
	screen_restore();
	die(LOST, SELF, "%s: cannot write its output: %s", run->tool, strerror(errno));
}

static void account(struct running *run, int n, long written)
{
	int stream = stream_of(n);

	if (written < 0)
		unwritable(run);
	run->owed[stream] += (uint32_t)written;
	if (run->owed[stream] >= CREDIT_STEP)
		tell_credit(run, stream);
}

/* A terminal or the tool's pipe has gone: so has the other end. */
static void write_plain(struct flow *flow)
{
	if (flow_drain(flow) >= 0)
		return;
	flow->have = 0;
	flow_end(flow);
}

/* Keys are for the shell as long as it is in front, and for whoever reads single keys from
 * the terminal, as a pager behind us in a pipeline does. */
static bool is_held_back(const struct running *run)
{
	if (run->flows[INPUT].ended || !run->streams->terminal[0])
		return false;
	if (job_stops(&run->job))
		return true;
	return !screen_in_front(0) || (!run->streams->screen && screen_is_taken(0));
}

static void send_input(struct running *run)
{
	struct flow *flow = &run->flows[INPUT];

	if (flow->have > 0)
		tell(run, FRAME_STDIN, flow->buffer, (uint32_t)flow->have);
	else if (flow->ended)
		tell(run, FRAME_STDIN_CLOSED, NULL, 0);
	run->credit -= (uint32_t)flow->have;
	flow->have = 0;
}

/* Our terminal has gone, and with it whatever the tool had one for. */
static void hang_up(struct running *run)
{
	job_signal(&run->job, WIRE_HUP);
	run->patience = now() + END_PATIENCE;
}

static void read_input(struct running *run)
{
	struct flow *flow = &run->flows[INPUT];
	size_t limit = FRAME_PAYLOAD_LIMIT;

	if (flow->target < 0 && run->credit < limit)
		limit = run->credit;
	flow_fill(flow, limit);
	if (flow->ended && run->streams->screen)
		hang_up(run);
	else if (flow->target < 0)
		send_input(run);
}

/* What a flow waits for: that its target takes more, or that its source has something. */
static struct pollfd wanted(const struct running *run, int n)
{
	const struct flow *flow = &run->flows[n];

	if (flow->have > 0)
		return (struct pollfd){.fd = flow->target, .events = POLLOUT};
	if (flow->ended || flow->source < 0)
		return (struct pollfd){.fd = -1};
	if (n == INPUT && (is_held_back(run) || (flow->target < 0 && run->credit == 0)))
		return (struct pollfd){.fd = -1};
	return (struct pollfd){.fd = flow->source, .events = POLLIN};
}

static void move(struct running *run, int n)
{
	struct flow *flow = &run->flows[n];

	if (flow->have > 0 && n >= FRAMED_OUTPUT)
		account(run, n, flow_drain(flow));
	else if (flow->have > 0)
		write_plain(flow);
	else if (n != INPUT)
		flow_fill(flow, FRAME_PAYLOAD_LIMIT);
	else if (!is_held_back(run))
		read_input(run);
}

/* Passes an output's bytes on as they come, without a copy where the target takes them. */
static void take_output(struct running *run)
{
	struct link *link = run->link;
	size_t length = link->have < run->coming ? link->have : run->coming;
	long written = flow_pass(&run->flows[run->into], link_bytes(link), length);

	if (written == -2)
		lost(run, "the tool-exec proxy sent more than it may");
	link_take(link, length);
	run->coming -= (uint32_t)length;
	account(run, run->into, written);
}

static void take_frame(struct running *run, const struct frame *frame, const char *payload)
{
	const unsigned char *bytes = (const unsigned char *)payload;

	if (frame->type == FRAME_EXIT && frame->length == 2 && bytes[0] <= 1) {
		run->over = true;
		run->status = bytes[0] == 1 ? SIGNALLED + bytes[1] : bytes[1];
	} else if (frame->type == FRAME_SIGNAL && frame->length == 1 && run->streams->screen) {
		job_stopped(&run->job, bytes[0]);
	} else if (frame->type == FRAME_NOTICE) {
		screen_restore(); /* so that it shows as what it is */
		(void)write_all(2, payload, frame->length);
	} else if (frame->type == FRAME_CREDIT && frame->length == 5) {
		if (bytes[0] == 0)
			run->credit += load32(bytes + 1);
	} else {
		lost(run, "the tool-exec proxy sent what has no meaning here");
	}
}

/* Begins an output's frame, or takes another when it is complete; false when it is not. */
static bool take_next(struct running *run)
{
	struct frame frame;
	const char *bytes = link_bytes(run->link);

	if (!frame_decode((const unsigned char *)bytes, &frame) ||
	    frame.length > FRAME_PAYLOAD_LIMIT)
		lost(run, "the tool-exec proxy sent what is no frame");
	bool output = frame.type == FRAME_STDOUT || frame.type == FRAME_STDERR;
	size_t length = output ? FRAME_HEADER : FRAME_HEADER + frame.length;
	if (run->link->have < length)
		return false;
	if (output) {
		run->into = frame.type == FRAME_STDOUT ? FRAMED_OUTPUT : FRAMED_ERROR;
		run->coming = frame.length;
	} else {
		take_frame(run, &frame, bytes + FRAME_HEADER);
	}
	link_take(run->link, length);
	return true;
}

static void take_frames(struct running *run)
{
	while (!run->over) {
		if (run->coming > 0 && run->link->have > 0)
			take_output(run);
		else if (run->coming > 0 || run->link->have < FRAME_HEADER || !take_next(run))
			return;
	}
}

static void pass_on(struct running *run, int number)
{
	job_signal(&run->job, number);
	if (number == WIRE_KILL)
		run->patience = now() + END_PATIENCE;
}

/* Waits for what a flow wants, and moves it; false when nothing came. The tool has ended:
 * signals are for us now. */
static bool move_last(struct running *run, int n, int patience)
{
	struct pollfd all[] = {wanted(run, n), {.fd = run->signals, .events = POLLIN}};

	if (all[0].fd < 0 || poll(all, 2, run->flows[n].have > 0 ? -1 : patience) == 0)
		return false;
	if (all[1].revents != 0) {
		screen_restore();
		signals_suffer();
	}
	if (all[0].revents != 0)
		move(run, n);
	return true;
}

/* Writes what the tool said before its end. Somebody whom it left behind may say more, for
 * ever: no pipe held more than the limit when the tool ended. */
static void finish(struct running *run)
{
	int patience = run->master >= 0 ? LAST_WORDS : 0;

	for (int n = OUTPUT; n < FLOWS; n++) {
		for (int moves = 0; run->flows[n].have > 0 || moves < LAST_MOVES; moves++) {
			if (!move_last(run, n, patience))
				break;
		}
	}
}

static void open_terminal(struct running *run)
{
	run->master = run->link->descriptor;
	if (!isatty(run->master))
		lost(run, "the tool-exec proxy sent no terminal");
	fcntl(run->master, F_SETFL, O_NONBLOCK);
	flow_open(&run->flows[INPUT], screen_open(0), run->master, buffers[INPUT]);
	flow_open(&run->flows[OUTPUT], run->master, 1, buffers[OUTPUT]);
}

static void open_pipes(struct running *run)
{
	for (int n = 0; n < STREAMS; n++) {
		int end = run->streams->relayed[n];
		struct flow *flow = &run->flows[n];
		if (end < 0)
			continue;
		flow_open(flow, n == 0 ? screen_open(0) : end, n == 0 ? end : n, buffers[n]);
		flow->own_target = n == 0;
		flow->own_source = n != 0;
	}
}

static void open_flows(struct running *run, bool passed)
{
	for (int n = 0; n < FLOWS; n++)
		flow_open(&run->flows[n], -1, -1, buffers[n]);
	flow_open(&run->flows[FRAMED_OUTPUT], -1, 1, buffers[FRAMED_OUTPUT]);
	flow_open(&run->flows[FRAMED_ERROR], -1, 2, buffers[FRAMED_ERROR]);
	if (run->streams->screen && run->link->descriptor >= 0)
		open_terminal(run);
	else if (!passed || run->streams->screen)
		flow_open(&run->flows[INPUT], screen_open(0), -1, buffers[INPUT]);
	else
		open_pipes(run);
}

static int64_t earlier(int64_t left, int64_t right)
{
	return left < right ? left : right;
}

static int pause_for(const struct running *run)
{
	int64_t look = FOREVER, at = earlier(run->alive_at, earlier(run->patience, run->job.stop_at));

	if (is_held_back(run) || (run->streams->screen && !screen_is_raw()))
		look = now() + BACKGROUND_PAUSE;
	else if (run->streams->screen)
		look = now() + FRONT_PAUSE;
	return until(earlier(look, at));
}

/* One round: whatever is ready moves. */
static void step(struct running *run)
{
	struct pollfd all[FLOWS + 2];
	int number;

	for (int n = 0; n < FLOWS; n++)
		all[n] = wanted(run, n);
	all[FLOWS] = (struct pollfd){.fd = run->signals, .events = POLLIN};
	all[FLOWS + 1] = (struct pollfd){.fd = run->link->fd, .events = POLLIN};
	if (poll(all, FLOWS + 2, pause_for(run)) < 0)
		return;
	for (int n = 0; n < FLOWS; n++) {
		if (all[n].revents != 0)
			move(run, n);
	}
	while (all[FLOWS].revents != 0 && (number = signals_next()) >= 0)
		pass_on(run, number);
	if (all[FLOWS + 1].revents != 0 && !link_read(run->link, false)) {
		finish(run);
		lost(run, "the connection to the tool-exec proxy was lost");
	}
}

int relay(struct link *link, struct streams *streams, bool passed, struct window window,
	  const char *tool)
{
	static struct running run;

	run = (struct running){
		.link = link,
		.streams = streams,
		.tool = tool,
		.master = -1,
		.credit = FLOW_ROOM,
		.job = {
			.proxy = link->fd,
			.screen = streams->screen,
			.told = window,
			.stop_at = FOREVER,
		},
		.signals = signals_descriptor(),
		.patience = FOREVER,
		.alive_at = FOREVER,
	};
	open_flows(&run, passed);
	streams_passed(streams);
	job_look(&run.job);
	for (take_frames(&run); !run.over; take_frames(&run)) {
		tell_alive(&run); /* before waiting: what has just come may have to wait for its reader */
		step(&run);
		job_look(&run.job);
		if (run.patience != FOREVER && now() >= run.patience)
			lost(&run, "the tool-exec proxy does not answer");
	}
	finish(&run);
	return run.status;
}
