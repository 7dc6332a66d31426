#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "io.h"

enum { INSISTING = 3, INSISTING_WITHIN = 2000, GRACE = 200, MOST_HELD = 32 };

static const struct {
	int number;
	unsigned char wire;
	bool ends;
} passed_on[] = {
	{SIGINT, WIRE_INT, true}, {SIGTERM, 15, true},		  {SIGHUP, WIRE_HUP, true},
	{SIGQUIT, 3, true},	  {SIGUSR1, 10, false},		  {SIGUSR2, 12, false},
	{SIGCONT, WIRE_CONT, false}, {SIGWINCH, WIRE_WINCH, false}, {SIGTSTP, WIRE_TSTP, false},
};
enum { COUNT = sizeof passed_on / sizeof *passed_on };

static int ends[2]; /* of a pipe that carries places in this table */
static volatile sig_atomic_t continued;

static void note(int number)
{
	int error = errno;

	if (number == SIGCONT)
		continued = 1;
	for (unsigned char i = 0; i < COUNT; i++) {
		if (passed_on[i].number == number)
			(void)!write(ends[1], &i, 1);
	}
	errno = error;
}

static void take_over(int number)
{
	struct sigaction action = {.sa_handler = note}, found;

	if (sigaction(number, NULL, &found) == 0 && found.sa_handler != SIG_IGN)
		sigaction(number, &action, NULL);
}

static void give_back(int number)
{
	struct sigaction found;

	if (sigaction(number, NULL, &found) == 0 && found.sa_handler == note)
		signal(number, SIG_DFL);
}

/* The place in the table of the next one that came; -1 for none. */
static int next(void)
{
	unsigned char place;
	ssize_t got;

	do
		got = read(ends[0], &place, 1);
	while (got < 0 && errno == EINTR);
	return got == 1 ? place : -1;
}

bool signals_begin(void)
{
	if (ends[1] == 0 && pipe(ends) != 0)
		return false;
	for (int i = 0; i < 2; i++)
		fcntl(ends[i], F_SETFL, O_NONBLOCK);
	for (size_t i = 0; i < COUNT; i++)
		take_over(passed_on[i].number);
	return true;
}

void signals_end(void)
{
	int place;

	for (size_t i = 0; i < COUNT; i++)
		give_back(passed_on[i].number);
	while ((place = next()) >= 0) {
		if (passed_on[place].ends)
			raise(passed_on[place].number);
	}
}

int signals_descriptor(void)
{
	return ends[0];
}

static void suffer(unsigned char place)
{
	if (passed_on[place].ends) {
		signal(passed_on[place].number, SIG_DFL);
		raise(passed_on[place].number);
	} else if (passed_on[place].wire == WIRE_TSTP) {
		signals_stop(WIRE_TSTP, false);
	}
}

void signals_suffer(void)
{
	int place;

	while ((place = next()) >= 0)
		suffer((unsigned char)place);
}

/* Takes what came out of the pipe; true when something of it cannot wait for long. */
static bool hold(unsigned char *held, size_t *count)
{
	bool urgent = false;
	int place;

	while (*count < MOST_HELD && (place = next()) >= 0) {
		urgent = urgent || passed_on[place].ends || passed_on[place].wire == WIRE_TSTP;
		held[(*count)++] = (unsigned char)place;
	}
	return urgent;
}

short signals_await(int connection, short events)
{
	unsigned char held[MOST_HELD];
	size_t count = 0;
	int64_t deadline = FOREVER;
	short came = 0;

	while (came == 0) {
		struct pollfd wanted[] = {
			{.fd = connection, .events = events},
			{.fd = count < MOST_HELD ? ends[0] : -1, .events = POLLIN},
		};
		int ready = poll(wanted, 2, until(deadline));
		if (ready > 0)
			came = wanted[0].revents;
		if (ready > 0 && came == 0 && hold(held, &count) && deadline == FOREVER)
			deadline = now() + GRACE;
		if (ready == 0) {
			for (size_t i = 0; i < count; i++)
				suffer(held[i]);
			count = 0;
			deadline = FOREVER;
		}
	}
	if (count > 0)
		(void)!write(ends[1], held, count);
	return came;
}

static int insisting(void)
{
	static int64_t times[INSISTING];
	static unsigned count;

	times[count++ % INSISTING] = now();
	bool enough = count >= INSISTING && now() - times[count % INSISTING] < INSISTING_WITHIN;
	return enough ? WIRE_KILL : WIRE_INT;
}

int signals_next(void)
{
	int place = next();

	if (place < 0)
		return -1;
	return passed_on[place].wire == WIRE_INT ? insisting() : passed_on[place].wire;
}

bool signals_stop(int wire, bool everybody)
{
	int number = wire == WIRE_TTIN ? SIGTTIN : wire == WIRE_TTOU ? SIGTTOU : SIGTSTP;
	struct sigaction before;

	if (sigaction(number, NULL, &before) != 0 || before.sa_handler == SIG_IGN)
		return false;
	continued = 0;
	signal(number, SIG_DFL);
	if (everybody)
		kill(0, number);
	else
		raise(number);
	sigaction(number, &before, NULL);
	return continued;
}
