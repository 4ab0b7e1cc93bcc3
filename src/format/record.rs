//! Bytes to and from a device's record: version byte, bincode of a serde struct, checksum.
//!
//! The checksum covers the key as well, so that a record found under another device's name is an
//! error.

use crate::device::{DeviceRef, DeviceState};
use crate::error::{Error, Quoted, Result};
use crate::format::varint::{EIGHT, FOUR, TWO};
use crate::format::{crc, varint};
use crate::limits::{MAX_ERROR_LEN, MAX_NAME_LEN};

/// Version byte of the records that this release writes.
const VERSION: u8 = 1;
const CHECKSUM_LEN: usize = 4;

/// The fields behind the version byte, in this order: what bincode would make of this struct. The
/// device's name is the key.
#[cfg_attr(test, derive(Debug, PartialEq, serde::Serialize, serde::Deserialize))]
struct RecordV1<'a> {
    device_id: u32,
    size: u64,
    generation: u64,
    state: u8,
    #[cfg_attr(test, serde(borrow))]
    parent_name: Bytes<'a>,
    #[cfg_attr(test, serde(borrow))]
    error: Bytes<'a>,
}

/// Bytes that serde writes as one piece instead of one by one.
#[cfg_attr(test, derive(Debug, PartialEq, serde::Deserialize))]
struct Bytes<'a>(#[cfg_attr(test, serde(borrow))] &'a [u8]);

/// CRC32C over key and value, as the end of every row holds it, little-endian.
#[inline]
pub(crate) fn checksum(key: &[u8], value: &[u8]) -> [u8; CHECKSUM_LEN] {
    crc::of_both(key, value).to_le_bytes()
}

/// Splits a row's value into its body and checks the checksum behind it.
#[inline]
pub(crate) fn checked<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (body, sum) = value.split_last_chunk::<CHECKSUM_LEN>()?;
    (checksum(key, body) == *sum).then_some(body)
}

/// Encodes `device` into `out`, which is emptied first. The key is `device.name`.
pub(crate) fn encode(device: &DeviceRef<'_>, out: &mut Vec<u8>) {
    // Version, state, checksum, and the numbers with the texts' lengths: the buffer grows once at
    // the most.
    const REST: usize = 2 + CHECKSUM_LEN + 5 * varint::MOST;
    out.clear();
    out.reserve(REST + device.parent_name.len() + device.error.len());
    out.push(VERSION);
    varint::put(out, device.device_id.into());
    varint::put(out, device.size);
    varint::put(out, device.generation);
    out.push(device.state as u8);
    for text in [device.parent_name, device.error] {
        varint::put(out, text.len() as u64);
        out.extend_from_slice(text);
    }
    let sum = checksum(device.name, out);
    out.extend_from_slice(&sum);
}

/// What is left of a record's fields. It reads what bincode reads, from any bytes, and refuses what
/// bincode refuses.
///
/// bincode's own reader, which could as well read from a stream, took a third of the instructions
/// of a walk.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    #[inline]
    fn record(&mut self) -> Option<RecordV1<'a>> {
        Some(RecordV1 {
            device_id: self.varint::<FOUR>()? as u32,
            size: self.varint::<EIGHT>()?,
            generation: self.varint::<EIGHT>()?,
            state: self.byte()?,
            parent_name: self.text()?,
            error: self.text()?,
        })
    }

    /// A number with at most `WIDEST` before it.
    #[inline]
    fn varint<const WIDEST: u8>(&mut self) -> Option<u64> {
        match self.byte()? {
            first @ ..TWO => Some(first.into()),
            TWO => Some(u16::from_le_bytes(self.bytes()?).into()),
            FOUR => Some(u32::from_le_bytes(self.bytes()?).into()),
            EIGHT if WIDEST == EIGHT => Some(u64::from_le_bytes(self.bytes()?)),
            _ => None,
        }
    }

    #[inline]
    fn text(&mut self) -> Option<Bytes<'a>> {
        let len = self.varint::<EIGHT>()?;
        let (text, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(Bytes(text))
    }

    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let [byte] = self.bytes()?;
        Some(byte)
    }

    #[inline]
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }
}

/// Decodes the record found under `name`, and refuses one with a name that no call takes. C takes a
/// name for a text that ends at the first NUL: it would take one device for another.
pub(crate) fn decode_unknown<'a>(name: &'a [u8], value: &'a [u8]) -> Result<DeviceRef<'a>> {
    let device = decode(name, value)?;
    match device.names_can_be() {
        true => Ok(device),
        false => Err(damaged(name, "a name in it is none that there can be")),
    }
}

