/*
 * The least that does what the core of the quick suite does, with blocking
 * sockets: handshake, a nonce and its echo each way, graceful shutdown.
 * Prints the mean time of one, in nanoseconds.
 *
 *	gcc -O2 -static -o minimal minimal.c && ./minimal 1000
 */
#include <arpa/inet.h>
#include <linux/sctp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void must(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

/* Without these two, messages and the shutdown wait for delayed
 * acknowledgements. */
static int open_socket(struct sockaddr_in *addr)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP);
	struct sctp_sack_info sack = { .sack_freq = 1 };
	socklen_t len = sizeof(*addr);

	must(fd >= 0, "socket");
	must(!setsockopt(fd, IPPROTO_SCTP, SCTP_NODELAY, &one, sizeof(one)), "SCTP_NODELAY");
	must(!setsockopt(fd, IPPROTO_SCTP, SCTP_DELAYED_SACK, &sack, sizeof(sack)), "SCTP_DELAYED_SACK");
	memset(addr, 0, sizeof(*addr));
	addr->sin_family = AF_INET;
	addr->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(!bind(fd, (struct sockaddr *)addr, sizeof(*addr)), "bind");
	must(!getsockname(fd, (struct sockaddr *)addr, &len), "getsockname");
	return fd;
}

static void echo(int from, int to)
{
	unsigned char nonce[32], got[64];

	must(getrandom(nonce, sizeof(nonce), 0) == sizeof(nonce), "getrandom");
	must(send(from, nonce, sizeof(nonce), 0) == sizeof(nonce), "send");
	must(recv(to, got, sizeof(got), 0) == sizeof(nonce), "receive");
	must(send(to, got, sizeof(nonce), 0) == sizeof(nonce), "send the echo");
	must(recv(from, got, sizeof(got), 0) == sizeof(nonce), "receive the echo");
	must(!memcmp(nonce, got, sizeof(nonce)), "compare");
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 1000;
	struct timespec a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < n; i++) {
		struct sockaddr_in here, unused;
		char c;
		int listener = open_socket(&here), client, server;

		must(!listen(listener, 8), "listen");
		client = open_socket(&unused);
		must(!connect(client, (struct sockaddr *)&here, sizeof(here)), "connect");
		server = accept(listener, NULL, NULL);
		must(server >= 0, "accept");
		echo(client, server);
		echo(server, client);
		must(!shutdown(client, SHUT_WR), "shutdown");
		must(recv(server, &c, 1, 0) == 0, "the end");
		close(server);
		close(client);
		close(listener);
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("%lld\n", ((b.tv_sec - a.tv_sec) * 1000000000LL + b.tv_nsec - a.tv_nsec) / n);
	return 0;
}
