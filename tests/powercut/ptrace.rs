//! Stops a child process, with all its threads, at certain system calls; see `record.rs`.
//!
//! A seccomp filter lets all other calls run at full speed. It also sees the calls of run times
//! that make system calls themselves, as Go's does.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};
use std::ptr::addr_of_mut;

/// A system call of the child.
pub struct Call {
    pub thread: i32,
    pub number: i64,
    pub arguments: [u64; 6],
    /// The result, after the call. What is shown the call may change it: the process gets that.
    pub result: i64,
}

/// When a [`Call`] is shown.
#[derive(Clone, Copy, PartialEq)]
pub enum When {
    Before,
    After,
}

/// What every stop for a system call adds to SIGTRAP (`PTRACE_O_TRACESYSGOOD`).
const CALL_STOP: i32 = libc::SIGTRAP | 0x80;

/// Whether processes can be traced here. Some sandboxes, and the strictest setting of Yama, forbid
/// it.
pub fn is_allowed() -> bool {
    match run(&mut Command::new("true"), &[libc::SYS_write], |_, _| {}) {
        Ok(_) => true,
        Err(why) => {
            crate::common::skipped(&format!("the right to trace processes, ptrace ({why})"));
            false
        }
    }
}

/// Runs the command to its end and shows each of those system calls, before and after it is made.
pub fn run(
    command: &mut Command,
    calls: &[libc::c_long],
    mut see: impl FnMut(When, &mut Call),
) -> io::Result<ExitStatus> {
    let filter = filter(calls);
    // SAFETY: what runs between `fork` and `exec` makes system calls and nothing else.
    unsafe { command.pre_exec(move || be_traced(&filter)) };
    // Only this thread can trace the child.
    let mut child = command.spawn()?;
    let main = child.id() as i32;
    let mut running: BTreeMap<i32, Option<Call>> = BTreeMap::new();
    let mut ready = false;
    while let Some((thread, status)) = wait_for_any()? {
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            running.remove(&thread);
            if thread == main {
                use std::os::unix::process::ExitStatusExt;
                return Ok(ExitStatus::from_raw(status));
            }
            continue;
        }
        if !ready {
            // The stop that follows `exec`.
            set_options(thread)?;
            ready = true;
        }
        let signal = libc::WSTOPSIG(status);
        let first = !running.contains_key(&thread);
        let current = running.entry(thread).or_default();
        let event = status >> 16;
        if event == libc::PTRACE_EVENT_SECCOMP {
            let mut call = entered(thread)?;
            see(When::Before, &mut call);
            *current = Some(call);
            go_on(libc::PTRACE_SYSCALL, thread, 0);
        } else if signal == CALL_STOP {
            if let Some(mut call) = current.take() {
                let result = returned(thread)?;
                call.result = result;
                see(When::After, &mut call);
                if call.result != result {
                    set_result(thread, call.result)?;
                }
            }
            go_on(libc::PTRACE_CONT, thread, 0);
        } else {
            // A new thread begins with a stop, and so does a new program; other signals are the
            // child's own.
            let its_own = !(first || event != 0 || signal == libc::SIGTRAP);
            go_on(libc::PTRACE_CONT, thread, if its_own { signal } else { 0 });
        }
    }
    child.wait()
}

fn filter(calls: &[libc::c_long]) -> Vec<libc::sock_filter> {
    let step = |code: u32, k: u32, jump: usize| libc::sock_filter {
        code: code as u16,
        jt: jump as u8,
        jf: 0,
        k,
    };
    let mut program = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for (index, call) in calls.iter().enumerate() {
        let test = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        program.push(step(test, *call as u32, calls.len() - index));
    }
    let give = libc::BPF_RET | libc::BPF_K;
    program.push(step(give, libc::SECCOMP_RET_ALLOW, 0));
    program.push(step(give, libc::SECCOMP_RET_TRACE, 0));
    program
}

/// Runs in the child, before `exec`.
fn be_traced(filter: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies the program, which outlives the calls.
    unsafe {
        checked(libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0))?;
        checked(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).into())?;
        let mode = libc::SECCOMP_MODE_FILTER;
        checked(libc::prctl(libc::PR_SET_SECCOMP, mode, &program).into())
    }
}

fn checked(result: libc::c_long) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The next traced process or thread that has stopped or ended; `None` once all have ended.
fn wait_for_any() -> io::Result<Option<(i32, i32)>> {
    let mut status = 0;
    loop {
        // SAFETY: `status` outlives the call. Children that other threads of this process wait for
        // are left alone.
        match unsafe { libc::waitpid(-1, &mut status, libc::__WALL | libc::__WNOTHREAD) } {
            -1 => {
                let error = io::Error::last_os_error();
                match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::ECHILD) => return Ok(None),
                    _ => return Err(error),
                }
            }
            thread => return Ok(Some((thread, status))),
        }
    }
}

fn set_options(thread: i32) -> io::Result<()> {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACESECCOMP
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_EXITKILL;
    // SAFETY: touches no memory of this process.
    checked(unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, thread, 0, options) })
}

fn go_on(how: libc::c_uint, thread: i32, signal: i32) {
    // SAFETY: touches no memory of this process. A thread that was killed meanwhile cannot go on,
    // and need not.
    unsafe { libc::ptrace(how, thread, 0, libc::c_long::from(signal)) };
}

fn entered(thread: i32) -> io::Result<Call> {
    let info = info(thread)?;
    assert_eq!(info.op, libc::PTRACE_SYSCALL_INFO_SECCOMP);
    // SAFETY: `op` says which of the union's parts the kernel has filled.
    let call = unsafe { info.u.seccomp };
    Ok(Call {
        thread,
        number: call.nr as i64,
        arguments: call.args,
        result: 0,
    })
}

fn returned(thread: i32) -> io::Result<i64> {
    let info = info(thread)?;
    assert_eq!(info.op, libc::PTRACE_SYSCALL_INFO_EXIT);
    // SAFETY: `op` says which of the union's parts the kernel has filled.
    Ok(unsafe { info.u.exit }.sval)
}

/// Has the call that this thread is about to return from return that.
fn set_result(thread: i32, result: i64) -> io::Result<()> {
    /// The registers of general use.
    const NT_PRSTATUS: i32 = 1;
    // SAFETY: all zeros is a valid value of these numbers.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    let mut place = libc::iovec {
        iov_base: addr_of_mut!(registers).cast(),
        iov_len: std::mem::size_of_val(&registers),
    };
    let place = addr_of_mut!(place);
    // SAFETY: the kernel writes to `registers`, which outlives the call, no more than its size.
    checked(unsafe { libc::ptrace(libc::PTRACE_GETREGSET, thread, NT_PRSTATUS, place) })?;
    #[cfg(target_arch = "x86_64")]
    let register = &mut registers.rax;
    #[cfg(not(target_arch = "x86_64"))]
    let register = &mut registers.regs[0];
    *register = result.cast_unsigned();
    // SAFETY: the kernel reads from `registers`, which outlives the call.
    checked(unsafe { libc::ptrace(libc::PTRACE_SETREGSET, thread, NT_PRSTATUS, place) })
}

fn info(thread: i32) -> io::Result<libc::ptrace_syscall_info> {
    // SAFETY: all zeros is a valid value of these numbers.
    let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
    let size = std::mem::size_of_val(&info);
    let into = addr_of_mut!(info).cast::<libc::c_void>();
    // SAFETY: the kernel writes at most `size` bytes to `info`, which outlives the call.
    checked(unsafe { libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, thread, size, into) })?;
    Ok(info)
}