/// Decodes the record found under `name`, as every read does: whether names can be is looked at
/// when the store is verified.
#[inline]
pub(crate) fn decode<'a>(name: &'a [u8], value: &'a [u8]) -> Result<DeviceRef<'a>> {
    let body = checked(name, value).ok_or_else(|| damaged(name, "its checksum does not hold"))?;
    let [VERSION, fields @ ..] = body else {
        return Err(damaged(name, "its version is not known"));
    };
    let mut fields = Fields(fields);
    let record = fields
        .record()
        .ok_or_else(|| damaged(name, "its fields do not decode"))?;
    if !fields.0.is_empty() {
        return Err(damaged(name, "it is longer than its fields"));
    }
    if record.parent_name.0.len() > MAX_NAME_LEN || record.error.0.len() > MAX_ERROR_LEN {
        return Err(damaged(name, "a text in it is longer than any may be"));
    }
    let state = DeviceState::from_number(record.state.into())
        .ok_or_else(|| damaged(name, "its state is out of range"))?;
    Ok(DeviceRef {
        name,
        device_id: record.device_id,
        size: record.size,
        parent_name: record.parent_name.0,
        state,
        error: record.error.0,
        generation: record.generation,
    })
}

#[cold]
fn damaged(name: &[u8], why: &str) -> Error {
    Error::corrupt(format!("record of device {}: {why}", Quoted(name)))
}

#[cfg(test)]
mod tests {
    use bincode::config;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;
    use proptest::test_runner::RngSeed;
    use serde::{Serialize, Serializer};

    use super::*;
    use crate::device::DeviceInfo;

