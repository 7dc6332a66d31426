/* The relay's ends of one tool's streams: pipes and a terminal, with the credit of each. */
#ifndef ENDS_H
#define ENDS_H

#include <stdbool.h>
#include <stdint.h>

#include "flow.h"
#include "frame.h"
#include "io.h"
#include "outbox.h"

/* Where output comes from: the pipes of streams 1 and 2, and the terminal. */
enum { PIPES = STREAMS - 1, SCREEN = PIPES, SOURCES };

struct source {
	int fd;       /* -1 when nothing more comes */
	uint8_t type; /* of its frames, which is the stream's number */
	int left;     /* bytes that a pipe still had when the tool ended; -1 before that */
};

struct ends {
	struct flow input;
	bool readable; /* somebody may read what comes for the input */
	bool refused;  /* nobody does any more, and that is to be told */
	uint32_t owed; /* taken of the input, and not told yet */
	struct source sources[SOURCES];
	uint32_t credit[STREAMS]; /* how much of a stream the other side still takes */
};

/* buffer: FLOW_ROOM bytes for the input. */
void ends_open(struct ends *ends, char *buffer);

/* Makes a pipe for every stream that does not become the terminal, the tool's ends of which are
 * added to theirs; false as errno says. */
bool ends_make(struct ends *ends, uint8_t terminal, struct passed *theirs);

/* The terminal was made; it is ours from now on. */
void ends_have_screen(struct ends *ends, int master);

/* False for what cannot be. */
bool ends_take_credit(struct ends *ends, const unsigned char *payload);

/* Nobody takes this stream any more: what the tool writes there fails. False for no output. */
bool ends_close_stream(struct ends *ends, uint8_t n);

/* Goes on with the input; or finds that nobody reads it any more. */
void ends_write(struct ends *ends);

/* Says what there is to say about the input. */
void ends_tell(struct ends *ends, uint32_t call, struct outbox *outbox);

/* True when somebody takes what this source has. */
bool ends_flow(const struct ends *ends, int i);

/* Moves once what a source has. */
void ends_read(struct ends *ends, int i, uint32_t call, struct outbox *outbox);

/* The tool has ended: what its pipes have now is the last that comes from them. */
void ends_settle(struct ends *ends);

bool ends_are_closed(const struct ends *ends);
void ends_close_source(struct ends *ends, int i);
void ends_close(struct ends *ends);

#endif
