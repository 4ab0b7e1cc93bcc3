//! The counters of a process that has a store open, in a file in memory that other processes find
//! among its descriptors: `pmctl stats` shows those of containerd.
//!
//! The file has no name in any file system and ends with the process. It is written as a whole
//! before it is mapped, and sealed, so that it keeps its length and nobody else writes to it.
//! Others only read it with calls, and take what they get for what a stranger says.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use nix::errno::Errno;
use nix::fcntl::{fcntl, FcntlArg, SealFlag};
use nix::sys::memfd::MFdFlags;
use nix::sys::resource::{getrlimit, Resource};
use nix::time::{clock_gettime, ClockId};

use crate::file::memory_file;
use crate::histogram::Counters;

/// The file's name, as a link of its descriptor shows it.
pub(crate) const NAME: &str = "pool-metadata-stats";
/// How that link reads (Linux, memfd_create(2)).
pub(crate) const LINK: &str = "/memfd:pool-metadata-stats (deleted)";

const MAGIC: u64 = u64::from_ne_bytes(*b"pm-stats");
/// Changes with the meaning of what is there. More counters do not change it.
const LAYOUT: u64 = 1;
/// The words before the counters: magic number, layout, length of the file, device and inode of the
/// data file, the process's id as it sees itself, and when it opened the store.
const HEADER_WORDS: usize = 7;
/// Where the counters begin.
pub(crate) const COUNTERS_AT: usize = HEADER_WORDS * size_of::<u64>();
/// The length of the file.
pub(crate) const LEN: usize = COUNTERS_AT + Counters::LEN;

/// Nobody can change the file's length, or take a seal off.
const LENGTH_IS_SEALED: SealFlag = SealFlag::F_SEAL_SEAL
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW);

/// Whose counters they are, and of which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Device and inode of the data file.
    pub device: u64,
    pub inode: u64,
    /// The process, as it sees itself.
    pub pid: u32,
    /// When it opened the store, in nanoseconds since the system was started.
    pub opened: u64,
}

/// What a file is whose link has that name.
pub(crate) enum Found {
    Counters(Owner, Box<Counters>),
    /// A process's, of a release that knows another layout.
    OtherLayout,
    /// Somebody else's.
    Nothing,
}

impl Owner {
    /// This process, which has just opened the data file.
    pub fn this_process(data_file: &Metadata) -> Owner {
        Owner {
            device: data_file.dev(),
            inode: data_file.ino(),
            pid: std::process::id(),
            opened: since_boot(),
        }
    }

    fn header(&self) -> [u64; HEADER_WORDS] {
        let pid = self.pid.into();
        let len = LEN as u64;
        [
            MAGIC,
            LAYOUT,
            len,
            self.device,
            self.inode,
            pid,
            self.opened,
        ]
    }

    fn parse(words: &[u64; HEADER_WORDS]) -> Option<Owner> {
        let [_, LAYOUT, len, device, inode, pid, opened] = *words else {
            return None;
        };
        // A later release has more counters behind those that this one knows.
        let pid = u32::try_from(pid).ok().filter(|_| len >= LEN as u64)?;
        Some(Owner {
            device,
            inode,
            pid,
            opened,
        })
    }
}

/// Nanoseconds since the system was started. Unlike the time of day, nobody sets that.
pub(crate) fn since_boot() -> u64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |now| {
        let seconds = (now.tv_sec() as u64).saturating_mul(1_000_000_000);
        seconds.saturating_add(now.tv_nsec() as u64)
    })
}

