//! What a thin-pool holds, by the output of the tools that read its metadata.

mod thin_dump;
mod thin_ls;

use std::collections::BTreeMap;

use pool_metadata::PoolDevice;

/// Reads the output of `thin_ls` or `thin_dump`, or a list of ids, one a line.
pub fn parse(bytes: &[u8]) -> Result<Vec<PoolDevice>, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let before = &bytes[..e.valid_up_to()];
        at(line_of(before, before.len()), "this is no text")
    })?;
    let found = match text.trim_start().chars().next() {
        Some('<') => thin_dump::parse(text)?,
        _ => thin_ls::parse(text)?,
    };
    Ok(found.devices)
}

/// The devices of a pool, each once.
#[derive(Debug, Default)]
struct PoolDevices {
    devices: Vec<PoolDevice>,
    /// The line of each id, for messages.
    lines: BTreeMap<u32, usize>,
}

impl PoolDevices {
    /// Adds a device that a line tells of.
    fn add(&mut self, device: PoolDevice, line: usize) -> Result<(), String> {
        let id = device.device_id;
        if let Some(before) = self.lines.insert(id, line) {
            return Err(at(line, &format!("id {id} is in line {before} as well")));
        }
        self.devices.push(device);
        Ok(())
    }
}

/// The highest id that a pool can have: ids are of 24 bits.
const LAST_POOL_ID: u32 = (1 << 24) - 1;

/// Reads a device id. A pool can have ids that no store gives out, 0 and the last one.
fn id(text: &str, line: usize) -> Result<u32, String> {
    let number = number(text, "a device id", line)?;
    match u32::try_from(number) {
        Ok(id) if id <= LAST_POOL_ID => Ok(id),
        _ => Err(at(
            line,
            &format!("id {number} has more than 24 bits: this is no pool's metadata"),
        )),
    }
}

fn number(text: &str, what: &str, line: usize) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits => Ok(number),
        _ => {
            let shown = crate::text::escape(text.as_bytes());
            Err(at(line, &format!("\"{shown}\" is not {what}")))
        }
    }
}

fn at(line: usize, what: &str) -> String {
    format!("line {line}: {what}")
}

/// The number of the line that a position is in.
fn line_of(bytes: &[u8], position: usize) -> usize {
    let before = &bytes[..position.min(bytes.len())];
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(
        device_id: u32,
        mapped_blocks: Option<u64>,
        transaction_id: Option<u64>,
    ) -> PoolDevice {
        PoolDevice {
            device_id,
            mapped_blocks,
            transaction_id,
        }
    }

    #[test]
    fn output_of_every_form_of_the_tools_is_read() {
        let of = |text: &str| parse(text.as_bytes()).unwrap();
        let known = [(1, 3, 1), (2, 0, 2), (4, 3, 4), (5, 1, 5), (9, 0, 6)];
        let all = known.map(|(id, blocks, txn)| device(id, Some(blocks), Some(txn)));
        assert_eq!(of(include_str!("../../tests/fixtures/thin_dump.xml")), all);
        assert_eq!(
            of(include_str!("../../tests/fixtures/thin_ls_format.txt")),
            all
        );
        let ids = known.map(|(id, ..)| device(id, None, None));
        assert_eq!(of(include_str!("../../tests/fixtures/thin_ls.txt")), ids);
        assert_eq!(
            of(include_str!("../../tests/fixtures/thin_ls_no_headers.txt")),
            ids
        );
        assert_eq!(of("1\n2\n\n4\n 5 \n9\n"), ids);
        assert_eq!(of("0\n16777215\n").len(), 2);
        assert_eq!(of(""), []);
        assert_eq!(of("DEV MAPPED CREATE_TIME SNAP_TIME\n"), []);
    }

    #[test]
    fn newer_thin_dump_with_shared_mappings_is_read() {
        let text = "<?xml version=\"1.0\"?>\n<superblock uuid=\"\" time=\"1\" transaction=\"3\">\n\
                    <def name=\"7\"><single_mapping origin_block=\"1\" data_block=\"1\"/></def>\n\
                    <device dev_id=\"1\" mapped_blocks=\"1\" transaction=\"2\"><ref name=\"7\"/>\
                    </device>\n<device dev_id=\"2\" mapped_blocks=\"0\" transaction=\"3\"/>\n\
                    </superblock>\n";
        assert_eq!(
            parse(text.as_bytes()).unwrap(),
            [device(1, Some(1), Some(2)), device(2, Some(0), Some(3))]
        );
    }

    #[test]
    fn each_bad_input_is_refused_with_its_line() {
        let dump = include_str!("../../tests/fixtures/thin_dump.xml");
        let cut = &dump[..dump.find("</superblock>").unwrap()];
        let half = &dump[..dump.find("dev_id=\"4\"").unwrap() + 5];
        let bad = |from: &str, to: &str| dump.replace(from, to);
        for (text, what) in [
            ("1\n1\n", "line 2: id 1 is in line 1 as well"),
            ("16777216\n", "line 1: id 16777216 has more than 24 bits"),
            ("99999999999\n", "line 1: id 99999999999 has more"),
            ("x\n", "there is no column DEV"),
            ("MAPPED\n1\n", "there is no column DEV"),
            ("DEV DEV\n1 1\n", "line 1: the column DEV is there twice"),
            (
                "DEV TRANSACTION\n1\n",
                "line 2: 1 column where there should be 2",
            ),
            (
                "DEV MAPPED_BLOCKS\n1 1KiB\n",
                "line 2: \"1KiB\" is not a number of blocks",
            ),
            ("1 2\n", "line 1: 2 columns without titles"),
            (
                "1 192KiB 0 2\n+2 0 0 0\n",
                "line 2: \"+2\" is not a device id",
            ),
            (
                cut,
                "line 17: the XML is cut short: </superblock> is missing",
            ),
            (half, "the XML is damaged"),
            (
                &bad("dev_id=\"2\"", "dev_id=\"1\""),
                "line 6: id 1 is in line 2 as well",
            ),
            (
                &bad("dev_id=\"9\"", "dev_id=\"16777216\""),
                "line 15: id 16777216 has more",
            ),
            (
                &bad("dev_id=\"9\" ", ""),
                "line 15: a device without dev_id",
            ),
            (
                &bad("mapped_blocks=\"1\"", "mapped_blocks=\"-1\""),
                "line 12: \"-1\" is not",
            ),
            (
                &bad("superblock", "pool"),
                "line 1: <pool> where <superblock> should be",
            ),
            (&bad("</device>", "</devise>"), "the XML is damaged"),
            (
                "<superblock></superblock><superblock/>",
                "more than one <superblock>",
            ),
            ("<!-- -->", "the XML is cut short"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(what), "{what}: {error}");
        }
        let error = parse(b"1\n\xff\n").unwrap_err();
        assert_eq!(error, "line 2: this is no text");
    }
}
