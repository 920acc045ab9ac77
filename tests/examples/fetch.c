/* fetch.c - A client: asks several hosts at once, and waits for each no longer than it must.
 *
 *   cc fetch.c -ltri -o fetch && ./fetch 7000 a b c        sends each word to 127.0.0.1:7000, prints what comes back */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tri.h>

struct question {
  int port;
  const char *text;
  int error;
  char answer[100];
};

static void ask(void *arg) {
  struct question *q = arg;
  tri_time deadline = tri_after(TRI_S(10)); /* for all of it */
  size_t n = strlen(q->text);
  int fd = tri_dial_tcp("127.0.0.1", q->port, deadline);
  ssize_t r = fd;
  if (r >= 0) r = tri_write_all(fd, q->text, n, deadline);
  if (r >= 0) r = tri_read_full(fd, q->answer, n < sizeof q->answer ? n : sizeof q->answer - 1, deadline);
  if (r < 0) q->error = (int)-r;
  if (fd >= 0) tri_close(fd);
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  int count = argc - 2, failed = 0;
  struct question *questions = calloc((size_t)count, sizeof *questions);
  tri_task *tasks = calloc((size_t)count, sizeof *tasks);
  if (questions == NULL || tasks == NULL) return 1;
  for (int i = 0; i < count; i++) {
    questions[i].port = atoi(argv[1]);
    questions[i].text = argv[2 + i];
    int error = tri_spawn(&tasks[i], ask, &questions[i], NULL);
    if (error != 0) questions[i].error = -error; /* else it is the task's already */
  }
  for (int i = 0; i < count; i++) {
    if (tasks[i] != 0) tri_join(tasks[i], TRI_FOREVER);
    if (questions[i].error != 0) {
      fprintf(stderr, "%s: %s\n", questions[i].text, strerror(questions[i].error));
      failed = 1;
    } else {
      printf("%s\n", questions[i].answer);
    }
  }
  free(questions);
  free(tasks);
  return failed;
}
