/* Our signals while a call runs: taken down, to be passed on to the tool. */
#ifndef SIGNALS_H
#define SIGNALS_H

#include <stdbool.h>

/* Takes over the signals that a tool can get, those apart that we ignore. False when that is
 * not possible. */
bool signals_begin(void);

/* Gives them back; those that came meanwhile and would have ended us do so now. */
void signals_end(void);

/* Waits for poll's events on a connection, and returns those that came. A signal waits with us,
 * for the tool; one that ends or stops programs does so to us if nothing comes soon: there is no
 * tool yet. */
short signals_await(int connection, short events);

/* Readable when one has come. */
int signals_descriptor(void);

/* The next one that came, by its number on Linux; -1 when that is all. The third interrupt
 * within two seconds is KILL. */
int signals_next(void);

/* Those that came do to us what they would do to any program; returns unless one ends it. */
void signals_suffer(void);

/* Stops this process, or its whole group as a key does, by TSTP, TTIN or TTOU, as if nobody had
 * taken that over. Returns when it goes on, the CONT having been taken down; or false at once,
 * when nobody would continue it or it is not to be stopped. */
bool signals_stop(int wire, bool everybody);

/* The numbers that frames carry. */
enum {
	WIRE_HUP = 1,
	WIRE_INT = 2,
	WIRE_KILL = 9,
	WIRE_CONT = 18,
	WIRE_TSTP = 20,
	WIRE_TTIN = 21,
	WIRE_TTOU = 22,
	WIRE_WINCH = 28,
};

#endif
