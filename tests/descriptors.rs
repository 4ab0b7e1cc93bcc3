//! Descriptors: those of the standard streams are nobody's, and none is left open by a call that
//! fails.

mod common;

use common::peer::Peer;
use common::{add, check, place};
use pool_metadata::PoolMetadata;

#[test]
fn program_with_closed_standard_streams_does_not_print_into_the_store() {
    let (_directory, path) = place();
    Peer::start("descriptors::closed_streams", &path).finish();
    check(&PoolMetadata::open(&path).unwrap());
}

#[test]
fn process_with_few_descriptors_loses_none() {
    let (_directory, path) = place();
    add(&PoolMetadata::open(&path).unwrap(), "base");
    Peer::start("descriptors::few", &path).finish();
    check(&PoolMetadata::open(&path).unwrap());
}
