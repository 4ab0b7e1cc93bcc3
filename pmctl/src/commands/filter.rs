//! Which devices a command is about.

use std::ops::RangeInclusive;

use pool_metadata::{DeviceRef, DeviceState};

use crate::json;
use crate::text;

/// The options that choose devices. A device has to meet all that are given.
#[derive(clap::Args, Debug, Default)]
pub struct Filter {
    /// Devices in one of these states
    #[arg(long, value_name = "STATE,...", value_delimiter = ',', value_parser = json::state)]
    state: Vec<DeviceState>,

    /// Snapshots of this device
    #[arg(long, value_name = "NAME", value_parser = name)]
    parent: Option<Name>,

    /// Devices that are no snapshots
    #[arg(long, conflicts_with = "parent")]
    bases: bool,

    /// Devices with these ids
    #[arg(long, value_name = "N[-M],...", value_delimiter = ',', value_parser = text::id_range)]
    id: Vec<RangeInclusive<u32>>,

    /// Devices whose names match: * is any text, ? any byte
    #[arg(long, value_name = "PATTERN", value_parser = name)]
    name: Option<Name>,

    /// Devices with an error text
    #[arg(long)]
    with_error: bool,
}

/// A name in bytes, as one value to clap.
#[derive(Clone, Debug)]
struct Name(Vec<u8>);

impl Filter {
    pub fn takes(&self, device: &DeviceRef<'_>) -> bool {
        let id = &device.device_id;
        (self.state.is_empty() || self.state.contains(&device.state))
            && self
                .parent
                .as_ref()
                .is_none_or(|parent| parent.0 == device.parent_name)
            && (!self.bases || device.parent_name.is_empty())
            && (self.id.is_empty() || self.id.iter().any(|ids| ids.contains(id)))
            && self
                .name
                .as_ref()
                .is_none_or(|pattern| matches(&pattern.0, device.name))
            && (!self.with_error || !device.error.is_empty())
    }
}

fn name(text: &str) -> Result<Name, String> {
    text::unescape(text.as_bytes()).map(Name)
}

/// Whether the name matches the pattern, in time proportional to the product of their lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where the last * was, and what it stands for so far.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match_what_a_shells_do() {
        for (pattern, name) in [
            ("*", ""),
            ("a*", "a"),
            ("a*c", "abbc"),
            ("*b*", "abc"),
            ("a?c", "abc"),
            ("**", "x"),
            ("a*b*c", "a-b-b-c"),
            ("abc", "abc"),
        ] {
            assert!(
                matches(pattern.as_bytes(), name.as_bytes()),
                "{pattern} {name}"
            );
        }
        for (pattern, name) in [
            ("", "a"),
            ("a", ""),
            ("a?", "a"),
            ("a*c", "abcd"),
            ("*x*", "abc"),
            ("b*", "ab"),
        ] {
            assert!(
                !matches(pattern.as_bytes(), name.as_bytes()),
                "{pattern} {name}"
            );
        }
        let (pattern, name) = ("a*".repeat(200) + "b", "a".repeat(500));
        assert!(!matches(pattern.as_bytes(), name.as_bytes()));
    }
}
