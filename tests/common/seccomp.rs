//! Threads in which system calls fail.
//!
//! This uses seccomp filters, which need no privilege, belong to one thread and those that it
//! starts, and cannot be removed.
#![allow(unsafe_code)]

use super::sys::checked;
use std::thread;

const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
const ALLOW: libc::sock_filter = step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0);
/// Loads the number of the call.
const LOAD_CALL: libc::sock_filter = step(LOAD, 0, 0, 0);
const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;

/// A step of a filter. It skips so many steps after it if it is a test that is true, or not.
const fn step(code: u32, k: u32, if_true: usize, if_false: usize) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: if_true as u8,
        jf: if_false as u8,
        k,
    }
}

const fn jump(test: u32) -> u32 {
    libc::BPF_JMP | test | libc::BPF_K
}

/// Loads an argument of the call: they stand from byte 16 on.
const fn argument(number: u32) -> libc::sock_filter {
    step(LOAD, 16 + 8 * number, 0, 0)
}

const fn fail(errno: i32) -> libc::sock_filter {
    step(RETURN, libc::SECCOMP_RET_ERRNO | errno as u32, 0, 0)
}

/// Runs `work` in a thread in which these calls fail with `errno`. With `below`, only writes at an
/// offset less than that fail.
pub fn with_errno<R: Send>(
    calls: &[libc::c_long],
    errno: i32,
    below: Option<u32>,
    work: impl FnOnce() -> R + Send,
) -> R {
    let run = || {
        fail_in_this_thread(calls, errno, below);
        work()
    };
    thread::scope(|scope| scope.spawn(run).join().unwrap())
}

/// Makes these calls fail with `errno` for the rest of this thread, except on standard streams.
/// With `below`, only writes at an offset (their fourth argument) less than that fail.
fn fail_in_this_thread(calls: &[libc::c_long], errno: i32, below: Option<u32>) {
    let mut program = vec![LOAD_CALL];
    // The other calls have no fourth argument, so what stands there is undefined.
    let calls: Vec<_> = calls
        .iter()
        .filter(|call| below.is_none() || [libc::SYS_pwrite64, libc::SYS_pwritev].contains(call))
        .collect();
    for (index, call) in calls.iter().enumerate() {
        let to_match = calls.len() - index;
        program.push(step(jump(libc::BPF_JEQ), **call as u32, to_match, 0));
    }
    program.extend([
        ALLOW,
        argument(0),
        step(jump(libc::BPF_JGT), 2, 1, 0),
        ALLOW,
    ]);
    if let Some(below) = below {
        program.extend([argument(3), step(jump(libc::BPF_JGE), below, 0, 1), ALLOW]);
    }
    program.push(fail(errno));
    install(&mut program);
}

/// Has the process killed, as by SIGKILL, when this thread is about to flush the content of a file.
pub fn die_at_the_next_flush() {
    install(&mut [
        LOAD_CALL,
        step(jump(libc::BPF_JEQ), libc::SYS_fdatasync as u32, 0, 1),
        step(RETURN, libc::SECCOMP_RET_KILL_PROCESS, 0, 0),
        ALLOW,
    ]);
}

/// Calls that make a descriptor, and which bit of which argument has it closed by an `exec` from
/// its first moment on. Those that can make one without are not needed at all.
const MAKE_DESCRIPTORS: &[(libc::c_long, u32, libc::c_int)] = &[
    (libc::SYS_openat, 2, libc::O_CLOEXEC),
    (libc::SYS_memfd_create, 1, libc::MFD_CLOEXEC as libc::c_int),
    (libc::SYS_socket, 1, libc::SOCK_CLOEXEC),
    (libc::SYS_pipe2, 1, libc::O_CLOEXEC),
    (libc::SYS_dup3, 2, libc::O_CLOEXEC),
    (libc::SYS_dup, 0, 0),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 1, libc::O_CLOEXEC),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, 0, 0),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_dup2, 0, 0),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_pipe, 0, 0),
];

/// Runs `work` in a thread in which every call fails with `errno` that makes a descriptor which a
/// child started at that very moment would inherit.
pub fn without_inherited_descriptors<R: Send>(errno: i32, work: impl FnOnce() -> R + Send) -> R {
    let run = || {
        for (call, at, flag) in MAKE_DESCRIPTORS {
            install(&mut [
                LOAD_CALL,
                step(jump(libc::BPF_JEQ), *call as u32, 1, 0),
                ALLOW,
                argument(*at),
                step(jump(libc::BPF_JSET), *flag as u32, 0, 1),
                ALLOW,
                fail(errno),
            ]);
        }
        // F_DUPFD is another command of `fcntl` than F_DUPFD_CLOEXEC.
        install(&mut [
            LOAD_CALL,
            step(jump(libc::BPF_JEQ), libc::SYS_fcntl as u32, 1, 0),
            ALLOW,
            argument(1),
            step(jump(libc::BPF_JEQ), libc::F_DUPFD as u32, 1, 0),
            ALLOW,
            fail(errno),
        ]);
        work()
    };
    thread::scope(|scope| scope.spawn(run).join().unwrap())
}

/// Adds a filter to those of this thread, of which the strictest decides.
fn install(program: &mut [libc::sock_filter]) {
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program; it outlives the calls.
    unsafe {
        checked(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)).unwrap();
        let mode = libc::SECCOMP_MODE_FILTER;
        checked(libc::prctl(libc::PR_SET_SECCOMP, mode, &filter)).unwrap();
    }
}
