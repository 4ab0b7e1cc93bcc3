//! Names in error messages.

use std::fmt;

/// A name in an error message: quoted, and escaped to ASCII. The middle of a long name is left out,
/// so that two names fit into one message.
pub(crate) struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KEPT: usize = 40;
        let bytes = self.0;
        if bytes.len() <= 2 * KEPT {
            return write!(f, "\"{}\"", bytes.escape_ascii());
        }
        write!(
            f,
            "\"{}...{}\" ({} bytes)",
            bytes[..KEPT].escape_ascii(),
            bytes[bytes.len() - KEPT..].escape_ascii(),
            bytes.len()
        )
    }
}

/// The part of a name that an error keeps. A caller's name can have any length; one more byte than
/// names may have shows that it is too long.
pub(crate) fn kept(name: &[u8]) -> Box<[u8]> {
    name[..name.len().min(crate::limits::MAX_NAME_LEN + 1)].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_both_ends_and_their_length() {
        let mut name = vec![b'm'; 511];
        name[0] = b'a';
        name[510] = 0xff;
        let text = Quoted(&name).to_string();
        assert!(
            text.starts_with("\"am") && text.ends_with("\\xff\" (511 bytes)"),
            "{text}"
        );
        assert!(text.len() < 120 && text.is_ascii());
    }
}
