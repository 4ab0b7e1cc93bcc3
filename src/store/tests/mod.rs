//! Tests of lower layers that need a whole store.

mod destination;
mod newest;
mod rows;
mod verify;
