//! The fields of a record of version 1: the serde struct that defines them, and a decoder by hand.

use serde::Serialize;

use crate::device::DeviceRef;
use crate::format::codec::{Bytes, MAX_INT_LEN};

/// What stands behind a record's version byte, in bincode's encoding. The device's name is the key.
#[derive(Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(super) struct RecordV1<'a> {
    pub device_id: u32,
    pub size: u64,
    pub generation: u64,
    pub state: u8,
    #[cfg_attr(test, serde(borrow))]
    pub parent_name: Bytes<'a>,
    #[cfg_attr(test, serde(borrow))]
    pub error: Bytes<'a>,
}

impl<'a> RecordV1<'a> {
    #[inline]
    pub fn of(device: &DeviceRef<'a>) -> RecordV1<'a> {
        RecordV1 {
            device_id: device.device_id,
            size: device.size,
            generation: device.generation,
            state: device.state as u8,
            parent_name: Bytes(device.parent_name),
            error: Bytes(device.error),
        }
    }

    /// No encoding of these fields is longer: three integers, the state, and the texts with their
    /// lengths.
    #[inline]
    pub fn max_len(&self) -> usize {
        3 * MAX_INT_LEN + 1 + 2 * MAX_INT_LEN + self.parent_name.0.len() + self.error.0.len()
    }

    /// Decodes the fields at the beginning of `bytes`; what is behind them is returned with them.
    /// It accepts exactly what bincode accepts.
    ///
    /// Written by hand for the `make bench` lines `pm_walk_next in pages / raw cursor` and
    /// `open with full verification / reading the file`. bincode's decoder takes 62 instructions
    /// more for a record, which is 13 % of a walked device and 7 % of a verified one.
    #[inline]
    pub fn decode(bytes: &'a [u8]) -> Option<(RecordV1<'a>, &'a [u8])> {
        let mut input = Input(bytes);
        let record = RecordV1 {
            device_id: input.int::<FOUR>()? as u32,
            size: input.int::<EIGHT>()?,
            generation: input.int::<EIGHT>()?,
            state: input.byte()?,
            parent_name: input.text()?,
            error: input.text()?,
        };
        Some((record, input.0))
    }
}

/// What bincode writes before an integer of two, four and eight bytes. A smaller byte is the
/// integer itself.
const TWO: u8 = 251;
const FOUR: u8 = 252;
const EIGHT: u8 = 253;

/// The bytes that are still to be decoded.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// An integer whose width byte is `WIDEST` at most.
    #[inline]
    fn int<const WIDEST: u8>(&mut self) -> Option<u64> {
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
        let len = self.int::<EIGHT>()?;
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

#[cfg(test)]
mod tests {
    use bincode::config;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;
    use proptest::test_runner::RngSeed;

    use super::*;

    fn encoded(record: &RecordV1<'_>) -> Vec<u8> {
        bincode::serde::encode_to_vec(record, config::standard()).unwrap()
    }

    /// What bincode decodes from `fields`, and what it leaves; `None` if it refuses them.
    fn by_bincode(fields: &[u8]) -> Option<(RecordV1<'_>, &[u8])> {
        let decoded = bincode::serde::borrow_decode_from_slice(fields, config::standard());
        decoded.ok().map(|(record, len)| (record, &fields[len..]))
    }

    /// Integers in each of their encodings, right or wrong, and texts whose length is right or off
    /// by one: most of these are almost a record.
    fn almost_fields() -> impl Strategy<Value = Vec<u8>> {
        let int = prop_oneof![
            4 => any::<u8>().prop_map(|byte| vec![byte]),
            2 => any::<u16>().prop_map(|n| [&[TWO][..], &n.to_le_bytes()].concat()),
            2 => any::<u32>().prop_map(|n| [&[FOUR][..], &n.to_le_bytes()].concat()),
            2 => any::<u64>().prop_map(|n| [&[EIGHT][..], &n.to_le_bytes()].concat()),
            1 => (250..=255_u8, 0..300_u64)
                .prop_map(|(first, n)| [&[first][..], &n.to_le_bytes()].concat()),
        ];
        let text =
            (vec(any::<u8>(), 0..300), 0..6_usize, 0..3_usize).prop_map(|(text, width, off)| {
                let len = (text.len() + off).saturating_sub(1) as u64;
                let mut bytes = match width {
                    0 => vec![len as u8],
                    1 => [&[TWO][..], &len.to_le_bytes()[..2]].concat(),
                    2 => [&[FOUR][..], &len.to_le_bytes()[..4]].concat(),
                    3 => [&[EIGHT][..], &len.to_le_bytes()].concat(),
                    _ if text.len() < TWO.into() => vec![text.len() as u8],
                    _ => [&[TWO][..], &(text.len() as u16).to_le_bytes()].concat(),
                };
                bytes.extend(text);
                bytes
            });
        let texts = (text.clone(), text);
        (int.clone(), int.clone(), int, any::<u8>(), texts).prop_map(
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
        fn record_of_any_size_comes_back(
            device_id in any::<u32>(),
            numbers in any::<[u64; 2]>(),
            narrower in 0..64_u32,
            state in any::<u8>(),
            parent in vec(any::<u8>(), 0..300),
            error in vec(any::<u8>(), 0..300),
        ) {
            let [size, generation] = numbers.map(|number| number >> narrower);
            let record = RecordV1 {
                device_id: device_id >> (narrower / 2),
                size,
                generation,
                state,
                parent_name: Bytes(&parent),
                error: Bytes(&error),
            };
            let bytes = encoded(&record);
            prop_assert_eq!(RecordV1::decode(&bytes), Some((record, &[][..])));
            prop_assert_eq!(by_bincode(&bytes), RecordV1::decode(&bytes));
        }

        #[test]
        fn almost_a_record_decodes_as_by_bincode(
            fields in almost_fields(),
            cut in any::<Index>(),
            more in 0..3_u8,
        ) {
            prop_assert_eq!(RecordV1::decode(&fields), by_bincode(&fields));
            let cut = &fields[..cut.index(fields.len())];
            prop_assert_eq!(RecordV1::decode(cut), by_bincode(cut));
            let more = [&fields[..], &vec![7; more.into()]].concat();
            prop_assert_eq!(RecordV1::decode(&more), by_bincode(&more));
        }

        #[test]
        fn random_bytes_decode_as_by_bincode(fields in vec(any::<u8>(), 0..60)) {
            prop_assert_eq!(RecordV1::decode(&fields), by_bincode(&fields));
        }
    }

    #[test]
    fn longest_encoding_is_within_its_limit() {
        let text = vec![0xff; 70_000];
        let record = RecordV1 {
            device_id: u32::MAX,
            size: u64::MAX,
            generation: u64::MAX,
            state: u8::MAX,
            parent_name: Bytes(&text),
            error: Bytes(&text),
        };
        let bytes = encoded(&record);
        assert!(bytes.len() <= record.max_len());
        assert_eq!(RecordV1::decode(&bytes), Some((record, &[][..])));
    }
}
