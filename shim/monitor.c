#include "monitor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tree.h"

/* How a call is stopped: milliseconds after the beginning, and what is sent then. */
static const struct {
	int64_t after;
	int signal;
} ladder[] = {{0, SIGINT}, {2000, SIGTERM}, {5000, SIGKILL}};

enum { RUNGS = sizeof ladder / sizeof *ladder, KILL_PAUSE = 15, LATE_KILL_PAUSE = 200 };

struct watch {
	const struct tool *tool;
	int connection; /* -1 when the caller is gone */
	int children;   /* readable when a child has ended */
	unsigned char input[FRAME_HEADER + 4];
	size_t have;
	bool stopping;
	int64_t began; /* the ladder */
	int rung;
	int last_wish; /* the last signal asked for that ends programs */
	bool told_to_stop;
	pid_t front; /* in the foreground of the tool's terminal when its caller is */
	bool ended;
	siginfo_t end;
	struct tree tree;
};

/* Begins the ladder at its rung for a signal, or goes up to it. */
static void stop(struct watch *watch, int signal)
{
	int64_t skipped = signal == SIGKILL ? 5000 : signal == SIGTERM ? 2000 : 0;
	int64_t began = now() - skipped;

	if (!watch->stopping || began < watch->began)
		watch->began = began;
	watch->stopping = true;
}

static void forward(struct watch *watch, int signal)
{
	switch (signal) {
	case SIGKILL:
		if (watch->stopping)
			stop(watch, SIGKILL);
		/* fall through */
	case SIGINT:
	case SIGTERM:
	case SIGHUP:
	case SIGQUIT:
		watch->last_wish = signal;
		break;
	case SIGUSR1:
	case SIGUSR2:
	case SIGWINCH:
		break;
	case SIGCONT:
		watch->told_to_stop = false;
		break;
	case SIGTSTP:
		signal = SIGSTOP; /* the kernel discards TSTP for an orphaned group */
		watch->told_to_stop = true;
		break;
	default:
		return;
	}
	kill(-watch->tool->leader, signal);
}

static void resize(const struct watch *watch, const unsigned char *payload)
{
	struct winsize size = {.ws_row = load16(payload), .ws_col = load16(payload + 2)};

	if (watch->tool->master >= 0)
		ioctl(watch->tool->master, TIOCSWINSZ, &size);
}

/* While its caller is in the background we are in front of the tool's terminal: a tool that reads
 * it, or changes its modes, is stopped as it would be there. */
static void place(struct watch *watch, bool forward)
{
	int terminal = watch->tool->master;
	pid_t self = getpid(), front = tcgetpgrp(terminal);

	if (!forward && front > 0 && front != self)
		watch->front = front;
	if (!forward)
		ioctl(terminal, TIOCSPGRP, &self);
	else if (front == self && ioctl(terminal, TIOCSPGRP, &watch->front) != 0)
		ioctl(terminal, TIOCSPGRP, &watch->tool->leader);
}

/* Obeys the frames that are complete. False for one that a caller cannot send here. */
static bool obey(struct watch *watch)
{
	struct frame frame;

	while (watch->have >= FRAME_HEADER) {
		if (!frame_decode(watch->input, &frame))
			return false;
		bool is_signal = frame.type == FRAME_SIGNAL && frame.length == 1;
		bool is_window = frame.type == FRAME_WINDOW && frame.length == 4;
		bool is_place = frame.type == FRAME_FOREGROUND && frame.length == 1;
		if (!is_signal && !is_window && !is_place)
			return false;
		size_t whole = FRAME_HEADER + frame.length;
		if (watch->have < whole)
			break;
		if (is_signal)
			forward(watch, watch->input[FRAME_HEADER]);
		else if (is_window)
			resize(watch, watch->input + FRAME_HEADER);
		else
			place(watch, watch->input[FRAME_HEADER]);
		watch->have -= whole;
		memmove(watch->input, watch->input + whole, watch->have);
	}
	return true;
}

/* Whatever ends the connection, half or whole, stops the call. */
static void listen_to_caller(struct watch *watch)
{
	ssize_t got;

	do {
		got = receive_some(watch->connection, watch->input + watch->have,
				   sizeof watch->input - watch->have);
		if (got > 0)
			watch->have += (size_t)got;
		if (got == 0 || !obey(watch)) {
			watch->connection = -1;
			stop(watch, SIGINT);
			return;
		}
	} while (got > 0);
}

