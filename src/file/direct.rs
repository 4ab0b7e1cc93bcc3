//! Reading what the disk has, and not what the system has kept of it in memory.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use nix::fcntl::{posix_fadvise, PosixFadviseAdvice};

use crate::verify::bytes::ReadAt;

/// What offsets, lengths and addresses of reads past the page cache are multiples of: no disk has
/// larger blocks.
const ALIGNMENT: usize = 4096;

/// A file that is read from its disk, where the file system can do that; else from memory, with
/// what nobody has mapped read again.
pub(crate) struct OnDisk<'a> {
    file: &'a File,
    direct: Option<File>,
}

impl<'a> OnDisk<'a> {
    pub fn of(file: &'a File) -> OnDisk<'a> {
        let mut options = File::options();
        options.custom_flags(libc::O_DIRECT | libc::O_CLOEXEC);
        let itself = format!("/proc/self/fd/{}", file.as_raw_fd());
        let direct = options.read(true).open(itself).ok();
        // This is advice, which need not be taken.
        let _ = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        OnDisk { file, direct }
    }
}

impl ReadAt for OnDisk<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let Some(direct) = &self.direct else {
            return ReadAt::read_at(self.file, buffer, offset);
        };
        match read_aligned(direct, buffer, offset) {
            // Not every file system that takes the flag can read so.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                ReadAt::read_at(self.file, buffer, offset)
            }
            read => read,
        }
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
}

fn read_aligned(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let before = (offset % ALIGNMENT as u64) as usize;
    let len = (before + buffer.len()).next_multiple_of(ALIGNMENT);
    let mut blocks = vec![0; len + ALIGNMENT];
    let start = blocks.as_ptr().align_offset(ALIGNMENT);
    let blocks = &mut blocks[start..start + len];
    let got = FileExt::read_at(file, blocks, offset - before as u64)?;
    let got = got.saturating_sub(before).min(buffer.len());
    buffer[..got].copy_from_slice(&blocks[before..before + got]);
    Ok(got)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_read_from_its_disk_as_it_was_written() {
        let named = tempfile::NamedTempFile::new_in(".").unwrap();
        let bytes: Vec<u8> = (0..10_000_u32).map(|at| (at / 7) as u8).collect();
        std::fs::write(named.path(), &bytes).unwrap();
        let file = File::open(named.path()).unwrap();
        file.sync_all().unwrap();
        let disk = OnDisk::of(&file);
        assert_eq!(disk.size().unwrap(), 10_000);
        for (offset, len) in [(0, 10), (1, 4096), (4095, 2), (4096, 5904), (9_000, 5_000)] {
            let mut buffer = vec![0; len];
            let got = disk.read_up_to(&mut buffer, offset as u64).unwrap();
            let expected = &bytes[offset..bytes.len().min(offset + len)];
            assert_eq!(&buffer[..got], expected, "{offset}");
        }
        assert_eq!(disk.read_up_to(&mut [0; 9], 10_000).unwrap(), 0);
    }
}
