/* The only program of the contract's image: one verb, one thing seen from inside. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static void fail(const char *what)
{
    fprintf(stderr, "%s\n%s\n", strerror(errno), what);
    exit(1);
}

static void end(int number)
{
    (void)number;
    _exit(143);
}

static void cat(const char *path)
{
    char block[4096];
    ssize_t count;
    int descriptor = open(path, O_RDONLY);

    if (descriptor < 0)
        fail(path);
    while ((count = read(descriptor, block, sizeof block)) > 0)
        fwrite(block, 1, (size_t)count, stdout);
    close(descriptor);
}

static void echo(void)
{
    char block[65536];
    ssize_t count;

    while ((count = read(0, block, sizeof block)) > 0) {
        for (ssize_t done = 0, more; done < count; done += more) {
            more = write(1, block + done, (size_t)(count - done));
            if (more < 0)
                return;
        }
    }
}

static void put(const char *path, const char *text)
{
    int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    if (descriptor < 0 || write(descriptor, text, strlen(text)) != (ssize_t)strlen(text))
        fail(path);
    close(descriptor);
}

static void status(const char *path)
{
    struct stat found;

    if (stat(path, &found) != 0)
        fail(path);
    printf("%u %u %o\n", found.st_uid, found.st_gid, found.st_mode & 07777);
}

int main(int count, char **words)
{
    const char *verb = count > 1 ? words[1] : "";
    const char *first = count > 2 ? words[2] : "";
    const char *second = count > 3 ? words[3] : "";

    if (strcmp(verb, "print") == 0)
        printf("%s\n", first);
    else if (strcmp(verb, "warn") == 0)
        fprintf(stderr, "%s\n", first);
    else if (strcmp(verb, "exit") == 0)
        return atoi(first);
    else if (strcmp(verb, "environment") == 0)
        for (char **one = environ; *one; one++)
            printf("%s\n", *one);
    else if (strcmp(verb, "cat") == 0)
        cat(first);
    else if (strcmp(verb, "echo") == 0)
        echo();
    else if (strcmp(verb, "put") == 0)
        put(first, second);
    else if (strcmp(verb, "status") == 0)
        status(first);
    else if (strcmp(verb, "id") == 0)
        printf("%u %u\n", getuid(), getgid());
    else if (strcmp(verb, "where") == 0)
        printf("%s\n", getcwd(NULL, 0));
    else if (strcmp(verb, "wait") == 0) {
        signal(SIGTERM, end);
        for (;;)
            pause();
    } else
        return 64;
    return 0;
}
