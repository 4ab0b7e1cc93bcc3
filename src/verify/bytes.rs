//! Integers in bytes, and reading from a file or from memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The bytes of a file, on disk or in memory.
pub(crate) trait ReadAt: Sync {
    /// Reads at most as many bytes as `buffer` has room for; none behind the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buffer` as far as the file reaches; how many bytes that is.
    fn read_up_to(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut got = 0;
        while got < buffer.len() {
            let Some(at) = offset.checked_add(got as u64) else {
                break;
            };
            match self.read_at(&mut buffer[got..], at) {
                Ok(0) => break,
                Ok(more) => got += more,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(got)
    }
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        // The kernel takes no offset beyond this; no file reaches there.
        if offset > i64::MAX as u64 {
            return Ok(0);
        }
        FileExt::read_at(self, buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for &[u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.get(offset..))
            .unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// The integer at `at`, or zero if the bytes end before it.
#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    match bytes.get(at..).and_then(<[u8]>::first_chunk) {
        Some(two) => u16::from_le_bytes(*two),
        None => 0,
    }
}

/// The integer at `at`, or zero if the bytes end before it.
#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(at..).and_then(<[u8]>::first_chunk) {
        Some(four) => u32::from_le_bytes(*four),
        None => 0,
    }
}

/// The integer at `at`, or zero if the bytes end before it.
#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..).and_then(<[u8]>::first_chunk) {
        Some(eight) => u64::from_le_bytes(*eight),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_and_its_bytes_read_alike() {
        let bytes: Vec<u8> = (0..=255).collect();
        let named = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(named.path(), &bytes).unwrap();
        let file = File::open(named.path()).unwrap();
        let sources: [&dyn ReadAt; 2] = [&file, &&bytes[..]];
        for source in sources {
            assert_eq!(source.size().unwrap(), 256);
            for (offset, len, expected) in [
                (0, 16, 16),
                (250, 16, 6),
                (256, 16, 0),
                (1 << 40, 1, 0),
                (u64::MAX, 2, 0),
            ] {
                let mut buffer = vec![0; len];
                assert_eq!(source.read_up_to(&mut buffer, offset).unwrap(), expected);
                let offset = offset as usize;
                assert_eq!(
                    buffer[..expected],
                    bytes[offset.min(256)..][..expected],
                    "{offset}"
                );
            }
        }
    }

    #[test]
    fn integers_are_little_endian_and_zero_behind_the_end() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(u16_at(&bytes, 1), 0x0302);
        assert_eq!(u32_at(&bytes, 1), 0x0504_0302);
        assert_eq!(u64_at(&bytes, 1), 0x0908_0706_0504_0302);
        assert_eq!(
            [
                u64::from(u16_at(&bytes, 8)),
                u32_at(&bytes, 6).into(),
                u64_at(&bytes, 99)
            ],
            [0; 3]
        );
    }
}
