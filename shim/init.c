/* PID 1 of a sidecar: sees that somebody waits for the next call, reaps orphans, ends.
 *
 * A call is served by a process of its own. One of them always waits, already forked, for
 * whoever comes next: it accepts, says so, and init makes the next one meanwhile. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "die.h"
#include "io.h"
#include "serve.h"
#include "tree.h"

enum { CALLS = 1024, BACKLOG = 1024, LAST_SIGNAL = 64, FIRST_FREE = 3 };
enum { TERM_TIME = 700, KILL_TIME = 150, KILL_PAUSE = 20 };

static const char NAME[] = "aifo-init";

static struct init {
	struct settings settings;
	int listener; /* -1 when nobody can come any more */
	int signals;
	int taken[2]; /* a pipe: the waiting process writes its pid when it has a caller */
	pid_t spare;  /* waits for the next caller; 0 when there is none */
	pid_t calls[CALLS]; /* the processes that serve a connection */
	int count;
	int64_t idle_since;
	bool leaving;
	int64_t kill_at; /* FOREVER unless told to end */
	bool lonely;     /* no child of any kind is left */
	struct tree tree;
} init = {.listener = -1, .kill_at = FOREVER};

static noreturn void usage(void)
{
	die(2, NAME,
	    "usage: aifo-init --socket PATH --spec DIGEST [--stamp PATH] [--idle SECONDS] "
	    "[--caller UID]");
}

static long number(const char *text, long most)
{
	char *rest;
	long value = strtol(text, &rest, 10);

	if (*text == '\0' || *rest != '\0' || value < 0 || value > most)
		usage();
	return value;
}

static void parse(char **argument, struct settings *settings)
{

	*settings = (struct settings){.idle = 1800};
	for (; argument[0] != NULL; argument += 2) {
		if (argument[1] == NULL)
			usage();
		else if (strcmp(argument[0], "--socket") == 0)
			settings->socket = argument[1];
		else if (strcmp(argument[0], "--spec") == 0)
			settings->spec = argument[1];
		else if (strcmp(argument[0], "--stamp") == 0)
			settings->stamp = argument[1];
		else if (strcmp(argument[0], "--idle") == 0)
			settings->idle = number(argument[1], INT_MAX);
		else if (strcmp(argument[0], "--caller") == 0)
			settings->caller = (uid_t)number(argument[1], INT_MAX);
		else
			usage();
	}
	if (settings->socket == NULL || settings->spec == NULL)
		usage();
}

/* Tools inherit from here: standard streams and no other descriptor, the default action
 * for every signal. Everything opened from now on is close-on-exec. */
static void clear_inheritance(void)
{
	static const char nothing[64]; /* the kernel's structure: default action, no flags */

	int fd;
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd < FIRST_FREE);
	if (syscall(SYS_close_range, FIRST_FREE, ~0U, 0) != 0) {
		for (fd = FIRST_FREE; fd < 4096; fd++)
			close(fd);
	}
	/* the library's own function leaves out the signals it uses itself */
	for (int signal = 1; signal <= LAST_SIGNAL; signal++)
		syscall(SYS_rt_sigaction, signal, nothing, NULL, 8);
}

/* Nothing can trace us, and no signal does anything by itself. */
static void protect(void)
{
	sigset_t all, wanted;

	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGCHLD);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGHUP);
	init.signals = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
	if (init.signals < 0)
		die(1, NAME, "signals cannot be received: %s", strerror(errno));
	if (pipe2(init.taken, O_CLOEXEC | O_NONBLOCK) != 0)
		die(1, NAME, "no pipe: %s", strerror(errno));
}

static void start_listening(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = init.settings.socket;

	if (strlen(path) >= sizeof address.sun_path)
		die(1, NAME, "%s: a socket's path has at most 107 bytes", path);
	strcpy(address.sun_path, path);
	init.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	unlink(path);
	mode_t mask = umask(init.settings.caller != 0 ? 0 : 0077); /* is_welcome() decides */
	if (init.listener < 0 || bind(init.listener, (struct sockaddr *)&address, sizeof address) ||
	    listen(init.listener, BACKLOG))
		die(1, NAME, "%s: cannot listen: %s", path, strerror(errno));
	umask(mask);
}

static bool is_welcome(int connection)
{
	struct ucred peer;
	socklen_t size = sizeof peer;

	return getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	       (peer.uid == getuid() || peer.uid == 0 || peer.uid == init.settings.caller);
}

/* Waits for a caller, tells init, serves. Ends with init as long as nobody came. */
static noreturn void wait_and_serve(pid_t parent)
{
	const pid_t self = getpid();

	prctl(PR_SET_NAME, "aifo-waits");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	for (;;) {
		(void)wait_readable(init.listener, FOREVER);
		int connection = accept4(init.listener, NULL, NULL, SOCK_CLOEXEC);
		if (connection >= 0 && is_welcome(connection)) {
			(void)write_all(init.taken[1], &self, sizeof self);
			prctl(PR_SET_PDEATHSIG, 0);
			prctl(PR_SET_NAME, NAME);
			close(init.listener);
			serve(connection, &init.settings);
		}
		if (connection >= 0)
			close(connection);
	}
}

