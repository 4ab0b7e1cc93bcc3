//! Power cuts where commits are deferred.

use super::explore::{explore, Campaign};
use super::judge::{Many, Single};
use super::second::leave_unfinished;
use super::workload::{deferred, deferred_next, deferred_threads, deferred_turns, STORE};
use super::{campaign, play, ptrace, recording, recording_at, seeds, survive};
use crate::common;

/// Writes are deferred among others. What is there afterwards is one whole commit, no older than
/// the last that was flushed.
#[test]
fn deferred_writes_are_undone_as_whole_commits_and_no_flushed_one_is() {
    if !ptrace::is_allowed() {
        return;
    }
    play("deferred", deferred, seeds(4));
}

#[test]
fn processes_that_defer_in_turn_lose_no_flushed_write() {
    if !ptrace::is_allowed() {
        return;
    }
    for seed in seeds(2) {
        let place = common::directory();
        let subject = Single::new(&deferred_turns(seed), &place.path().join(STORE));
        let recording = recording("deferred_turns", seed);
        let subject = subject.without_commits();
        survive("deferred_turns", seed, &recording, &subject, 30);
    }
}

#[test]
fn threads_of_which_some_defer_lose_no_flushed_write() {
    if !ptrace::is_allowed() {
        return;
    }
    for seed in seeds(1) {
        let threads = deferred_threads(seed);
        let recording = recording("deferred_threads", seed);
        survive(
            "deferred_threads",
            seed,
            &recording,
            &Many::new(&threads),
            30,
        );
    }
}

/// The power is cut again while a process puts the commit in force that a power cut has left, where
/// commits were deferred, and goes on to defer.
#[test]
fn power_cut_while_deferred_commits_are_undone_loses_no_flushed_write() {
    if !ptrace::is_allowed() {
        return;
    }
    for seed in seeds(2) {
        let first = recording("deferred", seed);
        let (place, start) = (common::directory(), common::directory());
        leave_unfinished(&first, seed, &[place.path(), start.path()]);
        let subject = Single::new(&deferred_next(seed), &start.path().join(STORE));
        let recording = recording_at("deferred_next", seed, place.path());
        survive("deferred, undone", seed, &recording, &subject, 30);
    }
}

/// The campaign can fail where commits are deferred, too: it finds violations without the anchors,
/// without a look at the newest commit, and without the pins that keep the pages of the last commit
/// that was flushed.
#[test]
fn deferral_without_one_of_its_parts_is_detected() {
    if !ptrace::is_allowed() {
        return;
    }
    let (seed, place) = (seeds(1).start, common::directory());
    let subject = Single::new(&deferred(seed), &place.path().join(STORE));
    let [whole, unpinned] = ["deferred", "unpinned"].map(|role| recording(role, seed));
    let found = |recording, campaign| {
        let campaign = Campaign {
            enough: 1,
            ..campaign
        };
        let violations = explore(recording, &campaign, &subject).violations;
        let first = violations.first().map_or("nothing", String::as_str);
        println!("{first}");
        !violations.is_empty()
    };
    let unanchored = Campaign {
        unanchored: true,
        ..campaign(seed)
    };
    assert!(found(&whole, unanchored), "without anchors");
    let unchecked = Campaign {
        unchecked: true,
        ..campaign(seed)
    };
    assert!(found(&whole, unchecked), "without a look");
    assert!(found(&unpinned, campaign(seed)), "without pins");
}
