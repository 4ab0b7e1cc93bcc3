//! The pool itself, by `dmsetup`.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use pool_metadata::PoolMetadata;

use super::Findings;
use crate::failure::Result;
use crate::text;

/// From this part on, the use of a pool's metadata or data is worth a word.
const NEARLY_FULL: f64 = 0.8;

/// What `dmsetup status` says of a thin-pool (the kernel's thin-provisioning.rst).
#[derive(Clone, Debug, PartialEq)]
struct Status {
    transaction: u64,
    metadata: Use,
    data: Use,
    mode: String,
    needs_check: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Use {
    used: u64,
    total: u64,
}

pub fn look(pool: &str, store: Option<&PoolMetadata>, found: &mut Findings) -> Result<()> {
    let about = "pool";
    let shown = text::escape_message(pool);
    let status = match dmsetup(&["status", pool]) {
        Answer::Missing => {
            found.note(
                about,
                "dmsetup is not installed, so the pool was not looked at",
                "",
            );
            return Ok(());
        }
        Answer::Failed(why) => {
            found.problem(
                about,
                format!("dmsetup does not find {shown}: {why}"),
                "as root: dmsetup ls --target thin-pool; after a reboot the pool has to be set up \
                 before containerd starts",
            );
            return Ok(());
        }
        Answer::Output(output) => output,
    };
    match parse(&status) {
        Some(Ok(status)) => judge(&shown, &status, found),
        Some(Err(state)) => found.problem(
            about,
            format!("{shown} is in the state {state}: it serves no requests"),
            "dmesg | grep thin; then stop what uses the pool, and thin_check its metadata device",
        ),
        None => found.note(
            about,
            format!("{shown} is no thin-pool by dmsetup: {status}"),
            "",
        ),
    }
    if let (Some(store), Answer::Output(table)) = (store, dmsetup(&["table", "--target", "thin"])) {
        compare(&active(&table), store, found)?;
    }
    Ok(())
}

fn judge(pool: &str, status: &Status, found: &mut Findings) {
    let about = "pool";
    match &*status.mode {
        "rw" => {}
        "out_of_data_space" => found.problem(
            about,
            format!("{pool} has no data blocks left"),
            "extend its data device, or remove snapshots (docs/operators.md)",
        ),
        other => found.problem(
            about,
            format!("{pool} is in the mode {other} and takes no writes"),
            "dmesg | grep thin; then stop what uses the pool, and thin_check its metadata device",
        ),
    }
    if status.needs_check {
        found.problem(
            about,
            format!("{pool} asks to be checked"),
            "stop what uses the pool, deactivate it, and thin_check its metadata device",
        );
    }
    for (name, part) in [("metadata", status.metadata), ("data", status.data)] {
        let share = part.used as f64 / part.total.max(1) as f64;
        if share >= NEARLY_FULL {
            let percent = (share * 100.0).round();
            let what = format!("{percent} % of the blocks for {name} are in use");
            found.note(about, what, "extend it in time, or remove snapshots");
        }
    }
    found.fine(
        about,
        format!("{pool} is at transaction {}", status.transaction),
    );
}

/// Compares the thin devices that are active in the kernel with those of the store, by name.
fn compare(
    active: &BTreeMap<String, u32>,
    store: &PoolMetadata,
    found: &mut Findings,
) -> Result<()> {
    let mut matching = 0;
    for (name, id) in active {
        let Ok(device) = store.get_device(name.as_bytes()) else {
            continue;
        };
        if device.device_id == *id {
            matching += 1;
        } else {
            found.problem(
                "pool",
                format!(
                    "{} is active in the kernel as id {id}, and has id {} in the store",
                    text::word(name.as_bytes()),
                    device.device_id
                ),
                "do not start containerd; compare them first: pmctl reconcile --pool FILE \
                 (docs/operators.md)",
            );
        }
    }
    found.fine(
        "pool",
        format!("{matching} devices of the store are active, with their ids"),
    );
    Ok(())
}

/// Reads a line of `dmsetup status`: the status, or the one word for a pool that has failed. `None`
/// for other targets.
fn parse(line: &str) -> Option<std::result::Result<Status, String>> {
    let words: Vec<_> = line.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "thin-pool")?;
    let words = &words[at + 1..];
    let [transaction, metadata, data, _held, mode, rest @ ..] = words else {
        return words.first().map(|state| Err((*state).to_owned()));
    };
    Some(Ok(Status {
        transaction: transaction.parse().ok()?,
        metadata: Use::parse(metadata)?,
        data: Use::parse(data)?,
        mode: (*mode).to_owned(),
        needs_check: rest.contains(&"needs_check"),
    }))
}

