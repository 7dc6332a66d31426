/* What is wrong with the directory that tools work in, said where they say what is wrong. */
#ifndef WORKSPACE_H
#define WORKSPACE_H

/* The directory's path; without one there is nothing to say. */
void workspace_is_at(const char *path);

/* Says on a call's stderr that it is missing, empty or not writable. Does not wait there. */
void workspace_look(int standard_error);

#endif
