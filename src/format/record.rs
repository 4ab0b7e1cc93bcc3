//! Encoding and decoding of a device's record: a version byte, the fields, and the checksum.
//!
//! The checksum covers the device's name as well, so that a record found under another device's
//! name is an error.

use crate::device::{DeviceRef, DeviceState};
use crate::error::{Error, Quoted, Result};
use crate::format::record_v1::RecordV1;
use crate::format::{codec, crc};
use crate::limits::{MAX_ERROR_LEN, MAX_NAME_LEN};

/// Version byte of the records that this release writes.
const VERSION: u8 = 1;

/// No record's value is longer: the longest texts, and what is around them.
pub(crate) const MAX_LEN: usize = MAX_ERROR_LEN + 1024;

/// Encodes `device` into `out`, which is emptied first. The key is `device.name`.
pub(crate) fn encode(device: &DeviceRef<'_>, out: &mut Vec<u8>) -> Result<()> {
    let record = RecordV1::of(device);
    codec::encode_row(device.name, &[VERSION], &record, record.max_len(), out)
}

/// Decodes the record found under `name` and refuses it if the device's or its parent's name is not
/// valid. A name with a NUL ends there for a program in C, which would mistake one device for
/// another.
pub(crate) fn decode_validated<'a>(name: &'a [u8], value: &'a [u8]) -> Result<DeviceRef<'a>> {
    let device = decode(name, value)?;
    match device.names_can_be() {
        true => Ok(device),
        false => Err(damaged(name, "a name in it is not valid")),
    }
}

/// Decodes the record found under `name`. Every read does so; the names are validated only when
/// the store is verified.
#[inline]
pub(crate) fn decode<'a>(name: &'a [u8], value: &'a [u8]) -> Result<DeviceRef<'a>> {
    let body =
        crc::checked(name, value).ok_or_else(|| damaged(name, "its checksum does not hold"))?;
    let [VERSION, fields @ ..] = body else {
        return Err(damaged(name, "its version is not known"));
    };
    let Some((record, rest)) = RecordV1::decode(fields) else {
        return Err(damaged(name, "its fields do not decode"));
    };
    if !rest.is_empty() {
        return Err(damaged(name, "it is longer than its fields"));
    }
    if record.parent_name.0.len() > MAX_NAME_LEN || record.error.0.len() > MAX_ERROR_LEN {
        return Err(damaged(name, "a text in it is too long"));
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
    use super::*;
    use crate::device::DeviceInfo;

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
    fn record_comes_back_as_it_went_in() {
        let device = sample();
        let mut bytes = Vec::new();
        encode(&device.as_ref(), &mut bytes).unwrap();
        assert_eq!(decode(&device.name, &bytes).unwrap().to_owned(), device);
    }

    /// The layout that docs/design.md describes, byte by byte.
    #[test]
    fn layout_is_the_documented_one() {
        let mut bytes = Vec::new();
        encode(&sample().as_ref(), &mut bytes).unwrap();
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

    #[test]
    fn flipped_bit_other_name_or_cut_is_an_error() {
        let device = sample();
        let mut bytes = Vec::new();
        encode(&device.as_ref(), &mut bytes).unwrap();
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
    fn text_longer_than_its_limit_is_an_error() {
        let encoded = |parent: usize, error: usize| {
            let mut device = sample();
            device.parent_name = vec![b'p'; parent];
            device.error = vec![b'e'; error];
            let mut bytes = Vec::new();
            encode(&device.as_ref(), &mut bytes).unwrap();
            decode(&device.name, &bytes).map(drop)
        };
        assert!(encoded(MAX_NAME_LEN, MAX_ERROR_LEN).is_ok());
        for (parent, error) in [(MAX_NAME_LEN + 1, 0), (0, MAX_ERROR_LEN + 1)] {
            let result = encoded(parent, error);
            assert!(matches!(result, Err(Error::Corrupt { .. })), "{result:?}");
        }
    }

    #[test]
    fn validation_refuses_names_that_no_call_takes() {
        let decoded = |name: &[u8], parent: &[u8]| {
            let mut device = sample();
            device.name = name.to_vec();
            device.parent_name = parent.to_vec();
            let mut bytes = Vec::new();
            encode(&device.as_ref(), &mut bytes).unwrap();
            let found = decode_validated(name, &bytes).map(|found| found.to_owned());
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
    fn nonsense_with_a_right_checksum_is_an_error() {
        for body in [
            &b""[..],
            &[2, 0, 0, 0, 0, 0, 0],
            &[1, 0, 0, 0, 14, 0, 0],
            &[1, 0, 0, 0, 1, 0, 0, 9],
        ] {
            let mut bytes = body.to_vec();
            bytes.extend(crc::checksum(b"n", body));
            assert!(
                matches!(decode(b"n", &bytes), Err(Error::Corrupt { .. })),
                "{body:?}"
            );
        }
    }
}