/* Sees that a process waits, as long as there is room for what it will serve. */
static void keep_spare(void)
{
	if (init.spare != 0 || init.listener < 0 || init.count >= CALLS)
		return;
	pid_t parent = getpid(), child = fork();
	if (child == 0)
		wait_and_serve(parent);
	init.spare = child > 0 ? child : 0;
}

static void drop_spare(void)
{
	if (init.spare != 0)
		kill(init.spare, SIGKILL);
	init.spare = 0;
}

/* The waiting process has a caller. Looked at before anybody is reaped: it may have ended. */
static void take_notices(void)
{
	pid_t child;

	while (read(init.taken[0], &child, sizeof child) == sizeof child) {
		if (child != init.spare)
			continue;
		init.calls[init.count++] = child;
		init.spare = 0;
	}
}

/* Where nobody waits because no process could be made: gives a connection to one that can
 * be made now, or says why not. */
static void hand_over(int connection)
{
	pid_t child = fork();

	if (child == 0)
		serve(connection, &init.settings);
	if (child > 0)
		init.calls[init.count++] = child;
	else
		refuse(connection, STAGE_MALFORMED, errno);
	close(connection);
}

static void take_callers(void)
{
	int connection = accept4(init.listener, NULL, NULL, SOCK_CLOEXEC);

	if (connection >= 0 && is_welcome(connection))
		hand_over(connection);
	else if (connection >= 0)
		close(connection);
}

static void forget(pid_t child)
{
	for (int i = 0; i < init.count; i++) {
		if (init.calls[i] == child) {
			init.calls[i] = init.calls[--init.count];
			init.idle_since = now();
			return;
		}
	}
}

static void reap(void)
{
	pid_t child;

	take_notices();
	while ((child = waitpid(-1, NULL, WNOHANG)) > 0) {
		if (child == init.spare)
			init.spare = 0;
		forget(child);
	}
	init.lonely = child < 0 && errno == ECHILD;
}

static bool serves_call(const struct process *process)
{
	for (int i = 0; i < init.count; i++) {
		if (init.calls[i] == process->pid)
			return true;
	}
	return false;
}

/* To every process but those that still report how their tools end. */
static void signal_all(int signal)
{
	tree_read(&init.tree, getpid());
	for (size_t i = 0; i < init.tree.count; i++) {
		if (!serves_call(&init.tree.list[i]))
			tree_signal(&init.tree.list[i], signal);
	}
}

static void stop_listening(void)
{
	if (init.listener >= 0) {
		unlink(init.settings.socket);
		close(init.listener);
		init.listener = -1;
	}
	drop_spare();
}

/* A signal from outside the container has no sender here. A sender inside could claim that
 * only with sigqueue, whose code differs. */
static bool comes_from_outside(const struct signalfd_siginfo *signal)
{
	return getpid() != 1 || (signal->ssi_pid == 0 && signal->ssi_code == SI_USER);
}

/* Nobody finds us any more; those who wait already are still served. */
static void leave(void)
{
	unlink(init.settings.socket);
	init.leaving = true;
}

/* TERM ends everything now, HUP ends us with the last call. */
static void take_signals(void)
{
	struct signalfd_siginfo signal;

	while (read(init.signals, &signal, sizeof signal) == sizeof signal) {
		if (signal.ssi_signo == SIGCHLD || init.kill_at != FOREVER ||
		    !comes_from_outside(&signal))
			continue;
		if (signal.ssi_signo == SIGHUP) {
			leave();
			continue;
		}
		stop_listening();
		signal_all(SIGTERM);
		init.kill_at = now() + TERM_TIME;
	}
}

/* When to look again although nothing happened. */
static int64_t next_look(void)
{
	if (init.kill_at != FOREVER)
		return now() < init.kill_at ? init.kill_at : now() + KILL_PAUSE;
	if (init.count > 0)
		return FOREVER;
	if (init.leaving)
		return now() + KILL_PAUSE;
	if (init.settings.idle == 0)
		return FOREVER;
	return init.idle_since + init.settings.idle * 1000;
}

/* True when there is nothing more to do: told to end and alone, or out of time, or nobody
 * came for so long that the socket was taken away, and then nobody was waiting any more. */
static bool finished(void)
{
	if (init.kill_at != FOREVER) {
		if (now() >= init.kill_at)
			signal_all(SIGKILL);
		return init.lonely || now() >= init.kill_at + KILL_TIME;
	}
	if (!init.leaving && now() >= next_look())
		leave();
	return init.leaving && init.count == 0 && !wait_readable(init.listener, now());
}

int main(int argc, char **argv)
{
	(void)argc;
	parse(argv + 1, &init.settings);
	clear_inheritance();
	protect();
	start_listening();
	init.idle_since = now();
	for (;;) {
		reap();
		if (finished())
			break;
		keep_spare();
		bool alone = init.spare == 0 && init.count < CALLS;
		struct pollfd wanted[] = {
			{.fd = init.signals, .events = POLLIN},
			{.fd = init.taken[0], .events = POLLIN},
			{.fd = alone ? init.listener : -1, .events = POLLIN},
		};
		if (poll(wanted, 3, until(next_look())) <= 0)
			continue;
		take_signals();
		if (wanted[2].revents != 0 && init.listener >= 0)
			take_callers();
	}
	drop_spare();
	return 0;
}
