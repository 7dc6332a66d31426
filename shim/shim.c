/* Takes the place of a tool: has it run in a sidecar, through the proxy, as if it were here. */
#include "shim.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "answer.h"
#include "assign.h"
#include "die.h"
#include "local.h"
#include "proxy.h"
#include "relay.h"
#include "request.h"
#include "signals.h"
#include "streams.h"

enum { OK = 200, SWITCHING = 101, BUSY = 503 };
enum { BUSY_PATIENCE = 30 * 1000, FIRST_PAUSE = 50, LONGEST_PAUSE = 1000 };

extern char **environ;

static struct link connection;

/* The working directory as the sidecar has it: on a host that says where its workspace lies,
 * that part of the path is replaced. */
static const char *working_directory(const char *tool)
{
	static char here[PATH_MAX], mapped[PATH_MAX];
	char workspace[PATH_MAX];
	const char *given = getenv("AIFO_WORKSPACE");

	if (getcwd(here, sizeof here) == NULL)
		die(REFUSED, SELF, "%s: there is no working directory: %s", tool, strerror(errno));
	if (given == NULL || given[0] == '\0')
		return here;
	const char *top = local_workspace(workspace);
	size_t length = strlen(top);
	if (strncmp(here, top, length) != 0 || (here[length] != '/' && here[length] != '\0'))
		return here;
	snprintf(mapped, sizeof mapped, "/workspace%s", here + length);
	return mapped;
}

/* Sends the request and reads the answer's head: again as long as the proxy is busy, which it
 * says before a call exists, and never otherwise. */
static void ask(const struct request *request, struct http_head *head)
{
	int64_t deadline = FOREVER;
	int pause = FIRST_PAUSE;

	for (;;) {
		connection.descriptor = -1;
		connection.start = connection.have = 0;
		connection.fd = proxy_connect(request->proxy, request->order->tool);
		if (!signals_begin())
			die(LOST, SELF, "%s: cannot make a pipe: %s", request->order->tool, strerror(errno));
		request_send(request, connection.fd);
		signals_await(connection.fd, POLLIN);
		if (!answer_head(&connection, head))
			die(LOST, SELF, "%s: the connection to the tool-exec proxy was lost",
			    request->order->tool);
		if (head->status != BUSY)
			return;
		if (deadline == FOREVER) /* not before: most calls need no clock */
			deadline = now() + BUSY_PATIENCE;
		if (now() + pause >= deadline)
			return;
		close(connection.fd);
		signals_end();
		poll(NULL, 0, pause);
		pause = 2 * pause < LONGEST_PAUSE ? 2 * pause : LONGEST_PAUSE;
	}
}

/* An answer without a call: its text, and the exit status it names, which is never 0 unless
 * something has been done. */
static int finish(struct http_head *head, const char *tool)
{
	bool done = head->status == OK;

	if (!answer_body(&connection, head, done ? STDOUT_FILENO : STDERR_FILENO) ||
	    (done && head->exit_code < 0))
		die(LOST, SELF, "%s: the connection to the tool-exec proxy was lost", tool);
	if (done || head->exit_code > 0)
		return head->exit_code;
	return REFUSED;
}

static bool is_notification(const char *tool)
{
	const char *names = setting("NOTIFY"), *more = getenv("AIFO_NOTIFICATIONS_ALLOWLIST");
	size_t length = strlen(tool);

	if (names == NULL && strcmp(tool, "say") == 0)
		return true;
	if (names == NULL)
		names = more != NULL ? more : "";
	for (; *(names += strspn(names, ", ")) != '\0'; names += strcspn(names, ", ")) {
		if (strcspn(names, ", ") == length && strncmp(names, tool, length) == 0)
			return true;
	}
	return false;
}

static int notify(const struct proxy *proxy, const struct order *order)
{
	struct request request = {.proxy = proxy, .order = order, .notify = true};
	struct http_head head;

	ask(&request, &head);
	return finish(&head, order->tool);
}

/* Descriptors are passed where that was seen to work: the session says where it does not. */
static bool can_pass(const struct proxy *proxy)
{
	const char *wish = setting("DESCRIPTORS");

	return proxy->socket != NULL && (wish == NULL || strcmp(wish, "0") != 0);
}

static int call(const struct proxy *proxy, const struct order *order)
{
	struct request request = {.proxy = proxy, .order = order};
	struct window window = {0};
	struct streams streams;
	struct http_head head;
	char tty[32];
	unsigned mask;

	streams_look(&streams, order->tool);
	request.cwd = working_directory(order->tool);
	if (streams.screen) {
		window = screen_window(STDIN_FILENO);
		mask = 1U | 2U | (streams.terminal[2] ? 4U : 0U) | (window.front ? 0U : TERMINAL_BEHIND);
		snprintf(tty, sizeof tty, "%u,%u,%u", (unsigned)window.rows, (unsigned)window.columns, mask);
		request.tty = tty;
	}
	bool passes = can_pass(proxy);
	if (passes) {
		streams_prepare(&streams, order->tool);
		request.descriptors = streams.passed;
	}
	ask(&request, &head);
	if (head.status != SWITCHING)
		return finish(&head, order->tool);
	return relay(&connection, &streams, passes, window, order->tool);
}

static int act(const char *called_as, struct order *order)
{
	struct proxy proxy;

	if (!proxy_find(&proxy)) {
		local_run(called_as, order, LOCAL_NO_PROXY);
		die(REFUSED, SELF, "%s: no tool-exec proxy configured (AIFO_TOOLEEXEC_URL)",
		    order->tool);
	}
	if (strcmp(order->tool, "env") == 0) {
		struct order named = *order;
		if (!assign_read(&named) || !local_is_shim(called_as, named.tool))
			local_run(called_as, order, LOCAL_WANTED);
		else
			*order = named;
	}
	if (local_wants(order->tool, order->arguments))
		local_run(called_as, order, LOCAL_WANTED);
	signal(SIGPIPE, SIG_IGN); /* a peer that has gone shows in other ways */
	return is_notification(order->tool) ? notify(&proxy, order) : call(&proxy, order);
}

int main(int argc, char **argv)
{
	if (argc == 0)
		die(REFUSED, SELF, "has no name: call it by the name of a tool");
	const char *slash = strrchr(argv[0], '/');
	struct order order = {
		.tool = slash != NULL ? slash + 1 : argv[0],
		.arguments = argv + 1,
		.environment = environ,
	};
	if (strcmp(order.tool, SELF) == 0 || order.tool[0] == '\0')
		die(REFUSED, SELF, "is to be called by the name of a tool: ln -s aifo-shim node");
	return act(argv[0], &order);
}
