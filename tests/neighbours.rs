//! Several stores in one process: closing or growing one of them does not hold up reads of
//! another.

mod common;

use common::directory;
use common::peer::Peer;

#[test]
fn other_stores_are_read_while_a_close_waits() {
    let directory = directory();
    Peer::start("neighbours::long_read", directory.path()).finish();
}

#[test]
fn reads_do_not_wait_for_other_stores() {
    let directory = directory();
    Peer::start("neighbours::no_wait", directory.path()).finish();
}
