#include "job.h"

#include "io.h"
#include "signals.h"

enum { LAST_WORDS = 100 }; /* what the tool said before it stopped is still on its way */

static void tell(const struct job *job, uint8_t type, const void *payload, uint32_t length)
{
	(void)send_frame(job->proxy, type, payload, length, -1); /* its end shows in reading */
}

static void tell_signal(const struct job *job, int number)
{
	unsigned char payload = (unsigned char)number;

	tell(job, FRAME_SIGNAL, &payload, sizeof payload);
}

static void tell_window(struct job *job)
{
	struct window window = screen_window(0);
	unsigned char front = window.front, size[4];

	if (window.front != job->told.front)
		tell(job, FRAME_FOREGROUND, &front, sizeof front);
	store32(size, (uint32_t)window.rows << 16 | window.columns);
	if (window.rows != job->told.rows || window.columns != job->told.columns)
		tell(job, FRAME_WINDOW, size, sizeof size);
	job->told = window;
}

/* Where we are, and that it is to draw anew, comes before the tool looks: a signal while it draws
 * would break what it writes. */
static void go_on(struct job *job)
{
	screen_forget();
	if (job->screen) {
		screen_make_raw(0);
		tell_window(job);
	}
	if (screen_is_raw())
		tell_signal(job, WIRE_WINCH);
	tell_signal(job, WIRE_CONT);
}

/* Nobody continues a job that no shell knows of: its tool gets what the kernel has for such. */
static void stop(struct job *job, int number, bool everybody)
{
	screen_restore();
	if (signals_stop(number, everybody))
		return; /* the CONT that ended this is waiting for us */
	if (number != WIRE_TSTP)
		tell_signal(job, WIRE_HUP);
	go_on(job);
}

void job_signal(struct job *job, int number)
{
	if (number == WIRE_WINCH && job->screen)
		tell_window(job);
	else if (number == WIRE_CONT)
		go_on(job);
	else
		tell_signal(job, number);
	if (number == WIRE_TSTP)
		stop(job, number, false);
}

void job_stopped(struct job *job, int number)
{
	bool wants_terminal = number == WIRE_TTIN || number == WIRE_TTOU;

	job->stopped_by = wants_terminal ? number : WIRE_TSTP;
	job->stop_at = now() + LAST_WORDS;
}

bool job_stops(const struct job *job)
{
	return job->stop_at != FOREVER;
}

/* A tool that wanted the terminal has it, if we have come forward meanwhile. */
static void stop_with_tool(struct job *job)
{
	job->stop_at = FOREVER;
	if (job->stopped_by != WIRE_TSTP && screen_in_front(0))
		go_on(job);
	else
		stop(job, job->stopped_by, true);
}

void job_look(struct job *job)
{
	if (job_stops(job) && now() >= job->stop_at)
		stop_with_tool(job);
	if (!job->screen || screen_in_front(0) == screen_is_raw())
		return;
	screen_forget();
	screen_make_raw(0);
	tell_window(job);
}
