//! System calls that the standard library does not offer.
#![allow(unsafe_code)]

use nix::sys::statfs::{statfs, OVERLAYFS_SUPER_MAGIC};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

#[allow(unused_imports)] // as above
pub use super::seccomp::with_errno;

pub fn checked(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

pub fn kill(pid: u32, signal: i32) {
    // SAFETY: touches no memory; the process is a child that has not been waited for.
    checked(unsafe { libc::kill(pid as libc::pid_t, signal) }).unwrap();
}

/// Bytes that are free on the file system of that directory; 0 if that is unknown.
pub fn free_bytes(directory: &Path) -> u64 {
    // SAFETY: all zeros is a valid `statvfs`.
    let mut facts: libc::statvfs = unsafe { std::mem::zeroed() };
    let path = c_path(directory);
    // SAFETY: the string ends in NUL; both outlive the call.
    match unsafe { libc::statvfs(path.as_ptr(), &mut facts) } {
        0 => facts.f_bavail * facts.f_frsize,
        _ => 0,
    }
}

/// Makes the file longer for as long as the disk has space, and flushes it.
pub fn fill_file(file: &File) {
    use std::os::unix::fs::FileExt;
    let (mut len, mut step): (i64, i64) = (0, 64 << 20);
    while step >= 4096 {
        // SAFETY: touches no memory; the descriptor is open.
        match checked(unsafe { libc::fallocate(file.as_raw_fd(), 0, len, step) }) {
            Ok(()) => len += step,
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::ENOSPC), "{error}");
                step /= 2;
            }
        }
    }
    while file.write_all_at(&[0xff; 4096], len as u64).is_ok() {
        len += 4096;
    }
    let _ = file.sync_all();
}

/// Writes back everything that the file system of that directory has in memory.
pub fn sync_file_system(directory: &Path) {
    sync_file_system_of(&File::open(directory).unwrap());
}

/// Does that for the file system of an open file or directory.
pub fn sync_file_system_of(file: &File) {
    // SAFETY: touches no memory; the descriptor is open. What a failing disk refuses is ignored.
    unsafe { libc::syncfs(file.as_raw_fd()) };
}

/// Whether the file or directory is on overlayfs, as everything in a container is at first.
pub fn is_on_overlayfs(path: &Path) -> bool {
    let file_system = statfs(path).unwrap();
    file_system.filesystem_type() == OVERLAYFS_SUPER_MAGIC
}

/// Whether the file system overwrites the file's blocks in place (`chattr +C`).
pub fn is_overwritten_in_place(path: &Path) -> bool {
    let mut flags: libc::c_int = 0;
    let file = File::open(path).unwrap();
    // SAFETY: the descriptor is open; `flags` outlives the call.
    checked(unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_GETFLAGS, &mut flags) }).unwrap();
    flags & 0x0080_0000 != 0
}

/// Makes a second descriptor of the file, which an `exec` does not close.
pub fn duplicate(file: &File) -> io::Result<File> {
    // SAFETY: touches no memory; the descriptor is open.
    match unsafe { libc::dup(file.as_raw_fd()) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: nothing else has the new descriptor.
        new => Ok(unsafe { File::from_raw_fd(new) }),
    }
}

/// Locks the file as a whole, for this descriptor alone, until it is closed.
pub fn flock(file: &File) {
    try_flock(file).unwrap();
}

/// Locks the file as [`flock`] does, unless another has that lock.
pub fn try_flock(file: &File) -> io::Result<()> {
    // SAFETY: touches no memory; the descriptor is open.
    checked(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) })
}

/// The process that has an exclusive lock on the file's first byte. This process must have no lock
/// on the file: closing a descriptor of it drops them.
pub fn first_byte_locked_by(file: &File) -> Option<u32> {
    // SAFETY: all zeros is a valid `flock`.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_RDLCK as libc::c_short;
    lock.l_len = 1;
    // SAFETY: the descriptor is open; `lock` outlives the call.
    checked(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &mut lock) }).unwrap();
    (libc::c_int::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid as u32)
}