/// A file with these counters, to be mapped and then [sealed](seal).
pub(crate) fn write(owner: &Owner, counters: &Counters) -> io::Result<File> {
    // Beyond that limit, a write is a signal that ends the process.
    let (most, _) = getrlimit(Resource::RLIMIT_FSIZE)?;
    if most < LEN as u64 {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let file = memory_file::new(NAME, MFdFlags::MFD_ALLOW_SEALING)?;
    let mut bytes = [0; LEN];
    let (header, rest) = bytes.split_at_mut(COUNTERS_AT);
    for (place, word) in header.as_chunks_mut().0.iter_mut().zip(owner.header()) {
        *place = word.to_ne_bytes();
    }
    rest.copy_from_slice(&counters.to_bytes());
    file.write_all_at(&bytes, 0)?;
    Ok(file)
}

/// Seals the file once it is mapped: this process goes on writing to its map. Systems before Linux
/// 5.1 cannot keep others from writing to it.
pub(crate) fn seal(file: &File) -> io::Result<()> {
    let all = LENGTH_IS_SEALED | SealFlag::F_SEAL_FUTURE_WRITE;
    match fcntl(file, FcntlArg::F_ADD_SEALS(all)) {
        Err(Errno::EINVAL) => fcntl(file, FcntlArg::F_ADD_SEALS(LENGTH_IS_SEALED))?,
        sealed => sealed?,
    };
    Ok(())
}

/// Reads a file whose link has that name.
pub(crate) fn read(file: &File) -> Found {
    // Only a file in memory has seals, and reading one never waits.
    let seals = fcntl(file, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_retain);
    if !seals.is_ok_and(|seals| seals.contains(LENGTH_IS_SEALED)) {
        return Found::Nothing;
    }
    let mut bytes = [0; LEN];
    match file.read_at(&mut bytes, 0) {
        Ok(read) => decode(&bytes[..read.min(LEN)]),
        Err(_) => Found::Nothing,
    }
}

fn decode(bytes: &[u8]) -> Found {
    let mut header = [0; HEADER_WORDS];
    for (word, bytes) in header.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    if header[0] != MAGIC {
        return Found::Nothing;
    }
    let counters = bytes.get(COUNTERS_AT..).and_then(<[u8]>::first_chunk);
    match (Owner::parse(&header), counters) {
        (Some(owner), Some(counters)) => {
            Found::Counters(owner, Box::new(Counters::from_bytes(counters)))
        }
        _ => Found::OtherLayout,
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::sync::atomic::Ordering;

    use super::*;

    const OWNER: Owner = Owner {
        device: 1 << 40,
        inode: u64::MAX,
        pid: 4711,
        opened: 5,
    };

    fn written() -> (File, Vec<u8>) {
        let counters = Counters::new();
        counters.add_commit(3, std::time::Duration::from_micros(1));
        counters.flushes.store(7, Ordering::Relaxed);
        let file = write(&OWNER, &counters).unwrap();
        let mut bytes = vec![0; LEN + 1];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), LEN);
        bytes.truncate(LEN);
        (file, bytes)
    }

    fn is_whole(found: &Found) -> bool {
        match found {
            Found::Counters(owner, counters) => {
                *owner == OWNER
                    && counters.operations.read().sum == 3
                    && counters.flushes.load(Ordering::Relaxed) == 7
            }
            _ => false,
        }
    }

    #[test]
    fn counters_are_read_back_once_they_are_sealed() {
        let (file, bytes) = written();
        assert!(matches!(read(&file), Found::Nothing));
        seal(&file).unwrap();
        assert!(is_whole(&read(&file)));
        assert!(file.set_len(0).is_err() && file.set_len(1 << 20).is_err());
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        if let Ok(link) = std::fs::read_link(link) {
            assert_eq!(link, std::path::Path::new(LINK));
        }
        // A later release has more behind them.
        let mut longer = bytes.clone();
        longer.extend([1; 64]);
        longer[16..24].copy_from_slice(&(LEN as u64 + 64).to_ne_bytes());
        assert!(is_whole(&decode(&longer)));
    }

    #[test]
    fn damaged_headers_are_of_no_process() {
        let (_, bytes) = written();
        for len in 0..LEN {
            assert!(!matches!(decode(&bytes[..len]), Found::Counters(..)));
        }
        for at in 0..24 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x80;
            let found = decode(&damaged);
            match at {
                0..8 => assert!(matches!(found, Found::Nothing)),
                8..16 => assert!(matches!(found, Found::OtherLayout)),
                // A length that is greater is a later release's.
                _ => assert!(is_whole(&found) || matches!(found, Found::OtherLayout)),
            }
        }
        let mut no_pid = bytes;
        no_pid[40..48].fill(0xff);
        assert!(matches!(decode(&no_pid), Found::OtherLayout));
    }

    #[test]
    fn any_other_file_is_nothing() {
        let ordinary = tempfile::tempfile().unwrap();
        ordinary.write_all_at(&written().1, 0).unwrap();
        assert!(matches!(read(&ordinary), Found::Nothing));
        let empty = memory_file::new(NAME, MFdFlags::MFD_ALLOW_SEALING).unwrap();
        seal(&empty).unwrap();
        assert!(matches!(read(&empty), Found::Nothing));
    }
}
