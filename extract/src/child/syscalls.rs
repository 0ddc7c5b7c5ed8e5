//! The system calls that are left to a process that reads documents, as seccomp filters (seccomp(2)).

use std::collections::BTreeMap;

use libc::{EPERM, c_int, c_long};
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Filters that go together; the kernel asks all of them and takes the strictest answer.
pub(super) type Filters = Vec<BpfProgram>;

/// What a parser may do: use memory, threads and files that are open. Everything else fails with `EPERM`.
pub(super) fn parser() -> Result<Filters, Error> {
    let no_exec = |argument| only(argument, SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64), 0);
    let this_process = u64::from(std::process::id());
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = BTreeMap::from([
        // Memory, but no new code.
        (libc::SYS_mmap, vec![no_exec(2)?]),
        (libc::SYS_mprotect, vec![no_exec(2)?]),
        // Threads, but no processes.
        (
            libc::SYS_clone,
            vec![only(0, SeccompCmpOp::MaskedEq(libc::CLONE_THREAD as u64), libc::CLONE_THREAD as u64)?],
        ),
        // Names of threads and of memory.
        (libc::SYS_prctl, vec![equal(0, libc::PR_SET_NAME)?, equal(0, libc::PR_SET_VMA)?]),
        // How the standard library tells whether a descriptor is open.
        (libc::SYS_fcntl, vec![equal(1, libc::F_GETFD)?, equal(1, libc::F_GETFL)?]),
        // Limits of this process: finished pages buy time.
        (libc::SYS_prlimit64, vec![only(0, SeccompCmpOp::Eq, 0)?]),
        // Signals to this process: how it aborts.
        (libc::SYS_tgkill, vec![only(0, SeccompCmpOp::Eq, this_process)?]),
    ]);
    for call in ALLOWED {
        rules.insert(*call, Vec::new());
    }
    // Its flags lie in memory, where filters cannot look: "not implemented" makes C libraries fall back to `clone`.
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    Ok(vec![
        compile(clone3, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?,
        compile(rules, SeccompAction::Errno(EPERM as u32), SeccompAction::Allow)?,
    ])
}

/// What another program that reads text from pictures may not do: talk to anybody, look into other processes, or change
/// the system. This fails with `EPERM`.
pub(super) fn program() -> Result<Filters, Error> {
    let rules = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    Ok(vec![compile(rules, SeccompAction::Allow, SeccompAction::Errno(EPERM as u32))?])
}

const ALLOWED: &[c_long] = &[
    // Open files.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_close,
    // Memory.
    libc::SYS_brk,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_madvise,
    // Threads. `clone3` is refused by a filter of its own.
    libc::SYS_clone3,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_membarrier,
    // Signals.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Time and chance.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    // The end.
    libc::SYS_exit,
    libc::SYS_exit_group,
];

const REFUSED: &[c_long] = &[
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_io_uring_setup,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_kill,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_capset,
];

fn compile(
    rules: BTreeMap<c_long, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matching: SeccompAction,
) -> Result<BpfProgram, Error> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(SeccompFilter::new(rules, otherwise, matching, architecture)?.try_into()?)
}

fn equal(argument: u8, value: c_int) -> Result<SeccompRule, Error> {
    only(argument, SeccompCmpOp::Eq, value as u64)
}

fn only(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, Error> {
    Ok(SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?])?)
}
