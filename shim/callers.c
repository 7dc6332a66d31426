#include "callers.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "die.h"
#include "io.h"
#include "tree.h"

enum { BACKLOG = 1024 };

static const char NAME[] = "aifo-init";
static bool is_first; /* of the processes here: whoever has a number is inside */

void callers_open(struct callers *callers, const struct settings *settings)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = settings->socket;

	*callers = (struct callers){.settings = settings};
	is_first = getpid() == 1;
	if (pipe2(callers->taken, O_CLOEXEC | O_NONBLOCK) != 0)
		die(1, NAME, "no pipe: %s", strerror(errno));
	if (strlen(path) >= sizeof address.sun_path)
		die(1, NAME, "%s: a socket's path has at most 107 bytes", path);
	strcpy(address.sun_path, path);
	callers->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	unlink(path);
	mode_t mask = umask(settings->caller != 0 ? 0 : 0077); /* is_welcome() decides */
	if (callers->listener < 0 ||
	    bind(callers->listener, (struct sockaddr *)&address, sizeof address) ||
	    listen(callers->listener, BACKLOG))
		die(1, NAME, "%s: cannot listen: %s", path, strerror(errno));
	umask(mask);
}

/* A tool of ours. Whoever comes from outside has no number here, or, as the relay, no parent. */
static bool is_inside(pid_t peer)
{
	return is_first && peer > 0 && tree_parent(peer) != 0;
}

static bool is_welcome(const struct settings *settings, int connection)
{
	struct ucred peer;
	socklen_t size = sizeof peer;

	return getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	       !is_inside(peer.pid) &&
	       (peer.uid == getuid() || peer.uid == 0 || peer.uid == settings->caller);
}

/* Waits for a caller, tells init, serves. Ends with init as long as nobody came. */
static noreturn void wait_and_serve(const struct callers *callers, pid_t parent)
{
	const pid_t self = getpid();

	prctl(PR_SET_NAME, "aifo-waits");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	for (;;) {
		(void)wait_readable(callers->listener, FOREVER);
		int connection = accept4(callers->listener, NULL, NULL, SOCK_CLOEXEC);
		if (connection >= 0 && is_welcome(callers->settings, connection)) {
			(void)write_all(callers->taken[1], &self, sizeof self);
			prctl(PR_SET_PDEATHSIG, 0);
			prctl(PR_SET_NAME, NAME);
			close(callers->listener);
			serve(connection, callers->settings);
		}
		if (connection >= 0)
			close(connection);
	}
}

void callers_wait(struct callers *callers)
{
	if (callers->spare != 0 || callers->listener < 0 || callers->count >= CALLS)
		return;
	pid_t parent = getpid(), child = fork();
	if (child == 0)
		wait_and_serve(callers, parent);
	callers->spare = child > 0 ? child : 0;
}

bool callers_are_ours(const struct callers *callers)
{
	return callers->listener >= 0 && callers->spare == 0 && callers->count < CALLS;
}

/* Where nobody waits because no process could be made: gives a connection to one that can
 * be made now, or says why not. */
static void hand_over(struct callers *callers, int connection)
{
	pid_t child = fork();

	if (child == 0)
		serve(connection, callers->settings);
	if (child > 0)
		callers->calls[callers->count++] = child;
	else
		refuse(connection, STAGE_MALFORMED, errno);
}

void callers_take(struct callers *callers)
{
	int connection = accept4(callers->listener, NULL, NULL, SOCK_CLOEXEC);

	if (connection < 0)
		return;
	if (is_welcome(callers->settings, connection))
		hand_over(callers, connection);
	close(connection);
}

void callers_notice(struct callers *callers)
{
	pid_t child;

	while (read(callers->taken[0], &child, sizeof child) == sizeof child) {
		if (child != callers->spare)
			continue;
		callers->calls[callers->count++] = child;
		callers->spare = 0;
	}
}

bool callers_forget(struct callers *callers, pid_t child)
{
	if (child == callers->spare)
		callers->spare = 0;
	for (int i = 0; i < callers->count; i++) {
		if (callers->calls[i] == child) {
			callers->calls[i] = callers->calls[--callers->count];
			return true;
		}
	}
	return false;
}

bool callers_served_by(const struct callers *callers, pid_t process)
{
	for (int i = 0; i < callers->count; i++) {
		if (callers->calls[i] == process)
			return true;
	}
	return false;
}

void callers_hide(const struct callers *callers)
{
	unlink(callers->settings->socket);
}

void callers_dismiss(struct callers *callers)
{
	if (callers->spare != 0)
		kill(callers->spare, SIGKILL);
	callers->spare = 0;
}

void callers_close(struct callers *callers)
{
	if (callers->listener >= 0) {
		callers_hide(callers);
		close(callers->listener);
		callers->listener = -1;
	}
	callers_dismiss(callers);
}
