//! `pmctl stats`: what it counts, and what it finds of the processes that have the store open.

mod common;

use std::fs;
use std::time::Duration;

use common::{add, Place};
use insta::assert_snapshot;
use pool_metadata::{Change, DeviceInfo, DeviceState, OpenOptions, PoolMetadata};
use serde_json::Value;

fn json(place: &Place) -> Value {
    serde_json::from_str(&place.run(["stats", "--json"]).expect(0)).unwrap()
}

#[test]
fn stats_add_up() {
    let place = Place::pool();
    // How large a file is depends on its pages and on what is preallocated, and how it is read on
    // where the test runs.
    let sizes = [
        "file ",
        "in use",
        "free in the file",
        "page",
        "reader slots",
        "read ",
    ];
    let of_the_file = |line: &&str| sizes.iter().any(|size| line.trim_start().starts_with(size));
    let out = place.run(["stats"]).expect(0);
    assert_eq!(out.lines().filter(of_the_file).count(), sizes.len());
    let rest: Vec<_> = out.lines().filter(|line| !of_the_file(line)).collect();
    assert_snapshot!("stats", rest.join("\n"));
    let json = json(&place);
    assert_eq!(json["devices"], 5);
    assert_eq!(json["size_of_devices"], (10u64 << 30) * 5 + (1 << 20));
    assert_eq!(json["devices_by_state"]["Faulty"], 1);
    assert_eq!(
        [&json["taken_ids"], &json["free_ids"], &json["faulty_ids"]],
        [4, 1, 2]
    );
}

#[test]
fn stats_name_the_processes_that_read() {
    let place = Place::pool();
    let store = PoolMetadata::open(&place.store).unwrap();
    let walk = store.walk().unwrap();
    store.remove_device("base-2").unwrap();
    store.remove_device("snap-2").unwrap();
    let out = place.run(["stats"]).expect(0);
    let this = std::process::id();
    assert!(out.contains(&format!("    process {this} (")), "{out}");
    assert!(out.contains("), 2 commits behind\n"), "{out}");
    let json = json(&place);
    assert_eq!(json["running_reads"][0]["pid"], this);
    drop(walk);
    let out = place.run(["stats", "--time-reads", "20"]).expect(0);
    assert!(
        !out.contains(" behind\n") && out.contains("time of a read\n"),
        "{out}"
    );
}

#[test]
fn stats_show_what_each_process_has_written_since_it_opened_the_store() {
    let place = Place::pool();
    let store = OpenOptions::new()
        .deferred_age(Duration::from_secs(3600))
        .open(&place.store)
        .unwrap();
    let set = |store: &PoolMetadata| store.change_device_state("base", DeviceState::Suspended);
    for _ in 0..5 {
        set(&store).unwrap();
    }
    let add = |name| Change::Add(DeviceInfo::new(name));
    store.apply(&["x", "y", "z"].map(add)).unwrap();
    for _ in 0..2 {
        set(&store.deferred()).unwrap();
    }
    let out = place.run(["stats"]).expect(0);
    assert!(out.contains("open in                1 process\n"), "{out}");
    let block = out.lines().skip_while(|line| *line != "open in process");
    let block: Vec<_> = block.collect();
    let this = format!("  {} (", std::process::id());
    assert!(
        block[1].starts_with(&this) && block[1].contains("), for "),
        "{out}"
    );
    let is_bar = |line: &&&str| line.trim_start().starts_with("up to ");
    let is_time = |line: &&&str| line.trim_start().starts_with("time of a commit");
    assert_eq!(block.iter().filter(is_time).count(), 1);
    let bars = block.iter().filter(is_bar);
    let bars = bars.map(|line| line.split_ascii_whitespace().nth(4).unwrap());
    assert_eq!(
        bars.map(|count| count.parse::<u32>().unwrap()).sum::<u32>(),
        8
    );
    let rest = block[2..]
        .iter()
        .filter(|line| !is_bar(line) && !is_time(line));
    assert_snapshot!(
        "stats_processes",
        rest.copied().collect::<Vec<_>>().join("\n")
    );

    let json = json(&place);
    let process = &json["processes"][0];
    assert_eq!(process["pid"], std::process::id());
    assert!(process["program"].is_string() && process["why_not"].is_null());
    let (counts, own) = (&process["counts"], store.stats().unwrap());
    for (found, expected) in [
        (&counts["commit_operations"], own.commit_operations),
        (&counts["commit_nanoseconds"], own.commit_nanoseconds),
    ] {
        let json = serde_json::json!({
            "count": expected.count, "sum": expected.sum, "buckets": expected.buckets.to_vec(),
        });
        assert_eq!(*found, json);
    }
    assert_eq!(counts["commit_operations"]["sum"], 10);
    assert_eq!(counts["flushes"], own.flushes);
    assert_eq!(counts["deferred_commits"], own.deferred_commits);
    assert!(counts["open_nanoseconds"].as_u64().unwrap() > 0);
    store.close().unwrap();
    let out = place.run(["stats"]).expect(0);
    assert!(
        out.contains("open in                0 processes\n"),
        "{out}"
    );
    assert!(!out.contains("open in process"), "{out}");
}

#[test]
fn stats_say_why_a_process_shows_nothing() {
    let place = Place::pool();
    let reader = OpenOptions::new().read_only(true).open(&place.store);
    let reader = reader.unwrap();
    // What has a copy does not have the store open.
    if !reader.stats().unwrap().is_copy {
        let out = place.run(["stats"]).expect(0);
        assert!(
            out.contains("): it only reads, and counts nothing\n"),
            "{out}"
        );
        let json = json(&place);
        let process = &json["processes"][0];
        assert_eq!(process["why_not"], "it only reads, and counts nothing");
        assert!(process["counts"].is_null());
    }
    reader.close().unwrap();
}

/// Leaves the store as a power cut does that loses a page of the last commit before its flush.
fn cut_the_last_commit_short(place: &Place) {
    const PAGE: usize = 4096;
    let before = fs::read(&place.store).unwrap();
    let store = PoolMetadata::open(&place.store).unwrap();
    add(&store, "lost", "", 512, DeviceState::Created);
    store.close().unwrap();
    let mut after = fs::read(&place.store).unwrap();
    let differs = |page: &usize| {
        let page = page * PAGE..(page + 1) * PAGE;
        before.get(page.clone()) != after.get(page)
    };
    // Behind LMDB's meta, the page of the commit before says which one was flushed.
    const META_END: usize = 152;
    let is_kept = |page: &usize| {
        let meta = page * PAGE..page * PAGE + META_END;
        before[meta.clone()] == after[meta]
    };
    let noted = [0, 1].into_iter().find(is_kept).unwrap();
    let lost = (2..after.len() / PAGE).find(differs).unwrap();
    after[noted * PAGE..(noted + 1) * PAGE]
        .copy_from_slice(&before[noted * PAGE..(noted + 1) * PAGE]);
    after[lost * PAGE..(lost + 1) * PAGE].fill(0);
    fs::write(&place.store, after).unwrap();
}

#[test]
fn stats_warn_of_a_commit_that_a_process_has_undone() {
    let place = Place::pool();
    cut_the_last_commit_short(&place);
    let store = PoolMetadata::open(&place.store).unwrap();
    assert_eq!(store.stats().unwrap().undone_commits, 1);
    let out = place.run(["stats"]).expect(0);
    assert!(out.contains("    commits undone         1\n"), "{out}");
    assert!(
        out.contains(") has undone 1 commit, after a power cut"),
        "{out}"
    );
}
