//! The sizes that a store has to stay within, in one place for all layers.

/// Longest device name in bytes. LMDB's default key limit (`MDB_MAXKEYSIZE`, 511) sets it.
pub const MAX_NAME_LEN: usize = 511;

/// Longest error text of a device in bytes (1 MiB). A longer one is refused, never cut.
pub const MAX_ERROR_LEN: usize = 1 << 20;

/// Largest device id that can be given out. Device-mapper's thin targets take 24-bit ids;
/// containerd refuses the last of them (`maxDeviceID`), and so does this store.
pub const MAX_DEVICE_ID: u32 = 0xff_fffe;

/// Longest identity of a pool in bytes.
pub const MAX_IDENTITY_LEN: usize = 255;

/// How many intents can be begun and not finished at one time.
pub const MAX_INTENTS: u32 = 65_536;

/// Largest device id of a pool: 24 bits. The store gives out neither this one nor 0.
pub(crate) const MAX_POOL_ID: u32 = 0xff_ffff;

/// How many removals a store remembers.
pub const MAX_REMOVALS: u32 = 4096;

/// Least size of a map in bytes.
pub(crate) const MIN_MAP_SIZE: u64 = 1 << 20;

/// The most reader slots that can be asked for.
pub(crate) const MAX_READERS: u32 = 1 << 20;

/// Size of a new store's pages in bytes, whatever the kernel's is.
pub(crate) const PAGE_SIZE: u32 = 4096;
