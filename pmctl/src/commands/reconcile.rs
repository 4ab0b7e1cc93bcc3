//! `pmctl reconcile`: compares the store with the pool and the snapshotter.

use std::collections::BTreeSet;
use std::path::PathBuf;

use pool_metadata::{Difference, DifferenceKind, PoolState, Reconciliation, StoreAction};
use serde_json::json;

use crate::ask::Consent;
use crate::commands::devices::read_file;
use crate::commands::name_of;
use crate::containerd;
use crate::context::{Context, Outcome};
use crate::doctor::processes;
use crate::failure::{Failure, Result};
use crate::json;
use crate::output::{Output, Style};
use crate::pool;
use crate::text;

/// Compare the store with the pool, the snapshotter, or both, and settle what differs
///
/// The changes of the store are made in one commit, or not at all. What the pool needs is printed
/// as commands to run: pmctl sends nothing to the kernel. Exit code 1: something differs that is
/// not settled.
#[derive(clap::Args, Debug)]
#[group(id = "lists", required = true, multiple = true, args = ["pool", "snapshots"])]
pub struct Args {
    /// What the pool holds: output of thin_ls (default form or --format) or thin_dump, or ids, one
    /// a line; - for standard input
    #[arg(long, value_name = "FILE")]
    pool: Option<PathBuf>,

    /// The devices that the snapshotter's snapshots have, a name a line; - for standard input
    #[arg(long, value_name = "FILE")]
    snapshots: Option<PathBuf>,

    /// The store's commit a minute before the lists were made (pmctl stats --commit): what was
    /// written since is left alone. Needed beside a running containerd, which adds the device of a
    /// new snapshot before the snapshot
    #[arg(long, value_name = "COMMIT")]
    as_of: Option<u64>,

    /// Go on although the pool, or the snapshots, have none of the store's devices
    #[arg(long)]
    other_pool: bool,

    /// The pool's name in the commands; by default the one in containerd's configuration
    #[arg(long, value_name = "NAME")]
    pool_name: Option<String>,

    /// One JSON object a difference
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    consent: Consent,
}

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        let given = self.given()?;
        let store = context.place.open_for(self.consent)?;
        let found = store.reconcile(&given)?;
        self.refuse_other_pool(&given, &found, store.stats()?.devices)?;
        let pool = self.pool_path(context);
        let mut out = Output::new();
        for run in runs(&found.differences) {
            match self.json {
                true => out.line(&as_json(run, &pool))?,
                false => print(run, context, &mut out)?,
            }
        }
        if found.is_in_step() && !self.json {
            out.line(&context.paint.paint(Style::Good, "nothing differs"))?;
        }
        out.finish()?;
        if found.is_in_step() {
            return Ok(Outcome::Fine);
        }
        let plan: Vec<_> = runs(&found.differences).filter_map(action).collect();
        let settled = plan.is_empty() || {
            self.refuse_lists_of_unknown_age(&found.differences, context)?;
            self.consent.to(&plan)? && {
                store.apply_reconciliation(&found)?;
                true
            }
        };
        if !self.json {
            print_commands(&found.differences, &pool)?;
        }
        let by_hand = found.differences.iter().any(|difference| {
            difference.delete_from_pool || difference.action == StoreAction::Nothing
        });
        Ok(match settled && !by_hand {
            true => Outcome::Fine,
            false => Outcome::ProblemFound,
        })
    }

    /// Reads the lists.
    fn given(&self) -> Result<PoolState> {
        let from_stdin =
            |path: &Option<PathBuf>| path.as_ref().is_some_and(|path| path.as_os_str() == "-");
        if from_stdin(&self.pool) && from_stdin(&self.snapshots) {
            return Err(Failure::usage(
                "only one of the lists can be on standard input",
            ));
        }
        let mut given = PoolState {
            commit: self.as_of,
            ..PoolState::default()
        };
        if let Some(path) = &self.pool {
            let named = |what| Failure::problem(format!("{}: {what}", path.display()));
            given.devices = Some(pool::parse(&read_file(path)?).map_err(named)?);
        }
        if let Some(path) = &self.snapshots {
            let bytes = read_file(path)?;
            let lines = bytes
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty());
            given.snapshots = Some(lines.map(name_of).collect::<Result<_>>()?);
        }
        Ok(given)
    }

    /// Refuses a list in which nothing is the store's: it is most likely another pool's, or the
    /// program that should have written it has failed, and every record would be removed.
    fn refuse_other_pool(
        &self,
        given: &PoolState,
        found: &Reconciliation,
        devices: u64,
    ) -> Result<()> {
        let number = |kind| {
            let differences = found.differences.iter();
            differences.filter(|each| each.kind == kind).count()
        };
        let names = given.snapshots.as_ref();
        let unknown = number(DifferenceKind::NoDevice);
        let list = if given.devices.is_some() && found.in_both == 0 {
            "list of the pool's devices"
        } else if names.is_some_and(|names| names.iter().collect::<BTreeSet<_>>().len() == unknown)
            && number(DifferenceKind::NoSnapshot) > 0
        {
            "list of snapshots"
        } else {
            return Ok(());
        };
        if devices <= found.newer || self.other_pool {
            return Ok(());
        }
        Err(Failure::problem(format!(
            "none of the store's {} is in the {list}: it is that of another pool, or empty; \
             nothing was changed\n--other-pool goes on, for a pool that was made anew",
            text::count(devices, "device")
        )))
    }

    /// Refuses to remove records by lists that may be older than the devices.
    fn refuse_lists_of_unknown_age(
        &self,
        differences: &[Difference],
        context: &Context,
    ) -> Result<()> {
        let removes = differences.iter().any(|difference| {
            use StoreAction::{RemoveRecord, RemoveRecordKeepId};
            matches!(difference.action, RemoveRecord | RemoveRecordKeepId)
        });
        if !removes || self.as_of.is_some() || self.consent.is_dry_run() {
            return Ok(());
        }
        let Some(other) = processes::open_elsewhere(&context.place.path()?) else {
            return Ok(());
        };
        Err(Failure::problem(format!(
            "{other} has the store open, and may have made devices since the lists were made; \
             nothing was changed\nstop it first, or say of when the lists are: \
             commit=$(pmctl stats --commit), a minute later the lists, then --as-of $commit"
        )))
    }

    /// The path of the pool's device.
    fn pool_path(&self, context: &Context) -> String {
        let configured = || Some(containerd::read(&context.place.config).ok()?.pool_name);
        let name = self.pool_name.clone().or_else(configured);
        format!("/dev/mapper/{}", name.as_deref().unwrap_or("POOL"))
    }
}

