//! What is kept beside the devices: changes of the pool that have begun, devices that were removed,
//! the identity of the pool.

use crate::common::{place, raw};
use crate::in_step::InStep;
use crate::subject::*;
use crate::through_rust_and_c;
use pool_metadata::capi::*;
use pool_metadata::{Change, Intent, IntentKind, WalkFilter, MAX_REMOVALS};

through_rust_and_c!(
    intent_is_listed_until_it_is_finished,
    intent_that_cannot_be_is_refused,
    removals_are_remembered_with_their_commits,
    oldest_removals_are_forgotten,
    changes_since_a_commit_are_those_written_and_removed,
    first_identity_stays_and_another_is_refused,
    identity_of_no_possible_length_is_refused,
    journal_survives_backup_restore_and_salvage,
);

fn with_identity(identity: &[u8]) -> pm_options {
    pm_options {
        identity: identity.as_ptr().cast(),
        identity_len: identity.len(),
        ..DEFAULTS
    }
}

fn intent_is_listed_until_it_is_finished<S: InStep>() {
    let (_directory, path) = place();
    let store: S = open(&path);
    assert_eq!(store.intents().unwrap(), []);
    let longest = [b'n'; 511];
    let names: [&[u8]; 3] = [b"base", b"\xff\xfe", &longest];
    let mut expected = Vec::new();
    for (number, (kind, name)) in (1..).zip(IntentKind::ALL.into_iter().zip(names)) {
        let intent = Intent::new(kind, name, number as u32 * 1000, u64::MAX - number);
        assert_eq!(store.begin_intent(&intent).unwrap(), number);
        let commit = store.stats().unwrap().commits;
        expected.push(Intent {
            number,
            commit,
            ..intent
        });
        check(&store);
    }
    assert_eq!(store.intents().unwrap(), expected);
    store.close().unwrap();
    let store: S = open(&path);
    assert_eq!(store.intents().unwrap(), expected);
    store.finish_intent(2).unwrap();
    check(&store);
    expected.remove(1);
    assert_eq!(store.intents().unwrap(), expected);
    let commits = store.stats().unwrap().commits;
    for number in [0, 2, 4, u64::MAX] {
        refused(store.finish_intent(number), PM_ERR_NOT_FOUND).says(&[&number.to_string()]);
    }
    assert_eq!(store.stats().unwrap().commits, commits);
    for number in [1, 3] {
        store.finish_intent(number).unwrap();
    }
    assert_eq!(store.intents().unwrap(), []);
    // Numbers are not used again.
    let next = Intent::new(IntentKind::Create, "next", 1, 0);
    assert_eq!(store.begin_intent(&next).unwrap(), 4);
    check(&store);
    let reader = S::open(&path, &READ_ONLY);
    assert!(reader.is_err(), "this process has it open");
    store.close().unwrap();
    let reader = S::open(&path, &READ_ONLY).unwrap();
    assert_eq!(reader.intents().unwrap().len(), 1);
    refused(reader.begin_intent(&next), PM_ERR_READ_ONLY);
    refused(reader.finish_intent(4), PM_ERR_READ_ONLY);
}

fn intent_that_cannot_be_is_refused<S: InStep>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    let intent = |name: &[u8], id| Intent::new(IntentKind::Delete, name, id, 7);
    for name in [&b""[..], b"a\0b", &[b'n'; 512]] {
        refused(store.begin_intent(&intent(name, 1)), PM_ERR_INVALID_NAME);
    }
    for id in [1 << 24, u32::MAX] {
        refused(
            store.begin_intent(&intent(b"a", id)),
            PM_ERR_INVALID_ARGUMENT,
        );
    }
    assert_eq!(store.stats().unwrap().commits, 0);
    for id in [0, 0xff_ffff] {
        store.begin_intent(&intent(b"a", id)).unwrap();
    }
    check(&store);
}

