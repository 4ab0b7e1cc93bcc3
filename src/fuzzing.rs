//! What the fuzzing targets call of the inside. It exists only with `--cfg fuzzing` and is no part
//! of the interface.

use crate::device::DeviceInfo;
use crate::error::Result;
use crate::format::{crc, record};
use crate::verify::{Level, Report};

/// Decodes a record found under `name`.
pub fn decode(name: &[u8], value: &[u8]) -> Result<DeviceInfo> {
    record::decode_validated(name, value).map(|device| device.to_owned())
}

/// Encodes a device's record.
pub fn encode(device: &DeviceInfo) -> Result<Vec<u8>> {
    let mut value = Vec::new();
    record::encode(&device.as_ref(), &mut value)?;
    Ok(value)
}

/// Appends the right checksum to a record's body.
pub fn seal(name: &[u8], body: &[u8]) -> Vec<u8> {
    let mut value = body.to_vec();
    value.extend(crc::checksum(name, body));
    value
}

/// Verifies a file with these bytes in full: how many of its pages are lost, or what is wrong.
pub fn verify(bytes: &[u8]) -> std::result::Result<u64, String> {
    match Report::of_bytes(&bytes, Level::Full) {
        Ok(report) if report.is_sound() => Ok(report.lost),
        Ok(report) => Err(report.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
