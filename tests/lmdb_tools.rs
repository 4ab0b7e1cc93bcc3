//! LMDB's own tools read a store that was closed: an operator who has nothing else at hand can look
//! into it, and take the rows out.

mod common;

use common::{add, device, devices, options, place, raw};
use lmdb::{Cursor, Transaction};
use pool_metadata::{DeviceState, PoolMetadata};
use std::path::Path;
use std::process::Command;

/// What a tool of LMDB's prints about a file.
fn tool(name: &str, arguments: &[&str], path: &Path) -> String {
    let mut command = Command::new(name);
    // The file is a store by itself, not a directory with one.
    command.arg("-n").args(arguments).arg(path);
    let output = command.output().unwrap_or_else(|e| panic!("{name}: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The rows of a table, as the tool dumps them.
fn dumped(table: &str, path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let dump = tool("mdb_dump", &["-s", table], path);
    let body = dump.split_once("HEADER=END\n").unwrap().1;
    let body = body.strip_suffix("DATA=END\n").unwrap();
    let rows: Vec<Vec<u8>> = body.lines().map(from_hex).collect();
    let pairs = rows.chunks_exact(2);
    assert!(pairs.remainder().is_empty());
    pairs.map(|row| (row[0].clone(), row[1].clone())).collect()
}

/// A line of a dump: a space, then two digits for each byte.
fn from_hex(line: &str) -> Vec<u8> {
    let digits = line.strip_prefix(' ').unwrap().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The rows of a table, as LMDB's library reads them.
fn held(table: &str, path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let environment = raw::readers(path);
    let database = environment.open_db(Some(table)).unwrap();
    let txn = environment.begin_ro_txn().unwrap();
    let mut cursor = txn.open_ro_cursor(database).unwrap();
    let rows = cursor.iter().map(|row| row.unwrap());
    rows.map(|(key, value)| (key.to_vec(), value.to_vec()))
        .collect()
}

/// Compares what the tools print of a closed store with what LMDB reads from it.
fn assert_tools_read(path: &Path) {
    let mut rows = 0;
    for table in ["devices", "ids", "journal"] {
        let dumped = dumped(table, path);
        let held = held(table, path);
        assert!(dumped == held, "{table}");
        rows += held.len();
    }
    let figures = tool("mdb_stat", &["-a"], path);
    let entries = figures
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Entries: "));
    // The header and the tables are entries themselves.
    let entries: usize = entries.map(|n| n.parse::<usize>().unwrap()).sum();
    assert_eq!(entries, rows + 4, "{figures}");
    // Nothing of this has made the store another one.
    let looked = tool("mdb_stat", &["-e"], path);
    assert!(looked.contains("Number of readers used: 0"), "{looked}");
}

#[test]
fn tools_of_lmdb_read_a_store_that_was_closed() {
    let (_directory, path) = place();
    let store = options(10_000).open(&path).unwrap();
    for n in 0..500 {
        add(&store, format!("device-{n}"));
    }
    for n in (0..500).step_by(3) {
        store.remove_device(format!("device-{n}")).unwrap();
    }
    let mut long = device("long");
    long.error = vec![b'e'; 60_000];
    store.add_device(&mut long).unwrap();
    store.mark_faulty("device-1").unwrap();
    store
        .change_device_state("device-2", DeviceState::Activated)
        .unwrap();
    let held = devices(&store);
    store.close().unwrap();

    assert_tools_read(&path);
    let store = PoolMetadata::open(&path).unwrap();
    assert_eq!(devices(&store), held);
    add(&store, "after the tools");
    store.close().unwrap();
    assert_tools_read(&path);
}