/* Says so when the tool has been stopped by a key on its terminal, or has stopped itself. */
static void report_stop(struct watch *watch)
{
	siginfo_t stop = {.si_pid = 0};

	if (waitid(P_PID, (id_t)watch->tool->leader, &stop, WSTOPPED | WNOHANG) != 0 ||
	    stop.si_pid == 0)
		return;
	unsigned char number = (unsigned char)stop.si_status;
	if (!watch->told_to_stop && watch->tool->master >= 0 && watch->connection >= 0)
		(void)send_frame(watch->connection, FRAME_SIGNAL, &number, sizeof number, -1);
	watch->told_to_stop = false;
}

/* Reaps orphans that were left to us; the tool itself stays a zombie, so that its group
 * id is not used again. */
static void reap(struct watch *watch)
{
	struct signalfd_siginfo spent;

	while (read(watch->children, &spent, sizeof spent) > 0)
		;
	report_stop(watch);
	while (!watch->ended) {
		siginfo_t child = {.si_pid = 0};
		if (waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) != 0 || child.si_pid == 0)
			return;
		if (child.si_pid == watch->tool->leader) {
			watch->ended = true;
			watch->end = child;
			if (watch->last_wish != 0)
				stop(watch, watch->last_wish);
		} else {
			waitpid(child.si_pid, NULL, WNOHANG);
		}
	}
}

/* Does what the ladder says for this moment. False when nobody is left. */
static bool climb(struct watch *watch)
{
	int64_t elapsed = now() - watch->began;
	int signal = watch->rung == RUNGS ? SIGKILL : 0;
	bool anybody = !watch->ended;

	while (watch->rung < RUNGS && elapsed >= ladder[watch->rung].after)
		signal = ladder[watch->rung++].signal;
	tree_read(&watch->tree, getpid());
	for (size_t i = 0; i < watch->tree.count; i++) {
		const struct process *process = &watch->tree.list[i];
		if (process->pid == watch->tool->leader && (watch->ended || process->zombie))
			continue;
		if (process->zombie) {
			if (process->parent == getpid())
				waitpid(process->pid, NULL, WNOHANG);
			continue;
		}
		anybody = true;
		if (signal != 0)
			tree_signal(process, signal);
	}
	return anybody;
}

static int64_t next_look(const struct watch *watch)
{
	if (!watch->stopping)
		return FOREVER;
	if (watch->rung < RUNGS)
		return watch->began + ladder[watch->rung].after;
	bool late = now() - watch->began > ladder[RUNGS - 1].after + 1000;
	return now() + (late ? LATE_KILL_PAUSE : KILL_PAUSE);
}

/* True when the tool has left nobody behind: what stays below us could no longer be told from
 * what the next call starts. */
static bool is_alone(void)
{
	siginfo_t child;

	return waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) != 0 && errno == ECHILD;
}

/* How the tool ended, in one piece with the word that another call may come. */
static void report(const struct watch *watch, bool stays)
{
	unsigned char bytes[FRAME_HEADER + 2 + FRAME_HEADER];
	size_t length = FRAME_HEADER + 2;

	frame_encode(&(struct frame){.type = FRAME_EXIT, .length = 2}, bytes);
	bytes[FRAME_HEADER] = watch->end.si_code != CLD_EXITED;
	bytes[FRAME_HEADER + 1] = (unsigned char)watch->end.si_status;
	if (stays) {
		frame_encode(&(struct frame){.type = FRAME_READY}, bytes + length);
		length += FRAME_HEADER;
	}
	(void)write_all(watch->connection, bytes, length);
}

static void let_go(struct watch *watch)
{
	close(watch->children);
	if (watch->tool->master >= 0) {
		place(watch, false); /* else our end would hang up on whoever the tool left behind */
		close(watch->tool->slave);
		close(watch->tool->master);
	}
	free(watch->tree.list);
}

bool monitor(int connection, const struct tool *tool, bool stays)
{
	struct watch watch = {.tool = tool, .connection = connection, .front = tool->leader};
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	watch.children = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	for (;;) {
		reap(&watch);
		if (watch.stopping ? !climb(&watch) : watch.ended)
			break;
		struct pollfd wanted[] = {
			{.fd = watch.children, .events = POLLIN},
			{.fd = watch.connection, .events = POLLIN},
		};
		if (poll(wanted, 2, until(next_look(&watch))) > 0 && wanted[1].revents != 0)
			listen_to_caller(&watch);
	}
	waitpid(tool->leader, NULL, 0);
	let_go(&watch);
	if (watch.connection < 0)
		return false;
	stays = stays && is_alone();
	report(&watch, stays);
	return stays;
}
