//! Clocks.

use std::time::Duration;

/// Processor time that `work` takes on this thread, without that of other processes.
pub fn cpu_time(work: impl FnOnce()) -> Duration {
    let start = thread_clock();
    work();
    thread_clock() - start
}

/// Elapsed time of `work`, for operations that wait for a disk.
pub fn wall_time(work: impl FnOnce()) -> Duration {
    let start = std::time::Instant::now();
    work();
    start.elapsed()
}

fn thread_clock() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` outlives the call.
    let code = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    assert_eq!(code, 0, "no processor clock");
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