/// Locks one byte of the file for this process, as LMDB locks its process ids.
pub fn lock_byte(file: &File, byte: i64) {
    // SAFETY: all zeros is a valid `flock`.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    (lock.l_start, lock.l_len) = (byte, 1);
    // SAFETY: the descriptor is open; `lock` outlives the call.
    checked(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &lock) }).unwrap();
}

/// Ends this process by SIGALRM after that time.
pub fn die_after(seconds: u32) {
    // SAFETY: touches no memory.
    unsafe { libc::alarm(seconds) };
}

/// Ends this process by SIGALRM after that time, wherever it is, as SIGKILL would. Unlike a signal
/// from another process, this does not depend on when that one is scheduled.
pub fn die_after_micros(micros: u64) {
    let timer = libc::itimerval {
        it_interval: libc::timeval {
            tv_sec: 0,
            tv_usec: 0,
        },
        it_value: libc::timeval {
            tv_sec: (micros / 1_000_000) as libc::time_t,
            tv_usec: (micros % 1_000_000).max(1) as libc::suseconds_t,
        },
    };
    // SAFETY: `timer` outlives the call.
    checked(unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) }).unwrap();
}

/// Does not flush, unwind, or run exit handlers.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Runs `work` in a forked child and returns whether it returned true there. No other thread of the
/// process should run: a lock that it holds during the fork stays locked in the child.
pub fn in_forked_child(work: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs `work` and ends; it never returns into the caller.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        die_after(60);
        let good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        exit_now(i32::from(!matches!(good, Ok(true))));
    }
    let mut status = 0;
    // SAFETY: waits for the child made above; `status` outlives the call.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    status == 0
}

/// Runs `work` in a forked child that may take so much of the processor's time and of the clock's:
/// its exit code, or the signal that ended it. A panic is 101. No other thread of the process
/// should run.
pub fn in_limited_child(
    processor_seconds: u64,
    clock_seconds: u32,
    work: impl FnOnce() -> i32,
) -> Result<i32, libc::c_int> {
    // SAFETY: the child runs `work` and ends; it never returns into the caller.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        die_after(clock_seconds);
        limit(libc::RLIMIT_CPU, processor_seconds);
        let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        exit_now(code.unwrap_or(101));
    }
    let mut status = 0;
    loop {
        // SAFETY: waits for the child made above; `status` outlives the call.
        match unsafe { libc::waitpid(pid, &mut status, 0) } {
            waited if waited == pid => break,
            _ => assert_eq!(
                io::Error::last_os_error().kind(),
                io::ErrorKind::Interrupted
            ),
        }
    }
    match libc::WIFSIGNALED(status) {
        true => Err(libc::WTERMSIG(status)),
        false => Ok(libc::WEXITSTATUS(status)),
    }
}

/// Whether the process has root's rights.
pub fn is_root() -> bool {
    // SAFETY: has no arguments.
    unsafe { libc::geteuid() == 0 }
}

/// Drops root's rights, if the process has them.
pub fn become_nobody() {
    const NOBODY: libc::uid_t = 65534;
    // SAFETY: touches no memory but the process's credentials.
    unsafe {
        if !is_root() {
            return;
        }
        checked(libc::setgroups(0, std::ptr::null())).unwrap();
        checked(libc::setresgid(NOBODY, NOBODY, NOBODY)).unwrap();
        checked(libc::setresuid(NOBODY, NOBODY, NOBODY)).unwrap();
    }
}

/// Forbids other processes of the same user to look into this one.
pub fn forbid_others_to_look() {
    // SAFETY: touches no memory.
    checked(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }).unwrap();
}

/// Sets the mask of modes of new files.
pub fn umask(mask: libc::mode_t) {
    // SAFETY: changes nothing but the mask.
    unsafe { libc::umask(mask) };
}

pub fn make_fifo(path: &Path) {
    let path = c_path(path);
    // SAFETY: the string ends in NUL and outlives the call.
    checked(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }).unwrap();
}