fn removals_are_remembered_with_their_commits<S: InStep>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    for name in ["a", "b", "c", "d"] {
        add(&store, name);
    }
    store.remove(b"b").unwrap();
    let remove = |name: &str| Change::Remove {
        name: name.as_bytes().to_vec(),
    };
    store.apply(&[remove("d"), remove("a")]).unwrap();
    add(&store, "b");
    check(&store);
    let gone = |name: &str, id, commit| (name.as_bytes().to_vec(), id, commit);
    let (b, a, d) = (gone("b", 2, 5), gone("a", 1, 6), gone("d", 4, 6));
    // A list makes removals in the order of names.
    assert_eq!(
        store.removals(0).unwrap(),
        (vec![b, a.clone(), d.clone()], true, 7)
    );
    assert_eq!(store.removals(5).unwrap(), (vec![a, d], true, 7));
    for since in [6, 7, 100, u64::MAX] {
        assert_eq!(store.removals(since).unwrap(), (vec![], true, 7));
    }
}

fn oldest_removals_are_forgotten<S: InStep>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    let names = |numbers: std::ops::Range<u32>| numbers.map(|n| format!("snap-{n:05}"));
    let add = |name: String| Change::Add(crate::common::device(name));
    let remove = |name: String| Change::Remove {
        name: name.into_bytes(),
    };
    let most = MAX_REMOVALS;
    let all: Vec<_> = names(0..most + 10).map(add).collect();
    store.apply(&all).unwrap();
    for range in [0..3, 3..most, most..most + 4] {
        let list: Vec<_> = names(range).map(remove).collect();
        store.apply(&list).unwrap();
        check(&store);
    }
    // The first commit has removed three, and the second one too many for the rest to be kept.
    let (removed, complete, commit) = store.removals(3).unwrap();
    assert_eq!((removed.len(), complete, commit), (4, true, 4));
    let (removed, complete, _) = store.removals(2).unwrap();
    assert_eq!((removed.len(), complete), (most as usize, false));
    assert_eq!(removed[0].0, b"snap-00004");
    let last = store.removals(0).unwrap();
    assert_eq!((last.0, last.1), (removed, false));
    store.remove(b"snap-04100").unwrap();
    check(&store);
    assert_eq!(store.removals(4).unwrap().0.len(), 1);
}

fn changes_since_a_commit_are_those_written_and_removed<S: InStep>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    for name in ["a", "b", "c"] {
        add(&store, name);
    }
    let since = store.removals(0).unwrap().2;
    store.remove(b"a").unwrap();
    store.mark_faulty(b"c").unwrap();
    add(&store, "d");
    let filter = WalkFilter {
        since,
        ..WalkFilter::default()
    };
    let written = store.filtered(&filter).unwrap();
    let names: Vec<_> = written.iter().map(|device| &device.name[..]).collect();
    assert_eq!(names, [b"c", b"d"]);
    let (removed, complete, commit) = store.removals(since).unwrap();
    assert_eq!(
        (removed, complete, commit),
        (vec![(b"a".to_vec(), 1, 4)], true, 6)
    );
}

fn first_identity_stays_and_another_is_refused<S: InStep>() {
    let (_directory, path) = place();
    let store: S = open(&path);
    assert_eq!(store.identity().unwrap(), None);
    store.close().unwrap();
    let mine = with_identity(b"\0pool\xff");
    // A reader cannot store it, and has nothing to compare it with.
    let read_only = pm_options {
        flags: PM_OPEN_READ_ONLY,
        ..mine
    };
    let store = S::open(&path, &read_only).unwrap();
    assert_eq!(store.identity().unwrap(), None);
    store.close().unwrap();
    for _ in 0..2 {
        let store = S::open(&path, &mine).unwrap();
        assert_eq!(store.identity().unwrap(), Some(b"\0pool\xff".to_vec()));
        assert_eq!(store.stats().unwrap().commits, 1);
        check(&store);
        store.close().unwrap();
    }
    let other = with_identity(b"other");
    for options in [
        other,
        pm_options {
            flags: PM_OPEN_READ_ONLY,
            ..other
        },
    ] {
        let failure = refused(S::open(&path, &options), PM_ERR_OTHER_POOL);
        failure.says(&[path.to_str().unwrap(), "\"\\x00pool\\xff\"", "\"other\""]);
    }
    // Without one, it opens, and can be given another one.
    let store: S = open(&path);
    store.set_identity(Some(b"other")).unwrap();
    store.set_identity(Some(b"other")).unwrap();
    assert_eq!(store.stats().unwrap().commits, 2);
    check(&store);
    store.close().unwrap();
    refused(S::open(&path, &mine), PM_ERR_OTHER_POOL);
    let store = S::open(&path, &other).unwrap();
    store.set_identity(None).unwrap();
    assert_eq!(store.identity().unwrap(), None);
    check(&store);
    store.close().unwrap();
    S::open(&path, &mine).unwrap().close().unwrap();
}

