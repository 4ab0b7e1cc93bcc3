//! Power cuts where flushes fail: a write that has returned an error does not come back, once
//! anything was flushed after it.

use super::explore::{explore, Campaign, Subject};
use super::judge::{Dump, Single};
use super::record::{Event, Recording};
use super::workload::{failing, failing_deferred, Script, STORE};
use super::{campaign, page_size, ptrace, recording, recording_at, seeds, survive};
use crate::common;
use std::collections::BTreeMap;
use std::path::Path;

/// A process that tries each step of a script once before, while flushes fail.
struct Failing(Single);

impl Failing {
    fn new(script: &Script, start: &Path) -> Failing {
        Failing(Single::new(script, start).without_commits())
    }
}

impl Subject for Failing {
    type Outcome = Option<Dump>;

    fn look(&self, directory: &Path, thorough: bool) -> Result<Option<Dump>, String> {
        self.0.look(directory, thorough)
    }

    fn judge(&self, found: &Option<Dump>, said: &[&str]) -> Result<(), String> {
        let begun = said.iter().filter(|it| it.starts_with("begin")).count();
        let tried = usize::from(may_be_there(said));
        let judge = |begun| self.0.judge_begun(found, said, begun);
        judge(begun + tried).map_err(|why| {
            let is_back = begun < self.0.durable.len() && judge(begun + 1).is_ok();
            match is_back {
                true => format!("a write that has failed is back: {why}"),
                false => why,
            }
        })
    }
}

/// Whether the step that was tried last may be there though it was not begun. While what undoes it
/// cannot be flushed, nothing on the disk may say that it was undone.
fn may_be_there(said: &[&str]) -> bool {
    let Some(at) = said.iter().rposition(|it| it.starts_with("try")) else {
        return false;
    };
    let end = match said[at] {
        "try 1" => "failed",
        _ => "settled",
    };
    !said[at..]
        .iter()
        .any(|it| *it == end || it.starts_with("begin"))
}

#[test]
fn failed_write_does_not_come_back_after_a_flush() {
    if !ptrace::is_allowed() {
        return;
    }
    for seed in seeds(1) {
        let place = common::directory();
        let subject = Failing::new(&failing(seed), &place.path().join(STORE));
        survive("failing", seed, &recording("failing", seed), &subject, 30);
    }
}

#[test]
fn failed_write_to_larger_pages_does_not_come_back_after_a_flush() {
    if !ptrace::is_allowed() {
        return;
    }
    for seed in seeds(1) {
        let (place, start) = (common::directory(), common::directory());
        for directory in [&place, &start] {
            page_size::make_store(&directory.path().join(STORE), 16384);
        }
        let subject = Failing::new(&failing(seed), &start.path().join(STORE));
        let recording = recording_at("failing", seed, place.path());
        survive("failing, pages of 16 KiB", seed, &recording, &subject, 30);
    }
}

/// Where commits are deferred before the one that fails, none that was flushed is lost.
#[test]
fn failed_write_after_deferred_ones_does_not_come_back_after_a_flush() {
    if !ptrace::is_allowed() {
        return;
    }
    for seed in seeds(1) {
        let place = common::directory();
        let subject = Failing::new(&failing_deferred(seed), &place.path().join(STORE));
        let recording = recording("failing_deferred", seed);
        survive("failing, deferred", seed, &recording, &subject, 30);
    }
}

/// The campaign can fail: it finds failed writes that are back where the meta pages are not written
/// again before the next flush.
#[test]
fn flush_without_a_rewrite_of_the_meta_pages_is_detected() {
    if !ptrace::is_allowed() {
        return;
    }
    const WHAT: &str = "a write that has failed is back";
    let (seed, place) = (seeds(1).start, common::directory());
    let subject = Failing::new(&failing(seed), &place.path().join(STORE));
    let mut recording = recording("failing", seed);
    leave_out_rewrites(&mut recording);
    let campaign = Campaign {
        enough: usize::MAX,
        until: Some(WHAT),
        ..campaign(seed)
    };
    let violations = explore(&recording, &campaign, &subject).violations;
    let last = violations.last().map_or("nothing", String::as_str);
    println!("{last}");
    assert!(last.contains(WHAT), "{last}");
}

/// Empties the writes to the meta pages that change nothing there.
fn leave_out_rewrites(recording: &mut Recording) {
    const META_PAGES: usize = 2 * 4096;
    let mut files: BTreeMap<_, Vec<u8>> = BTreeMap::new();
    for event in &mut recording.events {
        let Event::Write {
            file,
            offset,
            bytes,
            ..
        } = event
        else {
            continue;
        };
        let at = *offset as usize;
        let content = files.entry(*file).or_insert_with(|| vec![0; META_PAGES]);
        let Some(there) = content.get_mut(at..(at + bytes.len()).min(META_PAGES)) else {
            continue;
        };
        if there == &bytes[..] {
            bytes.clear();
            continue;
        }
        there.copy_from_slice(&bytes[..there.len()]);
    }
}
