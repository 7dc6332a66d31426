/* One call on its way through the relay: frames on one side, init and streams on the other. */
#ifndef CARRIED_H
#define CARRIED_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "ends.h"
#include "flow.h"
#include "frame.h"
#include "outbox.h"
#include "reach.h"

struct carried {
	uint32_t number;
	struct reach init;
	struct ends ends;
	bool called, started;
	int64_t look_at; /* when to go on although nothing happened; FOREVER for never */
	int reads;       /* of the terminal, since the tool ended */
	bool ending;     /* what is left of the output goes first, and then this as the last frame: */
	uint8_t last;
	unsigned char last_payload[5];
	size_t last_length;
	bool over;
	char buffer[FLOW_ROOM];
};

enum { CARRIED_POLLED = 2 + SOURCES };

/* A call that nothing is known of yet; NULL without memory. */
struct carried *carried_open(uint32_t number, const struct door *door);

/* Obeys a frame; false for what nobody says here. */
bool carried_take(struct carried *call, const struct frame *frame, char *payload);

/* What it waits for, given whether there is room in the outbox. */
void carried_poll(const struct carried *call, bool room, struct pollfd wanted[CARRIED_POLLED]);

/* Goes on with what is ready; afterwards it may be over. */
void carried_move(struct carried *call, const struct pollfd ready[CARRIED_POLLED],
		  struct outbox *outbox);

/* Ends the connection to init, which stops a call that still runs. */
void carried_close(struct carried *call);

#endif
