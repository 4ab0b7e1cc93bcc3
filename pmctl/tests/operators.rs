//! Every command of docs/operators.md is run, in the situation that it is for.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use common::{add, devices, Place};
use pool_metadata::{DeviceInfo, DeviceState, PoolMetadata};

/// A block of commands, and the heading that it is under.
struct Block {
    heading: String,
    commands: String,
}

fn blocks() -> Vec<Block> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operators.md");
    let mut heading = String::new();
    let mut found = Vec::new();
    let mut block: Option<String> = None;
    for line in fs::read_to_string(page).unwrap().lines() {
        match &mut block {
            None if line == "```sh" => block = Some(String::new()),
            None => {
                if let Some(title) = line.strip_prefix("## ") {
                    heading = title.to_owned();
                }
            }
            Some(_) if line == "```" => found.push(Block {
                heading: heading.clone(),
                commands: block.take().unwrap(),
            }),
            Some(commands) => commands.push_str(&format!("{line}\n")),
        }
    }
    found
}

/// A node: a store, a pool with the ids 1, 2, 9, 17 and 42, and stand-ins for the programs that
/// need one.
struct Node {
    place: Place,
}

/// Programs that do nothing but say that they were called.
const STAND_INS: [&str; 4] = ["systemctl", "dmsetup", "pm-migrate", "sleep"];

