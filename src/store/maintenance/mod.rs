//! What is done to a store as a whole: copies, repair, salvage, import, upgrade.

pub(crate) mod backup;
pub(crate) mod compact;
pub(crate) mod import;
pub(crate) mod repair;
pub(crate) mod salvage;
pub(crate) mod upgrade;
