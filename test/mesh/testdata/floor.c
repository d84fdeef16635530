/*
 * floor sends the messages of an agent of the mesh at rest, and does nothing
 * else: a new association each second and an echo on a kept one each second, to
 * one peer after the other, and a new one every ten seconds to another node. It
 * answers the others in a process of its own.
 *
 *	floor OWN-ADDRESS OTHER-NODE PEER...
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sctp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORT 9476
#define SIZE 64
#define MOST 64

static void check(int result, const char *doing)
{
	if (result < 0) {
		perror(doing);
		exit(1);
	}
}

/* As internal/mesh/echo: what is lost is sent again after 250 ms. */
static int open_socket(const char *local, int port)
{
	struct sctp_initmsg init = {.sinit_num_ostreams = 1, .sinit_max_instreams = 1, .sinit_max_attempts = 8, .sinit_max_init_timeo = 250};
	struct sctp_rtoinfo rto = {.srto_initial = 250, .srto_max = 250, .srto_min = 250};
	struct sctp_assocparams assoc = {.sasoc_asocmaxrxt = 240};
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = inet_addr(local)};
	int fd = socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP);

	check(fd, "socket");
	check(setsockopt(fd, IPPROTO_SCTP, SCTP_INITMSG, &init, sizeof(init)), "SCTP_INITMSG");
	check(setsockopt(fd, IPPROTO_SCTP, SCTP_RTOINFO, &rto, sizeof(rto)), "SCTP_RTOINFO");
	check(setsockopt(fd, IPPROTO_SCTP, SCTP_ASSOCINFO, &assoc, sizeof(assoc)), "SCTP_ASSOCINFO");
	check(bind(fd, (struct sockaddr *)&at, sizeof(at)), "bind");
	return fd;
}

static int dial(const char *local, const char *peer)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = inet_addr(peer)};
	int fd = open_socket(local, 0);

	check(connect(fd, (struct sockaddr *)&to, sizeof(to)), "connect");
	return fd;
}

static void echo(int fd)
{
	char question[SIZE], answer[SIZE];

	check(getrandom(question, SIZE, 0), "getrandom");
	check(send(fd, question, SIZE, MSG_NOSIGNAL), "send");
	check(recv(fd, answer, SIZE, 0), "recv");
	if (memcmp(question, answer, SIZE)) {
		fprintf(stderr, "another answer\n");
		exit(1);
	}
}

static void serve(const char *local)
{
	struct pollfd fds[MOST];
	int n = 1;

	fds[0].fd = open_socket(local, PORT);
	fds[0].events = POLLIN;
	check(listen(fds[0].fd, MOST), "listen");
	for (;;) {
		check(poll(fds, n, -1), "poll");
		for (int i = n - 1; i > 0; i--) {
			char message[SIZE];
			ssize_t got;

			if (!fds[i].revents)
				continue;
			got = recv(fds[i].fd, message, SIZE, 0);
			if (got > 0) {
				send(fds[i].fd, message, got, MSG_NOSIGNAL);
				continue;
			}
			close(fds[i].fd);
			fds[i] = fds[--n];
		}
		if (fds[0].revents && n < MOST) {
			fds[n].fd = accept(fds[0].fd, NULL, NULL);
			check(fds[n].fd, "accept");
			fds[n].events = POLLIN;
			fds[n++].revents = 0;
		}
	}
}

static void probe(const char *local, const char *peer)
{
	int fd = dial(local, peer);

	echo(fd);
	close(fd);
}

int main(int argc, char **argv)
{
	const char *local = argv[1], *other = argv[2];
	int kept[MOST] = {0}, peers = argc - 3;
	pid_t parent = getpid();

	if (peers < 1 || peers > MOST)
		return 2;
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			serve(local);
		return 0;
	}
	argv += 3;
	sleep(5); /* until all others listen */
	srandom(parent);
	usleep(random() % 500000);
	for (int i = 0;; i = (i + 1) % peers) {
		int k = (i + peers / 2) % peers;

		probe(local, argv[i]);
		if (i == 0)
			probe(local, other);
		usleep(500000);
		if (!kept[k])
			kept[k] = dial(local, argv[k]);
		echo(kept[k]);
		usleep(500000);
	}
}
