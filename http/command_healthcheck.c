/* `resnetd healthcheck`: for container engines whose images hold neither a shell nor curl. It asks the monitoring port, which answers from
 * the first moment of the process and is never behind a queue of requests. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "http/commands.h"
#include "http/flags.h"

enum { YES = 0, NO = 1, USAGE = 2, PATIENCE_S = 5 };

static int refuse(const char *message)
{
    fprintf(stderr, "resnetd healthcheck: %s\n", message);
    return USAGE;
}

/* The code of the answer to GET path, or 0: *problem says what happened instead. */
static int ask(uint16_t port, const char *path, const char **problem)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    const struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char text[256];
    int code = 0;
    if (fd < 0) {
        *problem = strerror(errno);
        return 0;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    const int length = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
    if (connect(fd, (const struct sockaddr *)&server, sizeof server) != 0 || send(fd, text, (size_t)length, MSG_NOSIGNAL) != length) {
        *problem = errno == EAGAIN || errno == EINPROGRESS ? "no connection in time" : strerror(errno);
    } else {
        const ssize_t got = recv(fd, text, sizeof text - 1, MSG_WAITALL);
        text[got > 0 ? got : 0] = '\0';
        if (got <= 0 || sscanf(text, "HTTP/1.1 %3d", &code) != 1) *problem = got < 0 ? "no answer in time" : "no HTTP answer";
    }
    close(fd);
    return code;
}

int rn_command_healthcheck(int argc, char **argv, FILE *out)
{
    rn_flags flags;
    rn_error err;
    const char *question = "ready", *problem = NULL;
    if (argc > 1 && argv[1][0] != '-') {
        question = argv[1];
        argc--, argv++;
    }
    if (strcmp(question, "ready") != 0 && strcmp(question, "live") != 0) return refuse("expected the word ready or live");
    if (rn_flags_parse(argc, argv, &flags, &err) != RN_STATUS_OK) return refuse(err.message);
    if (flags.monitoring_port == 0) return refuse("--monitoring_port: expected the server's, found 0");
    char path[64];
    snprintf(path, sizeof path, "/v2/health/%s", question);
    const int code = ask((uint16_t)flags.monitoring_port, path, &problem);
    if (code == 200)
        fprintf(out, "%s\n", question);
    else if (code != 0)
        fprintf(out, "not %s: the server at port %d answers %d\n", question, (int)flags.monitoring_port, code);
    else
        fprintf(out, "not %s: port %d: %s\n", question, (int)flags.monitoring_port, problem);
    return code == 200 ? YES : NO;
}