impl Node {
    fn new() -> Node {
        let place = Place::with(|store| {
            for n in [1, 2] {
                add(
                    store,
                    &format!("containerd-pool-snap-{n}"),
                    "",
                    1 << 30,
                    DeviceState::Activated,
                );
            }
            // The ids 3 to 41 are free, but for 23, which is faulty.
            for n in 3..=42 {
                add(
                    store,
                    &format!("containerd-pool-snap-{n}"),
                    "",
                    1 << 30,
                    DeviceState::Activated,
                );
            }
            store.mark_faulty("containerd-pool-snap-23").unwrap();
            add(
                store,
                "containerd-pool-snap-23",
                "",
                1 << 30,
                DeviceState::Created,
            );
            for n in 3..=41 {
                store
                    .remove_device(format!("containerd-pool-snap-{n}"))
                    .unwrap();
            }
        });
        let node = Node { place };
        fs::create_dir(node.place.path("bin")).unwrap();
        fs::create_dir(node.place.path("backup")).unwrap();
        for name in STAND_INS {
            node.program(name, "exit 0");
        }
        let script = "case $1 in from) cp \"$2\" \"$3\" ;; \
                      snapshots) printf 'containerd-pool-snap-%s\\n' 1 2 ;; esac";
        node.program("pm-migrate", script);
        node.program(
            "thin_ls",
            "printf 'DEV MAPPED_BLOCKS TRANSACTION\\n'\nprintf '%s 1 1\\n' 1 2 9 17 42",
        );
        // As in the page, but that nobody is there to answer.
        let pmctl = env!("CARGO_BIN_EXE_pmctl");
        let script = format!(
            "case $1 in mark-faulty|rm|restore|repair|compact|load|free-id|reconcile)\n\
             case \" $* \" in *' -n '*) ;; *) set -- \"$@\" -y ;; esac ;; esac\n\
             {pmctl} \"$@\"\ncode=$?\necho \"$code $1\" >>\"$CODES\"\nexit $code"
        );
        node.program("pmctl", &script);
        node.write(
            "pool.txt",
            "DEV MAPPED_BLOCKS TRANSACTION\n1 1 1\n2 1 1\n9 1 1\n17 1 1\n42 1 1\n",
        );
        node
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.place.path("bin").join(name);
        let script = format!("#!/bin/sh\necho \"{name} $*\" >>\"$CALLS\"\n{script}\n");
        fs::write(&path, script).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.place.path(name), text).unwrap();
    }

    /// Runs a block. Returns what was printed; fails if a command that should not has failed.
    fn run(&self, block: &Block, may_find_problems: &[&str]) -> String {
        let directory = self.place.directory.path().to_str().unwrap();
        let commands = block
            .commands
            .replace("/backup/", &format!("{directory}/backup/"));
        let mut shell = Command::new("sh");
        shell
            .args(["-uc", &format!("commit=999\n{commands}")])
            .env(
                "PATH",
                format!("{directory}/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            )
            .env("PM_STORE", &self.place.store)
            .env("CODES", self.place.path("codes"))
            .env("CALLS", self.place.path("calls"))
            .env("LC_ALL", "C");
        let run = self.place.finish(shell, b"");
        let shown = format!(
            "{}: {}\n{}{}",
            block.heading, block.commands, run.out, run.err
        );
        assert!(!run.err.contains("not found"), "{shown}");
        let codes = fs::read_to_string(self.place.path("codes")).unwrap_or_default();
        let asked = block.commands.matches("pmctl ").count();
        assert_eq!(
            codes.lines().count(),
            asked,
            "not every command was run: {shown}"
        );
        for line in codes.lines() {
            let (code, command) = line.split_once(' ').unwrap();
            let fine = code == "0" || (code == "1" && may_find_problems.contains(&command));
            assert!(fine, "{line}: {shown}");
        }
        let _ = fs::remove_file(self.place.path("codes"));
        run.out
    }

    fn has(&self, name: &str) -> bool {
        let all = devices(&self.place.store);
        all.iter().any(|device| device.name == name.as_bytes())
    }

    fn faulty(&self) -> Vec<u32> {
        let store = PoolMetadata::open(&self.place.store).unwrap();
        let ids = store.walk().unwrap().ids().unwrap();
        ids.faulty
    }

    /// Takes a row of the store away, so that it is refused.
    fn damage(&self) {
        let mut bytes = fs::read(&self.place.store).unwrap();
        let name = b"containerd-pool-snap-42";
        // Every copy of the record loses its checksum.
        let mut at = 0;
        while let Some(found) = bytes[at..]
            .windows(name.len())
            .position(|window| window == name)
        {
            at += found + name.len();
            bytes[at + 1] ^= 1;
        }
        assert!(at > 0);
        fs::write(&self.place.store, bytes).unwrap();
    }
}

/// Runs a block in its situation, and looks at what has come of it.
fn try_out(block: &Block, number: usize) {
    let node = Node::new();
    let snap = "containerd-pool-snap-42";
    match (block.heading.as_str(), number) {
        ("First", 0) => {
            let out = node.run(block, &["doctor"]);
            assert!(out.contains("pool.db: sound\n"), "{out}");
        }
        ("Jammed after a power cut", 0) => {
            let store = PoolMetadata::open(&node.place.store).unwrap();
            store.add_device(&mut DeviceInfo::new(snap)).unwrap_err();
            node.run(block, &[]);
            store.add_device(&mut DeviceInfo::new(snap)).unwrap();
            assert_ne!(store.get_device(snap).unwrap().device_id, 42);
            drop(store);
            assert!(node.faulty().contains(&42));
        }
        ("\"File exists\" for an id", 0) => {
            node.run(block, &["reconcile"]);
            // 23 was faulty for nothing; 9 and 17 are in the pool.
            assert_eq!(node.faulty(), [9, 17]);
        }
        ("Faulty ids pile up", 0) => {
            let out = node.run(block, &["reconcile"]);
            assert!(out.contains("id 23 is faulty, and neither"), "{out}");
            assert_eq!(node.faulty(), [9, 17]);
        }
        ("Faulty ids pile up", 1) => {
            node.run(block, &[]);
            assert_eq!(node.faulty(), [0; 0]);
        }
        ("Snapshots left over", 0) => {
            let out = node.run(block, &["reconcile"]);
            assert!(
                out.contains("dmsetup message /dev/mapper/POOL 0 'delete 42'"),
                "{out}"
            );
            assert!(!node.has(snap) && node.faulty().contains(&42));
        }
        ("Snapshots left over", 1) => {
            node.run(block, &[]);
            assert!(!node.has(snap) && !node.faulty().contains(&42));
        }
        ("Listing the pool", 0) => {
            let out = node.run(block, &["reconcile"]);
            assert!(out.contains("id 9 (1 block) is in the pool"), "{out}");
            let calls = fs::read_to_string(node.place.path("calls")).unwrap();
            let of_dmsetup = calls
                .lines()
                .filter(|line| line.starts_with("dmsetup message"));
            assert_eq!(of_dmsetup.count(), 2);
        }
        ("What recovery logs", 0) => {
            let out = node.run(block, &["reconcile"]);
            assert!(out.contains("id 9 (1 block) is in the pool"), "{out}");
            assert_eq!(node.faulty(), [9, 17]);
        }
        ("What recovery logs", 1 | 2) => {
            node.run(block, &[]);
        }
        ("What recovery logs", 3) => {
            let store = PoolMetadata::open(&node.place.store).unwrap();
            store.add_device(&mut DeviceInfo::new(snap)).unwrap_err();
            node.run(block, &[]);
            store.add_device(&mut DeviceInfo::new(snap)).unwrap();
        }
        ("The store is damaged", 0) => {
            node.damage();
            let out = node.run(block, &["check"]);
            assert!(out.contains("has a damaged record"), "{out}");
        }
        ("The store is damaged", 1) => {
            node.run(block, &[]);
        }
        ("The store is damaged", 2) => {
            let backup = node.place.path("backup").join("containerd-pool.db");
            node.place
                .run(["backup".as_ref(), backup.as_os_str()])
                .expect(0);
            node.damage();
            node.run(block, &["reconcile"]);
            assert!(node.has(snap));
        }
        ("The store is damaged", 3) => {
            node.damage();
            node.run(block, &["salvage", "reconcile"]);
            assert!(node.has("containerd-pool-snap-1"));
        }
        ("Backups", 0) => {
            let out = node.run(block, &[]);
            assert!(out.contains("new.db: sound\n"), "{out}");
        }
        ("The disk is full", 0) => {
            node.run(block, &[]);
            assert!(node.has(snap));
        }
        ("The file keeps growing", 0) => {
            let store = PoolMetadata::open(&node.place.store).unwrap();
            let _walk = store.walk().unwrap();
            store.remove_device(snap).unwrap();
            let out = node.run(block, &[]);
            let this = format!("process {} (", std::process::id());
            assert!(
                out.contains(&this) && out.contains("1 commit behind"),
                "{out}"
            );
        }
        ("Slow writes", 0) => {
            let store = PoolMetadata::open(&node.place.store).unwrap();
            store.remove_device(snap).unwrap();
            let out = node.run(block, &[]);
            assert!(out.contains("    flushes                1\n"), "{out}");
            assert!(out.contains("    time of a commit       "), "{out}");
        }
        ("Moving the pool", 0) => {
            let out = node.run(block, &[]);
            assert!(out.contains("elsewhere.db: sound\n"), "{out}");
        }
        ("Moving the pool", 1) => {
            node.run(block, &[]);
            let loaded = node.place.path("backup").join("loaded.db");
            assert_eq!(devices(&loaded).len(), 3);
        }
        ("Going back to the stock store", 0) => {
            node.run(block, &[]);
            assert!(node.place.path("pool.db.lmdb").exists() && node.place.store.exists());
        }
        (heading, number) => panic!("block {number} of \"{heading}\" is not tried out"),
    }
}

#[test]
fn every_command_of_the_operators_page_does_what_the_page_says() {
    let blocks = blocks();
    assert!(blocks.len() >= 17, "{}", blocks.len());
    let mut number = 0;
    for (at, block) in blocks.iter().enumerate() {
        let same = at > 0 && blocks[at - 1].heading == block.heading;
        number = if same { number + 1 } else { 0 };
        try_out(block, number);
    }
}
