//! A store on a read-only file system can be read: nothing can write it, so no lock file is needed.

use pool_metadata::{DeviceInfo, Error, OpenOptions, PoolMetadata};
use std::path::Path;
use std::process::Command;

/// Set to the store's path in the process that runs on the read-only mount.
const INSIDE: &str = "PM_TEST_READ_ONLY_STORE";

#[test]
fn a_store_on_a_read_only_file_system_can_be_read() {
    if let Some(path) = std::env::var_os(INSIDE) {
        return inside(Path::new(&path));
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pool.db");
    let store = PoolMetadata::open(&path).unwrap();
    store.add_device(&mut DeviceInfo::new("base")).unwrap();
    drop(store);
    std::fs::remove_file(directory.path().join("pool.db-lock")).unwrap();

    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\" && exec \"$2\" --exact a_store_on_a_read_only_file_system_can_be_read";
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(directory.path())
        .arg(std::env::current_exe().unwrap())
        .env(INSIDE, &path)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat())
    );
}

fn inside(path: &Path) {
    let store = OpenOptions::new().read_only(true).open(path).unwrap();
    assert_eq!(store.get_device("base").unwrap().device_id, 1);
    assert_eq!(store.get_device_names().unwrap(), [b"base"]);
    store.verify().unwrap();
    assert!(matches!(
        store.remove_device("base"),
        Err(Error::ReadOnly { .. })
    ));
    store.close().unwrap();
    assert!(matches!(
        PoolMetadata::open(path),
        Err(Error::Permission { .. })
    ));
}
