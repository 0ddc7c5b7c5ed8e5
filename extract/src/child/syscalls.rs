//! The system calls that a sandboxed process may use, as seccomp filters (seccomp(2)).

use std::collections::BTreeMap;

use libc::{EPERM, c_int, c_long};
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Filters that apply together. The kernel evaluates all of them and takes the strictest action.
pub(super) type Filters = Vec<BpfProgram>;

/// Returns the filters of a parser, which may use memory, threads and open files. All else fails with `EPERM`.
pub(super) fn parser_filters() -> Result<Filters, Error> {
    let no_exec = |argument| argument_rule(argument, SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64), 0);
    let this_process = u64::from(std::process::id());
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = BTreeMap::from([
        // Memory, but no new code.
        (libc::SYS_mmap, vec![no_exec(2)?]),
        (libc::SYS_mprotect, vec![no_exec(2)?]),
        // Threads, but no processes.
        (
            libc::SYS_clone,
            vec![argument_rule(
                0,
                SeccompCmpOp::MaskedEq(libc::CLONE_THREAD as u64),
                libc::CLONE_THREAD as u64,
            )?],
        ),
        // Names of threads and of memory.
        (
            libc::SYS_prctl,
            vec![argument_equals(0, libc::PR_SET_NAME)?, argument_equals(0, libc::PR_SET_VMA)?],
        ),
        // The standard library checks whether a descriptor is open.
        (libc::SYS_fcntl, vec![argument_equals(1, libc::F_GETFD)?, argument_equals(1, libc::F_GETFL)?]),
        // Limits of this process: each finished page raises its CPU time.
        (libc::SYS_prlimit64, vec![argument_rule(0, SeccompCmpOp::Eq, 0)?]),
        // Signals to this process, for `abort`.
        (libc::SYS_tgkill, vec![argument_rule(0, SeccompCmpOp::Eq, this_process)?]),
    ]);
    for call in PARSER_SYSCALLS {
        rules.insert(*call, Vec::new());
    }
    // The flags of `clone3` lie in memory, where filters cannot look. With `ENOSYS`, C libraries fall back to `clone`.
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    Ok(vec![
        compile_filter(clone3, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?,
        compile_filter(rules, SeccompAction::Errno(EPERM as u32), SeccompAction::Allow)?,
    ])
}

/// Returns the filters of the OCR program. Network, access to other processes and changes of the system fail with
/// `EPERM`.
pub(super) fn exec_filters() -> Result<Filters, Error> {
    let rules = DENIED_EXEC_SYSCALLS.iter().map(|call| (*call, Vec::new())).collect();
    Ok(vec![compile_filter(rules, SeccompAction::Allow, SeccompAction::Errno(EPERM as u32))?])
}

const PARSER_SYSCALLS: &[c_long] = &[
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
    // Threads. A filter of its own refuses `clone3`.
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
    // Time and random numbers.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    // Exit.
    libc::SYS_exit,
    libc::SYS_exit_group,
];

const DENIED_EXEC_SYSCALLS: &[c_long] = &[
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

fn compile_filter(
    rules: BTreeMap<c_long, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matching: SeccompAction,
) -> Result<BpfProgram, Error> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(SeccompFilter::new(rules, otherwise, matching, architecture)?.try_into()?)
}

fn argument_equals(argument: u8, value: c_int) -> Result<SeccompRule, Error> {
    argument_rule(argument, SeccompCmpOp::Eq, value as u64)
}

fn argument_rule(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, Error> {
    Ok(SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?])?)
}