/// Sets the process's soft limit of `resource`.
pub fn limit(resource: libc::__rlimit_resource_t, soft: u64) {
    let mut limits = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limits` outlives both calls.
    unsafe {
        checked(libc::getrlimit(resource, &mut limits)).unwrap();
        limits.rlim_cur = soft.min(limits.rlim_max);
        checked(libc::setrlimit(resource, &limits)).unwrap();
    }
}

/// Makes writes beyond a file-size limit fail instead of ending the process.
pub fn ignore_file_size_signal() {
    // SAFETY: sets a signal to be ignored; no handler is installed.
    let old = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    assert_ne!(old, libc::SIG_ERR);
}

/// Calls that write to a file.
pub const WRITES: &[libc::c_long] = &[
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
];
/// Calls that flush a file to its disk.
pub const FLUSHES: &[libc::c_long] = &[libc::SYS_fsync, libc::SYS_fdatasync];

/// Gives the command's process a file system of its own in memory, of that many bytes, at `target`.
/// If neither root's rights nor user namespaces are available, starting the command fails.
pub fn with_small_disk(command: &mut Command, target: &Path, bytes: u64) {
    let target = c_path(target);
    let options = CString::new(format!("size={bytes},mode=0700")).unwrap();
    let ids = Ids::own();
    let mount = move || mount_memory(&target, &options, &ids);
    // SAFETY: what runs between `fork` and `exec` makes system calls and nothing else.
    unsafe { command.pre_exec(mount) };
}

/// Mounts in a namespace of the calling process, which must have one thread. Allocates nothing: it
/// runs between `fork` and `exec`.
fn mount_memory(target: &CString, options: &CString, ids: &Ids) -> io::Result<()> {
    // SAFETY: all strings end in NUL and outlive the calls.
    unsafe {
        if checked(libc::unshare(libc::CLONE_NEWNS)).is_err() {
            checked(libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS))?;
            write_file(c"/proc/self/setgroups", b"deny")?;
            write_file(c"/proc/self/uid_map", ids.user.as_bytes())?;
            write_file(c"/proc/self/gid_map", ids.group.as_bytes())?;
        }
        let (none, private) = (std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
        checked(libc::mount(none, c"/".as_ptr(), none, private, none.cast()))?;
        checked(libc::mount(
            c"tmpfs".as_ptr(),
            target.as_ptr(),
            c"tmpfs".as_ptr(),
            0,
            options.as_ptr().cast(),
        ))
    }
}

/// The ids of this process outside the namespace, as lines for `uid_map` and `gid_map`.
struct Ids {
    user: String,
    group: String,
}

impl Ids {
    fn own() -> Ids {
        // SAFETY: these cannot fail and touch no memory.
        let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
        Ids {
            user: format!("0 {user} 1"),
            group: format!("0 {group} 1"),
        }
    }
}

/// Writes a file without allocating.
fn write_file(path: &std::ffi::CStr, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the path ends in NUL; the descriptor is closed once.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let written = libc::write(fd, bytes.as_ptr().cast(), bytes.len());
        let result = match written {
            n if n == bytes.len() as isize => Ok(()),
            _ => Err(io::Error::last_os_error()),
        };
        libc::close(fd);
        result
    }
}

/// Closes standard input, output and error.
pub fn close_standard_streams() {
    for fd in 0..3 {
        // SAFETY: touches no memory; whoever uses the streams after this is refused.
        checked(unsafe { libc::close(fd) }).unwrap();
    }
}

/// Writes to descriptors 0, 1 and 2, and reads from them, whatever they are.
pub fn use_standard_streams() {
    let mut bytes = [b'?'; 64];
    for fd in 0..3 {
        // SAFETY: `bytes` outlives the calls. What comes of them does not matter.
        unsafe {
            libc::write(fd, bytes.as_ptr().cast(), bytes.len());
            libc::read(fd, bytes.as_mut_ptr().cast(), bytes.len());
        }
    }
}
