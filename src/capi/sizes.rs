//! The sizes of the structs, for runtimes that lay them out by themselves.

use std::ffi::c_char;

use crate::capi::args::text;
use crate::capi::backup::*;
use crate::capi::changes::*;
use crate::capi::check::*;
use crate::capi::lists::*;
use crate::capi::reconcile::*;
use crate::capi::report::*;
use crate::capi::salvage::*;
use crate::capi::types::*;
use crate::capi::walk::pm_filter;

macro_rules! sizes {
    ($($name:ident)*) => {
        const SIZES: &[(&str, usize)] = &[$((stringify!($name), size_of::<$name>()),)*];
    };
}

sizes! {
    pm_change pm_device pm_difference pm_error pm_filter pm_finding pm_histogram pm_id pm_id_list
    pm_ids pm_intent pm_intent_list pm_name pm_names pm_options pm_pool_state pm_reconciliation
    pm_record pm_removal pm_removals pm_repair_options pm_report pm_restored pm_running_read
    pm_running_reads pm_salvaged pm_stats
}

/// Returns the size of a struct in bytes, as this library has it: a program that lays structs out
/// by itself compares it with its own. A later library may know more fields, at the end.
///
/// @param name      The struct's name, such as "pm_device", name_len bytes.
/// @return The size, or 0 for a name that is not that of a struct of this header.
///
/// Never fails; may be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_struct_size(name: *const c_char, name_len: usize) -> usize {
    // SAFETY: the caller promises that the name has as many bytes.
    let name = unsafe { text(name, name_len, "name") }.unwrap_or_default();
    let found = SIZES.iter().find(|(known, _)| known.as_bytes() == name);
    found.map_or(0, |(_, size)| *size)
}
