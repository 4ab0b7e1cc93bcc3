//! bincode, in the configuration that the file format was fixed with. What it writes for a serde
//! struct is what the file holds.

use bincode::config::{self, Configuration};
use serde::{Deserialize, Serialize, Serializer};

use crate::error::{Error, Result};
use crate::format::crc;

const CONFIG: Configuration = config::standard();

/// The longest encoding of an integer of up to 64 bits: a byte that gives its width, and the
/// integer.
pub(crate) const MAX_INT_LEN: usize = 1 + 8;
/// The longest encoding of an integer of 128 bits.
pub(crate) const MAX_WIDE_INT_LEN: usize = 1 + 16;

/// A byte string that serde hands over as a whole. It would serialize a plain slice byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Bytes<'a>(#[serde(borrow)] pub &'a [u8]);

impl Serialize for Bytes<'_> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Encodes the value of a row into `out`, which is emptied first: `prefix`, then `fields`, which
/// take at most `max_len` bytes, then the checksum.
///
/// bincode writes into a slice of that length. Through a writer that grows a vector, a lone write
/// takes about 200 instructions more.
#[inline]
pub(crate) fn encode_row(
    key: &[u8],
    prefix: &[u8],
    fields: &impl Serialize,
    max_len: usize,
    out: &mut Vec<u8>,
) -> Result<()> {
    out.clear();
    out.resize(prefix.len() + max_len + crc::LEN, 0);
    let (front, rest) = out.split_at_mut(prefix.len());
    front.copy_from_slice(prefix);
    match bincode::serde::encode_into_slice(fields, rest, CONFIG) {
        Ok(len) if len <= max_len => out.truncate(prefix.len() + len),
        _ => {
            return Err(Error::Internal {
                what: "a row is longer than a row of its kind can be",
            })
        }
    }
    let sum = crc::checksum(key, out);
    out.extend_from_slice(&sum);
    Ok(())
}

/// Decodes a value that takes all of `bytes`. Byte strings are borrowed, so that a damaged length
/// allocates nothing.
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    match bincode::serde::borrow_decode_from_slice(bytes, CONFIG) {
        Ok((value, len)) if len == bytes.len() => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(value: &impl Serialize) -> Vec<u8> {
        let mut out = b"left from before".to_vec();
        encode_row(b"key", b"prefix", value, 64, &mut out).unwrap();
        let body = crc::checked(b"key", &out).unwrap();
        body.strip_prefix(b"prefix").unwrap().to_vec()
    }

    #[test]
    fn integers_have_the_documented_widths() {
        let cases: [(u128, &[u8]); 9] = [
            (0, &[0]),
            (250, &[250]),
            (251, &[251, 251, 0]),
            (0xffff, &[251, 0xff, 0xff]),
            (0x1_0000, &[252, 0, 0, 1, 0]),
            (0xffff_ffff, &[252, 0xff, 0xff, 0xff, 0xff]),
            (0x1_0000_0000, &[253, 0, 0, 0, 0, 1, 0, 0, 0]),
            (
                u64::MAX.into(),
                &[253, 255, 255, 255, 255, 255, 255, 255, 255],
            ),
            (
                1 << 64,
                &[254, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
            ),
        ];
        for (number, bytes) in cases {
            assert_eq!(encoded(&number), bytes, "{number}");
            assert_eq!(decode::<u128>(bytes), Some(number));
            if let Ok(narrow) = u64::try_from(number) {
                assert_eq!(encoded(&narrow), bytes, "{narrow}");
                assert!(bytes.len() <= MAX_INT_LEN);
            }
            assert!(bytes.len() <= MAX_WIDE_INT_LEN);
        }
    }

    #[test]
    fn byte_string_is_its_length_and_its_bytes() {
        assert_eq!(encoded(&Bytes(b"ab")), b"\x02ab");
        assert_eq!(decode(b"\x02ab"), Some(Bytes(b"ab")));
        for bad in [
            &b""[..],
            b"\x03ab",
            b"\x01ab",
            b"\xfd\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert_eq!(decode::<Bytes>(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn fields_longer_than_their_limit_are_an_internal_error() {
        let encode = |text| encode_row(b"", b"", &Bytes(text), 4, &mut Vec::new());
        assert!(encode(b"abc").is_ok());
        for text in [&b"abcd"[..], b"longer than the checksum"] {
            let result = encode(text);
            assert!(matches!(result, Err(Error::Internal { .. })), "{result:?}");
        }
    }
}
