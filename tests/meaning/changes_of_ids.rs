//! Lists of changes of ids and intents, alone and among devices.

use crate::common::assorted;
use crate::in_step::InStep;
use crate::subject::*;
use crate::through_rust_and_c;
use pool_metadata::capi::*;
use pool_metadata::{Change, DeviceInfo, Intent, IntentKind};

through_rust_and_c!(
    ids_and_intents_change_in_one_list_with_devices,
    refused_change_of_ids_or_intents_changes_nothing,
);

fn adding(name: &str) -> Change {
    Change::Add(DeviceInfo::new(name))
}

fn commits<S: Store>(store: &S) -> u64 {
    store.stats().unwrap().commits
}

fn intent(name: &str) -> Intent {
    Intent::new(IntentKind::Snapshot, name, 9, u64::MAX)
}

/// The store has a (id 1, faulty), b (2), c (4); 3 and 6 are free, 5 is faulty.
fn ids_and_intents_change_in_one_list_with_devices<S: InStep>() {
    let (_directory, path) = assorted();
    let store: S = open(&path);
    let before = commits(&store);
    let list = [
        Change::MarkIdsFaulty {
            ids: vec![3, 3, 2, 8],
        },
        adding("d"),
        Change::BeginIntent(intent("d")),
        Change::FreeFaultyIds { except: vec![8] },
        adding("e"),
        Change::MarkIdsFaultyUpTo { last: 9 },
        Change::BeginIntent(intent("e")),
        Change::FinishIntent { number: 1 },
        Change::FreeId { device_id: 9 },
        Change::ReplaceId {
            name: b"e".to_vec(),
            device_id: 3,
        },
    ];
    let made = store.apply(&list).unwrap();
    let commit = before + 1;
    // 3 and 8; d gets 6; 3 and 5 are freed; e gets 3; 5, 7 and 9; e gets 9.
    let expected = [
        (0, 2),
        (6, commit),
        (0, 1),
        (0, 2),
        (3, commit),
        (0, 3),
        (0, 2),
        (0, 0),
        (9, commit),
        (9, commit),
    ];
    assert_eq!(made, expected);
    assert_eq!(commits(&store), commit, "one commit");
    let ids = store.walk().unwrap().ids().unwrap();
    assert_eq!((ids.free, ids.faulty), (vec![], vec![1, 3, 5, 7, 8]));
    let open = Intent {
        number: 2,
        commit,
        ..intent("e")
    };
    assert_eq!(store.intents().unwrap(), [open]);
    check(&store);
    // Each by itself, those that nothing refuses share a commit.
    let each = store.apply_each(&[
        Change::FinishIntent { number: 1 },
        Change::FreeFaultyIds { except: vec![] },
        Change::BeginIntent(intent("f")),
        Change::FinishIntent { number: 2 },
        Change::MarkIdsFaulty { ids: vec![1 << 24] },
    ]);
    let codes: Vec<_> = each
        .iter()
        .map(|made| made.clone().map_err(|failure| failure.code))
        .collect();
    let expected = [
        Err(PM_ERR_NOT_FOUND),
        Ok((0, 4)),
        Ok((0, 3)),
        Ok((0, 0)),
        Err(PM_ERR_INVALID_ARGUMENT),
    ];
    assert_eq!(codes, expected);
    assert_eq!(commits(&store), commit + 1);
    check(&store);
}

fn refused_change_of_ids_or_intents_changes_nothing<S: InStep>() {
    let (_directory, path) = assorted();
    let store: S = open(&path);
    let before = (contents(&store), store.intents().unwrap(), commits(&store));
    let nameless = Change::BeginIntent(intent(""));
    let beyond = Change::BeginIntent(Intent {
        device_id: 1 << 24,
        ..intent("x")
    });
    for (bad, status) in [
        (Change::FinishIntent { number: 7 }, PM_ERR_NOT_FOUND),
        (nameless, PM_ERR_INVALID_NAME),
        (beyond, PM_ERR_INVALID_ARGUMENT),
        (
            Change::MarkIdsFaulty {
                ids: vec![1, 1 << 24],
            },
            PM_ERR_INVALID_ARGUMENT,
        ),
        (
            Change::FreeFaultyIds {
                except: vec![u32::MAX],
            },
            PM_ERR_INVALID_ARGUMENT,
        ),
        (
            Change::MarkIdsFaultyUpTo { last: 0xff_ffff },
            PM_ERR_INVALID_ARGUMENT,
        ),
        (Change::FreeId { device_id: 2 }, PM_ERR_ID_IN_USE),
        (Change::FreeId { device_id: 3 }, PM_ERR_ID_NOT_FAULTY),
    ] {
        let list = [
            Change::BeginIntent(intent("y")),
            Change::MarkIdsFaulty { ids: vec![6, 9] },
            bad,
            Change::FreeFaultyIds { except: vec![] },
        ];
        let (index, failure) = store.apply(&list).unwrap_err();
        refused::<()>(Err(failure), status);
        assert_eq!(index, Some(2));
        let now = (contents(&store), store.intents().unwrap(), commits(&store));
        assert_eq!(now, before);
    }
    check(&store);
}
