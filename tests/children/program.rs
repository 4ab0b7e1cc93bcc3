//! The program that tests start as their child processes: `pm-test-child ROLE ARGUMENT`.
//!
//! A role is a function of one of the modules below, each named after the test program that uses
//! it. Cargo builds this for the tests alone: the library's feature `test-child`, which only its
//! own development dependency turns on, keeps it from users.

mod address_space;
mod backup;
mod close;
#[path = "../common/kit.rs"]
mod common;
mod concurrent;
mod counts;
mod create;
mod crowd;
mod damage_campaign;
mod descriptors;
mod disk_full;
mod file_systems;
mod flush;
mod format;
mod growth;
mod kills;
mod lock_file;
mod neighbours;
mod one_process;
mod open_twice;
mod powercut;
mod processes;
mod repair;
mod restore;
mod rights;
mod space;
mod stats;
mod structure;
mod turmoil;
mod verify_while_written;
mod viewers;

/// No child outlives this: a test that hangs fails, and none on a slow machine.
const LIFETIME_SECONDS: u32 = 600;

macro_rules! roles {
    ($($module:ident { $($role:ident),* })*) => {
        /// Plays the role of that name.
        fn play(role: &str, argument: &str) {
            match role {
                $($(concat!(stringify!($module), "::", stringify!($role)) => {
                    $module::$role(argument.as_ref())
                })*)*
                other => panic!("no role {other}"),
            }
        }
    };
}

roles! {
    address_space { opener, reader }
    backup { back_up_on, hold_lmdb_lock, write_on }
    close { busy, in_flight }
    concurrent { all_slots, cannot_grow }
    create { create_in_child, little_address_space, no_permission }
    counts {
        forks, hidden_writer, look_as_nobody, oddly_named_writer, reader, writer,
        writer_without_memfd
    }
    crowd { crowd, hold, hold_none, read_and_idle, take_all }
    damage_campaign { worker }
    descriptors { closed_streams, few, inherited }
    disk_full { reader_table, size_limit, small_disk }
    file_systems { full, open_and_add, removals, removals_as_far_as_possible, shut_down }
    flush { crowd, other }
    format { read_on }
    growth { cannot_grow, keeps_a_walk, looker, wants_more, worker }
    kills { liar, victim, work_beside }
    lock_file { sees_a_walk }
    neighbours { long_read, no_wait }
    one_process {
        leaves_its_locks_to_a_child, locks_an_id, loses_its_locks, open_as_first, opens_and_churns,
        opens_and_closes, refused_as_first, walk_as_first
    }
    open_twice {
        fork, only_viewed_in_child, open_and_wait, refused_in_child, refused_to_create,
        take_reader_slots
    }
    powercut {
        backup, deferred, deferred_next, deferred_threads, deferred_turn, deferred_turns, failing,
        failing_deferred, import, next, one, relaxed, repair, replacing, salvage, threads, turn,
        turns, unpinned
    }
    processes { count, defer_on, grow, remote }
    repair { hold, repair_on }
    restore { hold, open_on, restore_on }
    rights {
        backs_up_as_nobody, makes_no_lock_file_as_nobody, opens_as_nobody, opens_with_umask,
        refused_as_nobody, refused_without_read_permission
    }
    space { look }
    stats { look, short_read, slots }
    structure { use_through_lmdb }
    turmoil { act }
    verify_while_written { read_on, write_on }
    viewers { daemon, daemon_and_viewer, viewer, viewer_as_nobody }
}

fn main() {
    common::sys::die_after(LIFETIME_SECONDS);
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [role, argument] => play(role, argument),
        _ => panic!("usage: pm-test-child ROLE ARGUMENT"),
    }
}
