//! Files beside a store, and the locks on them. Knows no LMDB environment.

pub(crate) mod access;
pub(crate) mod copying;
pub(crate) mod descriptor_locks;
pub(crate) mod destination;
pub(crate) mod direct;
pub(crate) mod fs;
pub(crate) mod lmdb_lock_file;
pub(crate) mod lost_locks;
pub(crate) mod memory_file;
pub(crate) mod open_files;
pub(crate) mod path;
pub(crate) mod private_copy;
pub(crate) mod process_lock;
pub(crate) mod process_number;
pub(crate) mod processes;
pub(crate) mod published;
pub(crate) mod temp_file;
pub(crate) mod turn;
pub(crate) mod viewer;
