"""Which system calls a container may make: the rules of Docker's default policy, for x86_64 and arm64, as data.

The policy is moby's (profiles/seccomp, as of 2025): everything is refused with EPERM but what stands here. Where
moby's own versions differ, the stricter holds: no io_uring, no key rings, no `unshare` without CAP_SYS_ADMIN. Calls that
exist only for 32-bit programs are left out, as such programs cannot run under these rules anyway: one architecture is
loaded, which makes a container start 15 ms sooner than three. Knows nothing of how rules get to the kernel.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import Enum

ALWAYS = """
    access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fallocate
    fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync flock fstat fstatfs fsync ftruncate futimesat
    getcwd getdents getdents64 ioctl lchown link linkat lseek lstat mkdir mkdirat mknod mknodat name_to_handle_at
    newfstatat open openat openat2 read readlink readlinkat readv pread64 preadv preadv2 pwrite64 pwritev pwritev2
    rename renameat renameat2 rmdir sendfile splice stat statfs statx symlink symlinkat sync syncfs tee truncate umask
    unlink unlinkat utime utimensat utimes vmsplice write writev
    fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat llistxattr
    lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat
    cachestat fadvise64 readahead sync_file_range listmount statmount
    fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch

    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
    eventfd2 pipe pipe2 poll ppoll pselect6 select signalfd signalfd4
    io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit

    accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg
    sendto setsockopt shutdown socketpair

    brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mprotect mremap
    mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages

    execve execveat exit exit_group fork vfork wait4 waitid kill tgkill tkill pidfd_open pidfd_send_signal
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_tgsigqueueinfo restart_syscall sigaltstack pause
    futex futex_requeue futex_wait futex_waitv futex_wake get_robust_list set_robust_list rseq set_tid_address
    get_thread_area set_thread_area uretprobe prctl seccomp
    landlock_add_rule landlock_create_ruleset landlock_restrict_self

    capget capset getegid geteuid getgid getgroups getpgid getpgrp getpid getppid getresgid getresuid getsid gettid
    getuid setfsgid setfsuid setgid setgroups setpgid setregid setresgid setresuid setreuid setsid setuid

    getcpu getpriority getrlimit getrusage ioprio_get ioprio_set prlimit64 setpriority setrlimit sysinfo times uname
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
    sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield

    adjtimex alarm clock_adjtime clock_getres clock_gettime clock_nanosleep getitimer gettimeofday nanosleep setitimer
    time timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime
    timerfd_settime getrandom

    mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv msgsnd semctl semget
    semop semtimedop shmat shmctl shmdt shmget
"""
"""Allowed to everybody on every machine that has them: files, events, the network, memory, processes, identity,
resources, time, System V and POSIX messages."""


class Comparison(Enum):
    """How an argument is compared."""

    EQUAL = "SCMP_CMP_EQ"
    NOT_EQUAL = "SCMP_CMP_NE"
    NO_BIT_OF = "SCMP_CMP_MASKED_EQ"


@dataclass(frozen=True)
class Argument:
    """A condition on argument number `index` of a call."""

    index: int
    test: Comparison
    value: int


@dataclass(frozen=True)
class Rule:
    """System calls and when the rule holds.

    Attributes:
        names: separated by spaces.
        refused_with: None: the calls are allowed; else the errno they fail with.
        argument: only calls whose argument is like this.
        with_capability: only for containers that have one of these, separated by spaces; empty: whatever they have.
        without_capability: only for containers that have not got this one.
        machine: only on this architecture (`uname -m`); empty: on all.
        since: only from this kernel on.
    """

    names: str
    refused_with: int | None = None
    argument: Argument | None = None
    with_capability: str = ""
    without_capability: str = ""
    machine: str = ""
    since: tuple[int, int] = (0, 0)


AF_VSOCK = 40
NEW_NAMESPACES = 0x7E02_0000
"""CLONE_NEW… of cgroup, uts, ipc, user, pid, net and mount (linux/sched.h)."""
PERSONALITIES = (0x0, 0x8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF)
"""Linux, 32-bit Linux, each with the old uname, and the question which it is."""

RULES = (
    Rule(ALWAYS),
    Rule("arch_prctl modify_ldt", machine="x86_64"),
    # Before 4.8 a tracer could change a call after it had been judged.
    Rule("ptrace process_vm_readv process_vm_writev", since=(4, 8)),
    Rule("socket", argument=Argument(0, Comparison.NOT_EQUAL, AF_VSOCK)),
    *(Rule("personality", argument=Argument(0, Comparison.EQUAL, value)) for value in PERSONALITIES),
    Rule("clone", argument=Argument(0, Comparison.NO_BIT_OF, NEW_NAMESPACES), without_capability="CAP_SYS_ADMIN"),
    # Its flags lie in memory where no rule can see them; programs then fall back to clone.
    Rule("clone3", refused_with=errno.ENOSYS, without_capability="CAP_SYS_ADMIN"),
    Rule(
        "clone clone3 unshare setns mount mount_setattr move_mount open_tree fsconfig fsmount fsopen fspick umount2"
        " sethostname setdomainname fanotify_init quotactl quotactl_fd lookup_dcookie"
        " lsm_get_self_attr lsm_list_modules lsm_set_self_attr",
        with_capability="CAP_SYS_ADMIN",
    ),
    Rule("bpf", with_capability="CAP_SYS_ADMIN CAP_BPF"),
    Rule("perf_event_open", with_capability="CAP_SYS_ADMIN CAP_PERFMON"),
    Rule("syslog", with_capability="CAP_SYS_ADMIN CAP_SYSLOG"),
    Rule("open_by_handle_at", with_capability="CAP_DAC_READ_SEARCH"),
    Rule("chroot", with_capability="CAP_SYS_CHROOT"),
    Rule("reboot", with_capability="CAP_SYS_BOOT"),
    Rule("delete_module finit_module init_module", with_capability="CAP_SYS_MODULE"),
    Rule("acct", with_capability="CAP_SYS_PACCT"),
    Rule(
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace", with_capability="CAP_SYS_PTRACE"
    ),
    Rule("ioperm iopl", with_capability="CAP_SYS_RAWIO"),
    Rule("clock_settime settimeofday", with_capability="CAP_SYS_TIME"),
    Rule("vhangup", with_capability="CAP_SYS_TTY_CONFIG"),
    Rule("get_mempolicy mbind set_mempolicy set_mempolicy_home_node", with_capability="CAP_SYS_NICE"),
)