    impl Serialize for Bytes<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0)
        }
    }

    fn sample() -> DeviceInfo {
        DeviceInfo {
            name: b"snap-\xff".to_vec(),
            device_id: 70_000,
            size: 10 << 30,
            parent_name: b"base".to_vec(),
            state: DeviceState::Suspended,
            error: b"oops".to_vec(),
            generation: 300,
        }
    }

    #[test]
    fn a_record_comes_back_as_it_went_in() {
        let device = sample();
        let mut bytes = Vec::new();
        encode(&device.as_ref(), &mut bytes);
        assert_eq!(decode(&device.name, &bytes).unwrap().to_owned(), device);
    }

    /// The layout of docs/design.md, byte by byte.
    #[test]
    fn the_layout_is_the_documented_one() {
        let mut bytes = Vec::new();
        encode(&sample().as_ref(), &mut bytes);
        let mut expected = vec![1]; // version
        expected.extend([252, 0x70, 0x11, 0x01, 0x00]); // device id 70000
        expected.extend([253, 0, 0, 0, 0x80, 2, 0, 0, 0]); // size 10 GiB
        expected.extend([251, 0x2c, 0x01]); // generation 300
        expected.push(6); // Suspended
        expected.extend(b"\x04base\x04oops");
        let sum = crc32c::crc32c(&[&b"snap-\xff"[..], &expected].concat());
        expected.extend(sum.to_le_bytes());
        assert_eq!(bytes, expected);
    }

    /// What bincode reads from `fields`, and how much of it; `None` where it refuses them.
    fn by_bincode(fields: &[u8]) -> Option<(RecordV1<'_>, usize)> {
        bincode::serde::borrow_decode_from_slice(fields, config::standard()).ok()
    }

    fn by_hand(fields: &[u8]) -> Option<(RecordV1<'_>, usize)> {
        let mut left = Fields(fields);
        let record = left.record()?;
        Some((record, fields.len() - left.0.len()))
    }

    /// Numbers in each of the ways in which they can be written, right or wrong, and texts longer
    /// and shorter than they say: most of what comes together so is near to a record.
    fn nearly_fields() -> impl Strategy<Value = Vec<u8>> {
        let number = prop_oneof![
            4 => any::<u8>().prop_map(|byte| vec![byte]),
            2 => any::<u16>().prop_map(|n| [&[TWO][..], &n.to_le_bytes()].concat()),
            2 => any::<u32>().prop_map(|n| [&[FOUR][..], &n.to_le_bytes()].concat()),
            2 => any::<u64>().prop_map(|n| [&[EIGHT][..], &n.to_le_bytes()].concat()),
            1 => (250..=255_u8, 0..300_u64).prop_map(|(first, n)| [&[first][..], &n.to_le_bytes()].concat()),
        ];
        let text =
            (vec(any::<u8>(), 0..300), 0..6_usize, 0..3_usize).prop_map(|(text, how, off)| {
                let said = (text.len() + off).saturating_sub(1) as u64;
                let mut bytes = match how {
                    0 => vec![said as u8],
                    1 => [&[TWO][..], &said.to_le_bytes()[..2]].concat(),
                    2 => [&[FOUR][..], &said.to_le_bytes()[..4]].concat(),
                    3 => [&[EIGHT][..], &said.to_le_bytes()].concat(),
                    _ if text.len() < TWO.into() => vec![text.len() as u8],
                    _ => [&[TWO][..], &(text.len() as u16).to_le_bytes()].concat(),
                };
                bytes.extend(text);
                bytes
            });
        let texts = (text.clone(), text);
        (number.clone(), number.clone(), number, any::<u8>(), texts).prop_map(
            |(id, size, generation, state, (parent, error))| {
                [id, size, generation, vec![state], parent, error].concat()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 4_000,
            rng_seed: RngSeed::Fixed(1),
            ..ProptestConfig::default()
        })]

        #[test]
        fn it_writes_what_bincode_writes(
            device_id in any::<u32>(),
            numbers in any::<[u64; 2]>(),
            narrower in 0..64_u32,
            state in 0..14_u32,
            parent in vec(1..=u8::MAX, 0..300),
            error in vec(any::<u8>(), 0..300),
        ) {
            let [size, generation] = numbers.map(|number| number >> narrower);
            let device = DeviceRef {
                name: b"n",
                device_id: device_id >> (narrower / 2),
                size,
                generation,
                state: DeviceState::from_number(state.into()).unwrap(),
                parent_name: &parent,
                error: &error,
            };
            let mut bytes = b"left from before".to_vec();
            encode(&device, &mut bytes);
            let record = RecordV1 {
                device_id: device.device_id,
                size,
                generation,
                state: state as u8,
                parent_name: Bytes(&parent),
                error: Bytes(&error),
            };
            let fields = bincode::serde::encode_to_vec(&record, config::standard()).unwrap();
            prop_assert_eq!(&bytes[1..bytes.len() - CHECKSUM_LEN], &fields[..]);
            prop_assert_eq!(decode(b"n", &bytes).unwrap(), device);
        }

        #[test]
        fn it_reads_what_bincode_reads(fields in nearly_fields(), cut in any::<Index>(), more in 0..3_u8) {
            prop_assert_eq!(by_hand(&fields), by_bincode(&fields));
            let cut = &fields[..cut.index(fields.len())];
            prop_assert_eq!(by_hand(cut), by_bincode(cut));
            let more = [&fields[..], &vec![7; more.into()]].concat();
            prop_assert_eq!(by_hand(&more), by_bincode(&more));
        }

        #[test]
        fn it_reads_what_bincode_reads_of_anything(fields in vec(any::<u8>(), 0..60)) {
            prop_assert_eq!(by_hand(&fields), by_bincode(&fields));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_other_name_is_an_error() {
        let device = sample();
        let mut bytes = Vec::new();
        encode(&device.as_ref(), &mut bytes);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&device.name, &bad).is_err(), "bit {bit}");
        }
        assert!(decode(b"other", &bytes).is_err());
        for len in 0..bytes.len() {
            assert!(decode(&device.name, &bytes[..len]).is_err(), "length {len}");
        }
    }

    #[test]
    fn texts_longer_than_the_store_takes_are_an_error() {
        let encoded = |parent: usize, error: usize| {
            let mut device = sample();
            device.parent_name = vec![b'p'; parent];
            device.error = vec![b'e'; error];
            let mut bytes = Vec::new();
            encode(&device.as_ref(), &mut bytes);
            decode(&device.name, &bytes).map(drop)
        };
        assert!(encoded(MAX_NAME_LEN, MAX_ERROR_LEN).is_ok());
        for (parent, error) in [(MAX_NAME_LEN + 1, 0), (0, MAX_ERROR_LEN + 1)] {
            let result = encoded(parent, error);
            assert!(matches!(result, Err(Error::Corrupt { .. })), "{result:?}");
        }
    }

    #[test]
    fn names_that_no_call_takes_are_an_error() {
        let decoded = |name: &[u8], parent: &[u8]| {
            let mut device = sample();
            device.name = name.to_vec();
            device.parent_name = parent.to_vec();
            let mut bytes = Vec::new();
            encode(&device.as_ref(), &mut bytes);
            let found = decode_unknown(name, &bytes).map(|found| found.to_owned());
            assert_eq!(found.is_ok(), device.as_ref().check().is_ok());
            match found {
                Ok(found) => assert_eq!(found, device),
                Err(error) => assert!(matches!(error, Error::Corrupt { .. }), "{error:?}"),
            }
            device.as_ref().check().is_ok()
        };
        let longest = [b'n'; MAX_NAME_LEN];
        assert!(decoded(b"n", b"") && decoded(&longest, &longest));
        for bad in [
            &b""[..],
            b"\0",
            b"a\0",
            b"snapshot\0more",
            &[b'n'; MAX_NAME_LEN + 1],
        ] {
            assert!(!decoded(bad, b"base"));
            assert!(bad.is_empty() || !decoded(b"n", bad));
        }
    }

    #[test]
    fn a_sound_checksum_over_nonsense_is_still_an_error() {
        for body in [
            &b""[..],
            &[2, 0, 0, 0, 0, 0, 0],
            &[1, 0, 0, 0, 14, 0, 0],
            &[1, 0, 0, 0, 1, 0, 0, 9],
        ] {
            let mut bytes = body.to_vec();
            bytes.extend(checksum(b"n", body));
            assert!(
                matches!(decode(b"n", &bytes), Err(Error::Corrupt { .. })),
                "{body:?}"
            );
        }
    }
}
