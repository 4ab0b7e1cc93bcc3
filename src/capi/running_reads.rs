//! The reads that are running: of which process, and how old what they see is.

use crate::capi::args::{handle, Out};
use crate::capi::block::new_list;
use crate::capi::guard::guard;
use crate::capi::handle::pm_store;
use crate::capi::status::Outcome;
use crate::capi::types::{pm_error, pm_running_read, pm_running_reads};
use crate::stats::RunningRead;

/// Returns the reads that are running at this moment, in all processes that have the store open,
/// the one of the oldest commit first. Pages that were freed since that commit are not used again
/// before the read ends. Reads of processes that have died are not among them.
///
/// @param store     The store.
/// @param reads     Receives the list, on success only: free it with pm_free.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_NO_MEMORY, PM_ERR_TIMEOUT, PM_ERR_CLOSED, PM_ERR_FORKED,
///   PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread; never waits for writers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_get_running_reads(
    store: *mut pm_store,
    reads: *mut *mut pm_running_reads,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the memory for the result and the error are as documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let reads = Out::new(reads, "reads")?;
            reads.set(new_running_reads(&store.store()?.running_reads()?)?);
            Ok(())
        })
    }
}

/// A block with the reads that are running.
fn new_running_reads(from: &[RunningRead]) -> Outcome<*mut pm_running_reads> {
    let make = |read: &RunningRead, []: [_; 0]| pm_running_read {
        struct_size: size_of::<pm_running_read>(),
        commits_behind: read.commits_behind,
        // A read of no age would be one whose age is not known.
        age_ns: read.age.map_or(0, |age| age.as_nanos().max(1) as u64),
        pid: read.pid,
    };
    new_list(
        from,
        |_| [],
        make,
        [],
        |reads, []| pm_running_reads {
            struct_size: size_of::<pm_running_reads>(),
            count: from.len(),
            reads,
        },
    )
}