impl Use {
    fn parse(text: &str) -> Option<Use> {
        let (used, total) = text.split_once('/')?;
        Some(Use {
            used: used.parse().ok()?,
            total: total.parse().ok()?,
        })
    }
}

/// Names and ids of the thin devices in the output of `dmsetup table`:
/// "name: 0 20971520 thin 253:2 7".
fn active(table: &str) -> BTreeMap<String, u32> {
    table
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(": ")?;
            let words: Vec<_> = rest.split_whitespace().collect();
            match words[..] {
                [_, _, "thin", _, id, ..] => Some((name.to_owned(), id.parse().ok()?)),
                _ => None,
            }
        })
        .collect()
}

enum Answer {
    /// There is no such program.
    Missing,
    Failed(String),
    Output(String),
}

fn dmsetup(arguments: &[&str]) -> Answer {
    let run = Command::new("dmsetup")
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    match run {
        Err(_) => Answer::Missing,
        Ok(output) if output.status.success() => Answer::Output(
            String::from_utf8_lossy(&output.stdout)
                .trim_end()
                .to_owned(),
        ),
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            let last = why.lines().rev().find(|line| !line.trim().is_empty());
            Answer::Failed(last.unwrap_or("it failed").trim().to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn status_of_every_state_of_a_pool_is_read() {
        let line = "0 209715200 thin-pool 7 100/4096 3/1000 - rw discard_passdown \
                    queue_if_no_space - 1024";
        let status = parse(line).unwrap().unwrap();
        let full = |used, total| Use { used, total };
        assert_eq!((status.transaction, status.metadata), (7, full(100, 4096)));
        assert_eq!((status.mode.as_str(), status.needs_check), ("rw", false));
        let checked = line
            .replace(" - 1024", " needs_check 1024")
            .replace(" rw ", " ro ");
        let status = parse(&checked).unwrap().unwrap();
        assert_eq!((status.mode.as_str(), status.needs_check), ("ro", true));
        assert_eq!(parse("0 2 thin-pool Fail").unwrap(), Err("Fail".to_owned()));
        assert!(parse("0 2 linear 8:1 0").is_none());
        assert!(parse("0 2 thin-pool a 1/2 3/4 - rw").is_none());
    }

    #[test]
    fn pool_that_is_full_or_read_only_is_a_problem() {
        let of = |line: &str| {
            let mut found = Findings::default();
            judge("p", &parse(line).unwrap().unwrap(), &mut found);
            found
                .all
                .iter()
                .map(|finding| finding.level)
                .collect::<Vec<_>>()
        };
        assert_eq!(of("0 2 thin-pool 1 1/9 1/9 - rw x y - 1"), [Level::Fine]);
        let bad = of("0 2 thin-pool 1 8/9 1/9 - ro x y needs_check 1");
        assert_eq!(
            bad,
            [Level::Problem, Level::Problem, Level::Note, Level::Fine]
        );
        let full = of("0 2 thin-pool 1 1/9 9/9 - out_of_data_space x y - 1");
        assert_eq!(full, [Level::Problem, Level::Note, Level::Fine]);
    }

    #[test]
    fn active_devices_are_those_of_thin_targets() {
        let found =
            active("a: 0 20 thin 253:2 7\nb: 0 20 linear 8:1 0\nc: 0 20 thin 253:2 9 8:1\n");
        assert_eq!(
            found,
            BTreeMap::from([("a".to_owned(), 7), ("c".to_owned(), 9)])
        );
        assert!(active("No devices found\n").is_empty());
    }
}
