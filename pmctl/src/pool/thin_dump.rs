//! The XML that `thin_dump` prints.

use pool_metadata::PoolDevice;
use quick_xml::events::{BytesStart, Event};
use quick_xml::Reader;

use super::{at, id, line_of, number, PoolDevices};

pub fn parse(text: &str) -> Result<PoolDevices, String> {
    let mut found = PoolDevices::default();
    let mut reader = Reader::from_str(text);
    let mut depth = 0;
    let mut superblocks = 0;
    // A pool has millions of mappings, each on a line: the lines are counted once.
    let (mut line, mut counted) = (1, 0);
    loop {
        let begin = reader.buffer_position() as usize;
        let passed = text.as_bytes().get(counted..begin).unwrap_or_default();
        line += line_of(passed, passed.len()) - 1;
        counted = begin;
        let event = reader.read_event().map_err(|e| {
            let line = line_of(text.as_bytes(), reader.error_position() as usize);
            at(line, &format!("the XML is damaged: {e}"))
        })?;
        let (tag, closed) = match &event {
            Event::Start(tag) => (tag, false),
            Event::Empty(tag) => (tag, true),
            Event::End(_) => {
                depth -= 1;
                continue;
            }
            Event::Eof => break,
            _ => continue,
        };
        match (depth, tag.name().as_ref()) {
            (0, "superblock") => superblocks += 1,
            (0, other) => {
                let name = crate::text::escape(other.as_bytes());
                return Err(at(line, &format!("<{name}> where <superblock> should be")));
            }
            (1, "device") => found.add(device(tag, line)?, line)?,
            _ => {}
        }
        if superblocks > 1 {
            return Err(at(line, "there is more than one <superblock>"));
        }
        depth += i32::from(!closed);
    }
    if depth > 0 || superblocks == 0 {
        let line = line_of(text.as_bytes(), text.len());
        return Err(at(line, "the XML is cut short: </superblock> is missing"));
    }
    Ok(found)
}

fn device(tag: &BytesStart<'_>, line: usize) -> Result<PoolDevice, String> {
    let attribute = |name: &str| {
        let found = tag.try_get_attribute(name);
        let found = found.map_err(|e| at(line, &format!("the XML is damaged: {e}")))?;
        Ok::<_, String>(found.map(|found| found.value.into_owned()))
    };
    let optional = |name, what| {
        let text = attribute(name)?;
        text.map(|text| number(&text, what, line)).transpose()
    };
    let Some(dev_id) = attribute("dev_id")? else {
        return Err(at(line, "a device without dev_id"));
    };
    Ok(PoolDevice {
        device_id: id(&dev_id, line)?,
        mapped_blocks: optional("mapped_blocks", "a number of blocks")?,
        transaction_id: optional("transaction", "a transaction's number")?,
    })
}