fn identity_of_no_possible_length_is_refused<S: InStep>() {
    let (_directory, path) = place();
    let failure = refused(
        S::open(&path, &with_identity(&[7; 256])),
        PM_ERR_INVALID_ARGUMENT,
    );
    failure.says(&["identity", "255"]);
    assert!(!path.exists());
    let store = S::open(&path, &with_identity(&[7; 255])).unwrap();
    refused(store.set_identity(Some(&[7; 256])), PM_ERR_INVALID_ARGUMENT);
    assert_eq!(store.identity().unwrap(), Some(vec![7; 255]));
}

fn journal_survives_backup_restore_and_salvage<S: InStep + Maintenance>() {
    let (directory, path) = place();
    let store = S::open(&path, &with_identity(b"pool")).unwrap();
    for name in ["a", "b"] {
        add(&store, name);
    }
    store.remove(b"a").unwrap();
    let intent = Intent::new(IntentKind::Snapshot, "b", 2, 9);
    let number = store.begin_intent(&intent).unwrap();
    let [backup, compact, salvaged] =
        ["backup", "compact", "salvaged"].map(|name| directory.path().join(name));
    store.backup(&backup, 0).unwrap();
    store.backup(&compact, PM_BACKUP_COMPACT).unwrap();
    let (intents, removals) = (store.intents().unwrap(), store.removals(0).unwrap());
    store.close().unwrap();
    for copy in [&backup, &compact] {
        let restored = directory.path().join("restored");
        S::restore(copy, &restored).unwrap();
        let store: S = open(&restored);
        assert_eq!(store.identity().unwrap().as_deref(), Some(&b"pool"[..]));
        assert_eq!(store.intents().unwrap(), intents);
        assert_eq!(store.removals(0).unwrap(), removals);
        check(&store);
        store.close().unwrap();
    }
    let (numbers, report) = S::salvage(&path, &salvaged, 9).unwrap();
    assert_eq!((numbers.complete, report.total), (1, 0));
    let store: S = open(&salvaged);
    assert_eq!(store.identity().unwrap().as_deref(), Some(&b"pool"[..]));
    let kept = store.intents().unwrap();
    assert_eq!(
        kept,
        [Intent {
            number,
            commit: 1,
            ..intent.clone()
        }]
    );
    assert_eq!(store.removals(0).unwrap(), (vec![], true, 1));
    store.finish_intent(number).unwrap();
    check(&store);
    store.close().unwrap();
    // With a record lost, an intent may be one that was finished since.
    raw::edit(&path, |txn, tables| {
        raw::rewrite(txn, tables.devices, b"b", |value| value[3] ^= 1);
    });
    std::fs::remove_file(&salvaged).unwrap();
    let (numbers, report) = S::salvage(&path, &salvaged, 9).unwrap();
    assert_eq!(numbers.complete, 0);
    let mut kinds = report.findings.iter().map(|finding| finding.kind);
    assert!(kinds.any(|kind| kind == PM_FINDING_JOURNAL_ROW));
    let store: S = open(&salvaged);
    assert_eq!(store.intents().unwrap(), []);
    assert_eq!(store.identity().unwrap().as_deref(), Some(&b"pool"[..]));
    check(&store);
}
