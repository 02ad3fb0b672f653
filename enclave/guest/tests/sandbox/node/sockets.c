/* What Landlock's rules about ports are not about: another protocol than TCP's own, and data that opens a connection (MSG_FASTOPEN).
   Argument: a port of loopback where somebody listens. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static void attempt(const char *name, long outcome) {
    printf("%s %s\n", name, outcome >= 0 ? "done" : errno == EPERM ? "EPERM" : "another error");
}

int main(int count, char **words) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (count != 2)
        return 2;
    to.sin_port = htons((unsigned short)atoi(words[1]));
    int plain = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
    attempt("plain", plain);
    attempt("mptcp", socket(AF_INET, SOCK_STREAM, 262));
    attempt("raw", socket(AF_INET, SOCK_RAW, IPPROTO_TCP));
    attempt("fast_open", sendto(plain, "x", 1, 0x20000000, (struct sockaddr *)&to, sizeof to));
    return 0;
}
