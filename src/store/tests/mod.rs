//! Tests of lower layers that need a whole store.

mod destination;
mod free_pages;
mod newest;
mod rows;
mod verify;
