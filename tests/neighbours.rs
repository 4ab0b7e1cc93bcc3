//! Several stores in one process: what closes or grows one of them does not hold up who reads
//! another.

mod common;

use common::directory;
use common::peer::Peer;

#[test]
fn others_are_read_while_closing_waits_for_a_long_read() {
    let directory = directory();
    Peer::start("neighbours::long_read", directory.path()).finish();
}

#[test]
fn reads_without_a_wait_do_not_meet_what_other_stores_do() {
    let directory = directory();
    Peer::start("neighbours::no_wait", directory.path()).finish();
}
