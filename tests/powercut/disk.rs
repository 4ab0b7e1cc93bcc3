//! What a power cut can leave of a recording: everything that was flushed, and any part of the
//! rest.
//!
//! It assumes what LMDB assumes as well: a flushed byte stays, a sector of 512 bytes is written as
//! a whole or not at all, and bytes that are overwritten in the page cache before a flush never
//! reach the disk. It assumes nothing about the order in which unflushed writes, lengths and names
//! do.
//!
//! A flush that fails leaves on the disk any part of what it was to write. The system regards all
//! of that as written, so a later flush writes none of it.

use super::record::{Event, FileId, Recording};
use crate::common::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};

const SECTOR: usize = 512;

/// Flushes that the disk reports and does not make, to show that the explorer detects them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Broken {
    Nothing,
    /// `fsync` and `fdatasync` of files.
    Flushes,
    /// `fsync` of directories.
    NameFlushes,
}

/// The content of every file by its name.
pub type Image = BTreeMap<String, Vec<u8>>;

/// Which unflushed writes survive.
#[derive(Clone, Copy, Debug)]
pub enum Survivors {
    None,
    All,
    /// All but the last write, and that many sectors of the last.
    TornEnd(usize),
    /// So many of the first.
    First(usize),
    /// This one alone, and all but this one.
    Only(usize),
    AllBut(usize),
    /// Each write, with a probability of that many sixteenths.
    Writes(u64),
    /// Each sector, with a probability of that many sixteenths.
    Sectors(u64),
}

#[derive(Clone)]
struct Pending<'r> {
    number: usize,
    event: &'r Event,
    durable: bool,
    /// Whether a flush of it has failed. No later flush of the file makes it durable.
    lost: bool,
}

/// A disk on which a recording is played.
pub struct Disk<'r> {
    pub broken: Broken,
    files: BTreeMap<FileId, Vec<u8>>,
    names: BTreeMap<String, FileId>,
    /// Writes and lengths that are not flushed yet; durable ones are kept as well, for the order.
    pending: Vec<Pending<'r>>,
    pending_names: Vec<Pending<'r>>,
}

impl<'r> Disk<'r> {
    pub fn new(recording: &Recording) -> Disk<'r> {
        Disk {
            broken: Broken::Nothing,
            files: recording.before.iter().cloned().enumerate().collect(),
            names: recording.names.clone(),
            pending: Vec::new(),
            pending_names: Vec::new(),
        }
    }

    /// Plays one event.
    pub fn play(&mut self, number: usize, event: &'r Event) {
        let durable = matches!(event, Event::Write { durable: true, .. });
        let pending = Pending {
            number,
            event,
            durable,
            lost: false,
        };
        match event {
            Event::Write { .. } | Event::Length { .. } => self.pending.push(pending),
            Event::Names { .. } => self.pending_names.push(pending),
            Event::Flush { file, began } if self.broken != Broken::Flushes => {
                self.flush(*file, *began);
            }
            Event::FailedFlush { file, began } => {
                for pending in covered(&mut self.pending, *file, *began) {
                    pending.lost |= !pending.durable;
                }
            }
            Event::FlushNames { began } if self.broken != Broken::NameFlushes => {
                self.pending_names.retain(|pending| {
                    let covered = pending.number < *began;
                    if covered {
                        rename(&mut self.names, pending.event);
                    }
                    !covered
                });
            }
            Event::Flush { .. } | Event::FlushNames { .. } | Event::Said(_) => {}
        }
    }

    fn flush(&mut self, file: FileId, began: usize) {
        if self.has_lost() {
            // What is lost may still be on the disk, below what is durable after it.
            for pending in covered(&mut self.pending, file, began) {
                pending.durable |= !pending.lost;
            }
            return;
        }
        let content = self.files.entry(file).or_default();
        self.pending.retain(|pending| {
            let covered = file_of(pending.event) == file && pending.number < began;
            if covered {
                write(content, pending.event, true, |_| true);
            }
            !covered
        });
    }

    /// Whether a power cut now could leave more than one image.
    pub fn is_settled(&self) -> bool {
        self.pending.iter().all(|pending| pending.durable) && self.pending_names.is_empty()
    }

    /// Whether a flush has failed of what a power cut may leave.
    pub fn has_lost(&self) -> bool {
        self.pending.iter().any(|pending| pending.lost)
    }

    /// How many writes and changes of names are not durable.
    pub fn unflushed(&self) -> usize {
        let writes = self.pending.iter().filter(|pending| !pending.durable);
        writes.count() + self.pending_names.len()
    }

    /// Sectors of the last unflushed write.
    pub fn last_sectors(&self) -> usize {
        match self.pending.last() {
            Some(Pending {
                event: Event::Write { bytes, .. },
                durable: false,
                ..
            }) if self.pending_names.is_empty() => bytes.len().div_ceil(SECTOR),
            _ => 0,
        }
    }

    /// The files after a power cut at this point.
    pub fn image(&self, survivors: Survivors, rng: &mut Rng) -> Image {
        let mut files = self.files.clone();
        let count = self.unflushed();
        let mut index = 0;
        for pending in &self.pending {
            let content = files.entry(file_of(pending.event)).or_default();
            if pending.durable {
                write(content, pending.event, true, |_| true);
                continue;
            }
            let whole = survives(survivors, index, count, rng);
            match survivors {
                Survivors::Sectors(chance) if matches!(pending.event, Event::Write { .. }) => {
                    let length = rng.below(2) == 0;
                    write(content, pending.event, length, |_| rng.below(16) < chance);
                }
                Survivors::TornEnd(sectors) if index + 1 == count => {
                    write(content, pending.event, false, |sector| sector < sectors);
                }
                _ if whole => write(content, pending.event, true, |_| true),
                // The length may reach the disk without the bytes.
                _ if rng.below(4) == 0 && matches!(pending.event, Event::Write { .. }) => {
                    write(content, pending.event, true, |_| false);
                }
                _ => {}
            }
            index += 1;
        }
        let mut names = self.names.clone();
        for pending in &self.pending_names {
            if survives(survivors, index, count, rng) {
                rename(&mut names, pending.event);
            }
            index += 1;
        }
        let content = |file| files.get(&file).cloned().unwrap_or_default();
        names
            .into_iter()
            .map(|(name, file)| (name, content(file)))
            .collect()
    }
}

