//! Dumps, and what is loaded from them.

mod common;

use common::{devices, Place};
use insta::assert_snapshot;
use pool_metadata::{DeviceInfo, Intent, IntentKind, PoolMetadata};

#[test]
fn dump_of_a_store_loads_into_another_one_and_is_the_same_again() {
    let place = Place::pool();
    let store = PoolMetadata::open(&place.store).unwrap();
    let mut device = DeviceInfo::new(&b"\xff\x1b[31m\\x41 \n"[..]);
    device.parent_name = b"\xfe".to_vec();
    device.error = vec![0, 255, b'"', b'\\'];
    device.size = u64::MAX;
    store.add_device(&mut device).unwrap();
    store.set_identity(Some(b"pool\xff")).unwrap();
    let gone = Intent::new(IntentKind::Delete, "gone", 3, 1);
    let gone = store.begin_intent(&gone).unwrap();
    let begun = Intent::new(IntentKind::Snapshot, &b"\xfe"[..], 0xff_ffff, u64::MAX);
    store.begin_intent(&begun).unwrap();
    store.finish_intent(gone).unwrap();
    store.close().unwrap();
    let dump = place.run(["dump"]).expect(0);
    assert_snapshot!("dump", dump);
    let new = place.path("new.db");
    let arguments = ["load", "-y", "-", "--store", new.to_str().unwrap()];
    assert_eq!(
        place.run_with(arguments, dump.as_bytes()).expect(0),
        "[DIR]/new.db: 6 devices\n"
    );
    let plain = |path| -> Vec<_> {
        let all = devices(path).into_iter();
        all.map(|device| DeviceInfo {
            generation: 0,
            ..device
        })
        .collect()
    };
    assert_eq!(plain(&new), plain(&place.store));
    let ids = |path| {
        PoolMetadata::open(path)
            .unwrap()
            .walk()
            .unwrap()
            .ids()
            .unwrap()
    };
    assert_eq!(ids(&new), ids(&place.store));
    let loaded = PoolMetadata::open(&new).unwrap();
    // A kill of the load leaves all of it or nothing.
    assert_eq!(loaded.stats().unwrap().commits, 1);
    assert_eq!(
        loaded.identity().unwrap().as_deref(),
        Some(&b"pool\xff"[..])
    );
    let open = loaded.intents().unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].kind, &*open[0].name), (begun.kind, &*begun.name));
    assert_eq!(open[0].transaction_id, u64::MAX);
    drop(loaded);
    let other = place.path("other.db");
    let arguments = ["load", "-y", "-", "--identity", "x", "--store"];
    let arguments = arguments.into_iter().chain([other.to_str().unwrap()]);
    place.run_with(arguments, dump.as_bytes()).expect_error(
        1,
        "the lines are those of the pool \"pool\\xff\", not of \"x\"",
    );
    assert!(!other.exists());
}

#[test]
fn each_line_that_contradicts_another_is_named_and_nothing_is_loaded() {
    let place = Place::pool();
    let dump = place.run(["dump"]).expect(0);
    std::fs::write(place.path("edited"), dump.replace("\"id\":5", "\"id\":4")).unwrap();
    let new = place.path("new.db");
    let new = new.to_str().unwrap();
    place
        .run(["load", "-y", "edited", "--store", new])
        .expect_error(
            1,
            "pmctl: edited:7: id 4 is that of line 6 as well\n       \
         nothing was loaded: correct these lines, and load the file again\n",
        );
    let cut = &dump[..dump.len() / 2];
    place
        .run_with(["load", "-y", "-", "--store", new], cut.as_bytes())
        .expect_error(1, "-:");
    assert!(!place.path("new.db").exists());
    place
        .run(["load", "-y", "none", "--store", new])
        .expect_error(3, "none: No such file");
}

#[test]
fn store_with_devices_is_not_loaded_into() {
    let place = Place::pool();
    let dump = place.run(["dump"]).expect(0);
    let before = devices(&place.store);
    place
        .run_with(["load", "-y", "-"], dump.as_bytes())
        .expect_error(
            1,
            "pool.db: the store is not empty; name a path where nothing is",
        );
    assert_eq!(devices(&place.store), before);
    let place = Place::with(|_| ());
    place
        .run_with(["load", "-y", "-"], dump.as_bytes())
        .expect(0);
    assert_eq!(devices(&place.store).len(), 5);
}