/// The differences one by one, but for leaked ids that follow each other, of which there may be
/// very many.
fn runs(differences: &[Difference]) -> impl Iterator<Item = &[Difference]> {
    differences.chunk_by(|one, next| {
        let leaked = |each: &Difference| each.kind == DifferenceKind::IdLeaked;
        leaked(one) && leaked(next) && one.device_id.map(|id| id + 1) == next.device_id
    })
}

/// The first and the last id of a run.
fn ids(run: &[Difference]) -> (Option<u32>, Option<u32>) {
    let id = |each: Option<&Difference>| each.and_then(|each| each.device_id);
    (id(run.first()), id(run.last()))
}

/// What is wrong with a run.
fn what(run: &[Difference]) -> String {
    match (run, ids(run)) {
        ([one], _) => text::escape_message(&one.what),
        (_, (Some(first), Some(last))) => {
            format!("the ids {first}-{last} are faulty, and neither a device nor the pool has them")
        }
        _ => String::new(),
    }
}

/// What is to be done in the store about a run, if anything.
fn action(run: &[Difference]) -> Option<String> {
    let difference = run.first()?;
    let name = || text::word(difference.name.as_deref().unwrap_or_default());
    let (Some(first), Some(last)) = ids(run) else {
        return None;
    };
    Some(match difference.action {
        StoreAction::Nothing => return None,
        StoreAction::FreeId if first == last => format!("free id {first}"),
        StoreAction::FreeId => format!("free the ids {first}-{last}"),
        StoreAction::MarkIdFaulty => format!("make id {first} faulty, so that no device gets it"),
        StoreAction::RemoveRecord => format!("remove the record of {}", name()),
        StoreAction::RemoveRecordKeepId => format!(
            "remove the record of {}, and make id {first} faulty, so that no device gets it",
            name()
        ),
        _ => "do what this release of pmctl does not know".to_owned(),
    })
}

fn print(run: &[Difference], context: &Context, out: &mut Output) -> Result<()> {
    out.line(&context.paint.paint(Style::Passing, &what(run)))?;
    match action(run) {
        Some(action) => out.line(&format!("  store: {action}")),
        None => Ok(()),
    }
}

fn print_commands(differences: &[Difference], pool: &str) -> Result<()> {
    let mut out = Output::new();
    let commands = differences
        .iter()
        .flat_map(|difference| difference.pool_commands(pool));
    for (at, command) in commands.enumerate() {
        if at == 0 {
            out.line("for the pool, as root, once nothing uses these devices:")?;
        }
        out.line(&format!("  {command}"))?;
    }
    out.finish()
}

fn as_json(run: &[Difference], pool: &str) -> String {
    let (first_id, last_id) = ids(run);
    let first = run.first();
    let name = first.and_then(|each| each.name.as_ref());
    json::line(&json!({
        "kind": first.map(|each| format!("{:?}", each.kind)),
        "name": name.map(|name| text::escape(name)),
        "first_id": first_id,
        "last_id": last_id,
        "what": what(run),
        "store": action(run),
        "pool": first.map(|each| each.pool_commands(pool)),
    }))
}
