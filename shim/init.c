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
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "callers.h"
#include "carry.h"
#include "die.h"
#include "io.h"
#include "tree.h"
#include "workspace.h"

enum { LAST_SIGNAL = 64, FIRST_FREE = 3 };
enum { TERM_TIME = 700, KILL_TIME = 150, KILL_PAUSE = 20 };

static const char NAME[] = "aifo-init";

static struct init {
	struct settings settings;
	struct callers callers;
	int signals;
	int64_t idle_since;
	bool leaving;
	int64_t kill_at; /* FOREVER unless told to end */
	bool lonely;     /* no child of any kind is left */
	struct tree tree;
} init = {.kill_at = FOREVER};

static noreturn void usage(void)
{
	die(2, NAME,
	    "usage: aifo-init --socket PATH --spec DIGEST [--stamp PATH] [--idle SECONDS] "
	    "[--caller UID] [--workspace PATH]\n       aifo-init --relay [--socket PATH] [--init PID]");
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
		else if (strcmp(argument[0], "--workspace") == 0)
			workspace_is_at(argument[1]);
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
}

static void reap(void)
{
	pid_t child;

	callers_notice(&init.callers);
	while ((child = waitpid(-1, NULL, WNOHANG)) > 0) {
		if (callers_forget(&init.callers, child))
			init.idle_since = now();
	}
	init.lonely = child < 0 && errno == ECHILD;
}

/* To every process but those that still report how their tools end. */
static void signal_all(int signal)
{
	tree_read(&init.tree, getpid());
	for (size_t i = 0; i < init.tree.count; i++) {
		if (!callers_served_by(&init.callers, init.tree.list[i].pid))
			tree_signal(&init.tree.list[i], signal);
	}
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
	callers_hide(&init.callers);
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
		callers_close(&init.callers);
		signal_all(SIGTERM);
		init.kill_at = now() + TERM_TIME;
	}
}

/* When to look again although nothing happened. */
static int64_t next_look(void)
{
	if (init.kill_at != FOREVER)
		return now() < init.kill_at ? init.kill_at : now() + KILL_PAUSE;
	if (init.callers.count > 0)
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
	return init.leaving && init.callers.count == 0 && !wait_readable(init.callers.listener, now());
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--relay") == 0)
		return carry(argv + 2);
	parse(argv + 1, &init.settings);
	clear_inheritance();
	protect();
	callers_open(&init.callers, &init.settings);
	init.idle_since = now();
	for (;;) {
		reap();
		if (finished())
			break;
		callers_wait(&init.callers);
		bool ours = callers_are_ours(&init.callers);
		struct pollfd wanted[] = {
			{.fd = init.signals, .events = POLLIN},
			{.fd = init.callers.taken[0], .events = POLLIN},
			{.fd = ours ? init.callers.listener : -1, .events = POLLIN},
		};
		if (poll(wanted, 3, until(next_look())) <= 0)
			continue;
		take_signals();
		if (wanted[2].revents != 0 && init.callers.listener >= 0)
			callers_take(&init.callers);
	}
	callers_dismiss(&init.callers);
	return 0;
}
