//! Tests of lower layers that need a whole store.

mod destination;
mod rows;
mod verify;
