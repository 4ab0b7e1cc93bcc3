//! A store's file with any damage: opening, reading and writing it gives errors or right answers.
#![no_main]

mod damage;

use damage::{all, apply, new_device, options, original, place, Damage};
use libfuzzer_sys::{fuzz_target, Corpus};
use pool_metadata::Result;
use std::path::Path;

/// Errors are allowed; any answer must be right.
fn use_it(path: &Path) -> Result<()> {
    let store = options().open(path)?;
    let mut expected = all(&store)?;
    // A whole older state is allowed: a power cut can leave one.
    assert!(original().states.contains(&expected), "a wrong answer");
    for number in 0..5 {
        let mut device = new_device(1000 + number);
        store.add_device(&mut device)?;
        expected.insert(device.name.clone(), device);
    }
    store.remove_device("device-3")?;
    expected.remove(&b"device-3"[..]);
    assert_eq!(all(&store)?, expected);
    store.verify()?;
    store.close()
}

fuzz_target!(|damages: Vec<Damage>| -> Corpus {
    if damages.len() > 12 {
        return Corpus::Reject;
    }
    let mut file = original().now.clone();
    damages.iter().for_each(|damage| apply(damage, &mut file));
    // An empty file becomes a new store.
    if file.is_empty() {
        return Corpus::Reject;
    }
    let path = place("damaged");
    std::fs::write(&path, &file).unwrap();
    let _ = use_it(&path);
    let _ = std::fs::remove_file(&path);
    let _ = std::fs::remove_file(place("damaged-lock"));
    Corpus::Keep
});
