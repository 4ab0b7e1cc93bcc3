//! Writes: operations, the commits that carry them out, and what keeps them apart.

pub(crate) mod apply;
pub(crate) mod batch;
pub(crate) mod changes;
pub(crate) mod commit;
pub(crate) mod device_locks;
pub(crate) mod ids;
pub(crate) mod journal;
pub(crate) mod op;
pub(crate) mod pool;
mod queue;
pub(crate) mod reentrancy;
pub(crate) mod update;