/// The changes of that file, before the event of that number.
fn covered<'p, 'r>(
    pending: &'p mut [Pending<'r>],
    file: FileId,
    began: usize,
) -> impl Iterator<Item = &'p mut Pending<'r>> {
    let is_covered = move |it: &&mut Pending<'r>| file_of(it.event) == file && it.number < began;
    pending.iter_mut().filter(is_covered)
}

fn survives(survivors: Survivors, index: usize, count: usize, rng: &mut Rng) -> bool {
    match survivors {
        Survivors::None => false,
        Survivors::All => true,
        Survivors::TornEnd(_) => index + 1 < count,
        Survivors::First(first) => index < first,
        Survivors::Only(one) => index == one,
        Survivors::AllBut(one) => index != one,
        Survivors::Writes(chance) | Survivors::Sectors(chance) => rng.below(16) < chance,
    }
}

fn file_of(event: &Event) -> FileId {
    match event {
        Event::Write { file, .. } | Event::Length { file, .. } => *file,
        _ => unreachable!("no change of a file: {event:?}"),
    }
}

/// Applies an event to the content: the sectors that survive, and the whole length or only as much
/// as these need.
fn write(
    content: &mut Vec<u8>,
    event: &Event,
    length: bool,
    mut gets_there: impl FnMut(usize) -> bool,
) {
    match event {
        Event::Write { offset, bytes, .. } => {
            let start = *offset as usize;
            let end = start + bytes.len();
            if length {
                grow(content, end);
            }
            // Sectors begin at multiples of their size in the file, wherever the write begins.
            let mut at = start;
            let mut sector = 0;
            while at < end {
                let next = ((at / SECTOR + 1) * SECTOR).min(end);
                if gets_there(sector) {
                    grow(content, next);
                    content[at..next].copy_from_slice(&bytes[at - start..next - start]);
                }
                at = next;
                sector += 1;
            }
        }
        Event::Length { len, .. } => {
            content.truncate(*len as usize);
            grow(content, *len as usize);
        }
        _ => unreachable!("no change of a file: {event:?}"),
    }
}

/// Extends the content to at least that length, with zeros.
fn grow(content: &mut Vec<u8>, len: usize) {
    const ZEROS: &[u8] = &[0; 64 << 10];
    while content.len() < len {
        let missing = (len - content.len()).min(ZEROS.len());
        content.extend_from_slice(&ZEROS[..missing]);
    }
}

fn rename(names: &mut BTreeMap<String, FileId>, event: &Event) {
    let Event::Names { given, taken } = event else {
        unreachable!("no change of names: {event:?}");
    };
    let taken: &BTreeSet<String> = taken;
    names.retain(|name, _| !taken.contains(name));
    names.extend(given.iter().map(|(name, file)| (name.clone(), *file)));
}
