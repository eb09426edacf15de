/* LD_PRELOAD for tests: what other kernels, emulators and C libraries make of a start.
 *
 * TEST_CLONE: what `clone` does.
 *   ignores-pidfd   ignores CLONE_PIDFD, as Linux before 5.2 and some sandboxes do
 *   refuses-pidfd   refuses it, as qemu-user does
 *   copies-memory   makes a fork of what is no thread, as valgrind and qemu-user do
 *   refuses-word    refuses CLONE_CHILD_CLEARTID, as musl does
 * TEST_EXEC: what `execve` does first.
 *   stops           stops the process, as a process of the same user could
 *   sleeps          sleeps for longer than five seconds
 * TEST_REFUSED: system calls that a filter refuses: NAME=ERROR,NAME=ERROR...; SO_COOKIE is one, too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif

static int is(const char *variable, const char *value) {
  const char *set = getenv(variable);
  return set && !strcmp(set, value);
}

int clone(int (*function)(void *), void *stack, int flags, void *data, ...) {
  static int (*real)(int (*)(void *), void *, int, void *, ...);
  va_list rest;
  va_start(rest, data);
  void *parent_tid = va_arg(rest, void *);
  void *tls = va_arg(rest, void *);
  void *child_tid = va_arg(rest, void *);
  va_end(rest);
  if (!real) real = dlsym(RTLD_NEXT, "clone");
  if (!(flags & CLONE_THREAD)) {
    if (is("TEST_CLONE", "ignores-pidfd")) flags &= ~CLONE_PIDFD;
    if (is("TEST_CLONE", "copies-memory")) flags &= ~(CLONE_VM | CLONE_VFORK);
    if ((is("TEST_CLONE", "refuses-pidfd") && (flags & CLONE_PIDFD)) ||
        (is("TEST_CLONE", "refuses-word") && (flags & CLONE_CHILD_CLEARTID))) {
      errno = EINVAL;
      return -1;
    }
  }
  return real(function, stack, flags, data, parent_tid, tls, child_tid);
}

int execve(const char *path, char *const *arguments, char *const *environment) {
  if (is("TEST_EXEC", "stops")) syscall(SYS_kill, (int)syscall(SYS_getpid), SIGSTOP);
  if (is("TEST_EXEC", "sleeps")) {
    struct timespec longer = {.tv_sec = 6};
    nanosleep(&longer, NULL);
  }
  return syscall(SYS_execve, path, arguments, environment);
}

static const struct { const char *name; int number; } calls[] = {
#define CALL(name) {#name, SYS_##name}
  CALL(clone3), CALL(close_range), CALL(pidfd_open), CALL(memfd_create), CALL(setsockopt),
};

static const struct { const char *name; int number; } errors[] = {
  {"ENOSYS", ENOSYS}, {"EPERM", EPERM}, {"EINVAL", EINVAL}, {"ENOPROTOOPT", ENOPROTOOPT},
};

static void fail(const char *why) {
  fprintf(stderr, "the simulated system: %s\n", why);
  _exit(99);
}

static int number_of_call(const char *name) {
  for (size_t at = 0; at < sizeof calls / sizeof *calls; at++)
    if (!strcmp(calls[at].name, name)) return calls[at].number;
  fail(name);
  return -1;
}

static int number_of_error(const char *name) {
  for (size_t at = 0; at < sizeof errors / sizeof *errors; at++)
    if (!strcmp(errors[at].name, name)) return errors[at].number;
  fail(name);
  return -1;
}

__attribute__((constructor)) static void refuse(void) {
  const char *set = getenv("TEST_REFUSED");
  if (!set || !*set) return;
  char *list = strdup(set);
  struct sock_filter code[64];
  unsigned short length = 0;
  code[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (char *rule = strtok(list, ","); rule && length < 60; rule = strtok(NULL, ",")) {
    char *error = strchr(rule, '=');
    if (!error) fail(rule);
    *error++ = 0;
    unsigned result = SECCOMP_RET_ERRNO | (unsigned)number_of_error(error);
    if (!strcmp(rule, "SO_COOKIE")) {
      if (strtok(NULL, ",")) fail("SO_COOKIE has to be the last");
      unsigned option = offsetof(struct seccomp_data, args[2]) + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0);
      code[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getsockopt, 0, 3);
      code[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, option);
      code[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SO_COOKIE, 0, 1);
      code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, result);
      break;
    }
    code[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number_of_call(rule), 0, 1);
    code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, result);
  }
  code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog program = {length, code};
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) fail("no filter");
  }
  free(list);
}
