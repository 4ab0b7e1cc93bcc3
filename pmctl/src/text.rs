//! Names and sizes as people read them, and back.
//!
//! A device's name is bytes. What is not printable UTF-8 is shown as `\xNN`, byte by byte, and a
//! backslash as `\\`, so that every name can be read back from what is shown, and none can send
//! control sequences to a terminal. The same form is used in tables, in JSON and on the command
//! line.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The name or text, on one line, with its spaces.
pub fn escape(bytes: &[u8]) -> String {
    escaped(bytes, true)
}

/// The name as one word of a table: its spaces are escaped, and an empty one is "-".
pub fn word(bytes: &[u8]) -> String {
    match bytes {
        b"" => "-".to_owned(),
        b"-" => "\\x2d".to_owned(),
        _ => escaped(bytes, false),
    }
}

fn escaped(bytes: &[u8], with_spaces: bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                ' ' if !with_spaces => text.push_str("\\x20"),
                c if is_printable(c) => text.push(c),
                c => push_bytes(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        push_bytes(&mut text, chunk.invalid());
    }
    text
}

fn push_bytes(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        text.push_str(&format!("\\x{byte:02x}"));
    }
}

/// Whether the character shows as itself. Marks that combine with the one before them do not, nor
/// do invisible ones and those that change the direction of writing.
fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        c if c.is_ascii() => false,
        c => c.escape_debug().len() == 1,
    }
}

/// A line of a message, which may hold a path that somebody else chose.
pub fn escape_message(line: &str) -> String {
    line.chars().fold(String::new(), |mut text, c| {
        if is_printable(c) {
            text.push(c);
        } else {
            push_bytes(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        text
    })
}

/// The name or text that `escape` or `word` has shown like this.
pub fn unescape(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        match rest {
            [b'\\', after @ ..] => {
                bytes.push(b'\\');
                rest = after;
            }
            [b'x', high, low, after @ ..] if both_hex(*high, *low) => {
                bytes.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            _ => {
                return Err(format!(
                    "\"{}\": a backslash is written as \\\\, and a byte as \\xNN",
                    escape_message(&String::from_utf8_lossy(text))
                ))
            }
        }
    }
    Ok(bytes)
}

fn both_hex(high: u8, low: u8) -> bool {
    high.is_ascii_hexdigit() && low.is_ascii_hexdigit()
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// A number of bytes as "10.0 GiB", three digits at most before the point.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be rounded to 1024.0.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// "1 device", "2 devices".
pub fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// A number of nanoseconds as "1.5 ms".
pub fn nanoseconds(number: u64) -> String {
    let value = number as f64;
    match number {
        0..1_000 => format!("{number} ns"),
        1_000..1_000_000 => format!("{:.1} us", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", value / 1e6),
        _ => format!("{:.1} s", value / 1e9),
    }
}

/// A long time as "3 h 20 min", in its two largest units.
pub fn duration(time: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut left = time.as_secs();
    let mut words = Vec::new();
    for (unit, name) in UNITS {
        let number = left / unit;
        left %= unit;
        if number > 0 || !words.is_empty() || unit == 1 {
            words.push(format!("{number} {name}"));
        }
    }
    words.truncate(2);
    words.join(" ")
}

/// Reads an id or a range of them: "7", "7-9".
pub fn id_range(text: &str) -> Result<RangeInclusive<u32>, String> {
    let number = |text: &str| {
        let id: u32 = text.parse().map_err(|_| format!("\"{text}\" is no id"))?;
        match id {
            1..=pool_metadata::MAX_DEVICE_ID => Ok(id),
            _ => Err(format!(
                "there is no id {id}: they go from 1 to {}",
                pool_metadata::MAX_DEVICE_ID
            )),
        }
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = number(first)?..=number(last)?;
    if range.is_empty() {
        return Err(format!("\"{text}\" ends before it begins"));
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_string_reads_back_from_what_is_shown() {
        let mut names: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
        names.extend((0..=255).map(|byte| vec![b'a', byte, b'\\', b'x', b'4', b'1']));
        names.extend(
            [
                "",
                "-",
                "snap 1",
                "\u{202e}gnp",
                "e\u{301}",
                "\u{fc}",
                "\\x41",
            ]
            .map(Vec::from),
        );
        for name in names {
            assert_eq!(unescape(escape(&name).as_bytes()).unwrap(), name);
            if !name.is_empty() {
                assert_eq!(unescape(word(&name).as_bytes()).unwrap(), name);
            }
        }
    }

    #[test]
    fn long_times_have_their_two_largest_units() {
        let shown = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!([0, 59].map(shown), ["0 s", "59 s"]);
        assert_eq!([60, 3599].map(shown), ["1 min 0 s", "59 min 59 s"]);
        assert_eq!([3600, 86_399].map(shown), ["1 h 0 min", "23 h 59 min"]);
        assert_eq!([86_400, 90_061].map(shown), ["1 d 0 h", "1 d 1 h"]);
        assert!(duration(Duration::MAX).ends_with(" h"));
    }

    #[test]
    fn control_and_invisible_characters_are_never_shown() {
        for byte in (0..=0x1f).chain([0x7f]) {
            assert_eq!(escape(&[byte]), format!("\\x{byte:02x}"));
        }
        for c in [
            '\u{9b}', '\u{202e}', '\u{200b}', '\u{301}', '\u{2028}', '\u{feff}',
        ] {
            let shown = escape(c.to_string().as_bytes());
            assert!(shown.starts_with("\\x") && shown.is_ascii(), "{shown}");
        }
        assert_eq!(escape("\u{fc}\u{4e2d}".as_bytes()), "\u{fc}\u{4e2d}");
        assert_eq!(escape_message("/a\u{1b}[31m\\b"), "/a\\x1b[31m\\b");
    }

    #[test]
    fn words_have_no_spaces_and_are_never_empty() {
        assert_eq!(word(b"a b"), "a\\x20b");
        assert_eq!(word(b""), "-");
        assert_eq!(word(b"-"), "\\x2d");
        assert_eq!(escape(b"a b"), "a b");
    }

    #[test]
    fn backslash_that_begins_no_escape_is_refused() {
        for bad in ["\\", "a\\n", "\\x", "\\x4", "\\xg0", "\\x\u{fc}"] {
            assert!(unescape(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(unescape(b"\\xFF\\xfe").unwrap(), b"\xff\xfe");
        assert_eq!(unescape(b"\xff").unwrap(), b"\xff");
    }

    #[test]
    fn sizes_have_a_unit_and_at_most_four_digits() {
        let of = [0, 1023, 1024, 10 << 30, (1 << 20) - 1, u64::MAX].map(size);
        assert_eq!(
            of,
            ["0 B", "1023 B", "1.0 KiB", "10.0 GiB", "1.0 MiB", "16.0 EiB"]
        );
        assert_eq!(count(1, "device") + &count(0, " id"), "1 device0  ids");
        let of = [999, 1_500, 1_500_000, 2_000_000_000].map(nanoseconds);
        assert_eq!(of, ["999 ns", "1.5 us", "1.5 ms", "2.0 s"]);
    }

    #[test]
    fn ids_are_numbers_or_ranges_of_them() {
        assert_eq!(id_range("7"), Ok(7..=7));
        assert_eq!(id_range("7-9"), Ok(7..=9));
        for bad in ["", "0", "16777215", "9-7", "a", "1-", "-1", "1-2-3"] {
            assert!(id_range(bad).is_err(), "{bad}");
        }
    }
}
