//! `pmctl reconcile`: compares the store with the pool and the snapshotter.

use std::path::PathBuf;

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
use crate::pool::PoolDevices;
use crate::reconcile::{changes, commands, compare, Action, Difference, Given, Store};
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

    /// The store's commit before the lists were made (pmctl stats --commit): what was written
    /// since is left alone. Needed beside a running containerd
    #[arg(long, value_name = "COMMIT")]
    as_of: Option<u64>,

    /// Go on although the pool has none of the store's devices
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
        let held = Store::read(&store)?;
        self.refuse_other_pool(&held, &given)?;
        let found = compare(&held, &given);
        let mut out = Output::new();
        for difference in &found {
            match self.json {
                true => out.line(&as_json(difference))?,
                false => print(difference, context, &mut out)?,
            }
        }
        if found.is_empty() && !self.json {
            out.line(&context.paint.paint(Style::Good, "nothing differs"))?;
        }
        out.finish()?;
        if found.is_empty() {
            return Ok(Outcome::Fine);
        }
        let settled = self.settle(&found, &given, &store, context)?;
        let commands = commands(&found, &self.pool_name(context));
        let mut out = Output::new();
        if !commands.is_empty() && !self.json {
            out.line("for the pool, as root, once nothing uses these devices:")?;
            for command in &commands {
                out.line(&format!("  {command}"))?;
            }
        }
        out.finish()?;
        let by_hand = found.iter().any(|difference| {
            difference.actions.is_empty() || difference.actions.iter().any(|a| !a.is_stores())
        });
        Ok(match settled && !by_hand {
            true => Outcome::Fine,
            false => Outcome::ProblemFound,
        })
    }

    /// Reads the lists.
    fn given(&self) -> Result<Given> {
        let from_stdin =
            |path: &Option<PathBuf>| path.as_ref().is_some_and(|path| path.as_os_str() == "-");
        if from_stdin(&self.pool) && from_stdin(&self.snapshots) {
            return Err(Failure::usage(
                "only one of the lists can be on standard input",
            ));
        }
        let pool = match &self.pool {
            None => None,
            Some(path) => {
                let found = PoolDevices::parse(&read_file(path)?);
                let named = |what| Failure::problem(format!("{}: {what}", path.display()));
                Some(found.map_err(named)?)
            }
        };
        let snapshots = match &self.snapshots {
            None => None,
            Some(path) => {
                let bytes = read_file(path)?;
                let lines = bytes
                    .split(|byte| *byte == b'\n')
                    .filter(|line| !line.is_empty());
                Some(lines.map(name_of).collect::<Result<_>>()?)
            }
        };
        Ok(Given {
            pool,
            snapshots,
            as_of: self.as_of,
        })
    }

    /// Refuses a list in which nothing is the store's: it is most likely another pool's, and every
    /// record would be removed.
    fn refuse_other_pool(&self, store: &Store, given: &Given) -> Result<()> {
        let Some(pool) = &given.pool else {
            return Ok(());
        };
        let shared = store
            .devices
            .iter()
            .any(|device| pool.contains(device.device_id));
        if shared || store.devices.is_empty() || self.other_pool {
            return Ok(());
        }
        Err(Failure::problem(format!(
            "none of the store's {} is in the list: it is that of another pool, or empty; nothing \
             was changed\n--other-pool goes on, for a pool that was made anew",
            text::count(store.devices.len() as u64, "device")
        )))
    }

    /// Makes the changes of the store; whether all of them are made.
    fn settle(
        &self,
        found: &[Difference],
        given: &Given,
        store: &pool_metadata::PoolMetadata,
        context: &Context,
    ) -> Result<bool> {
        let actions = || found.iter().flat_map(|difference| &difference.actions);
        let plan: Vec<_> = actions()
            .filter(|a| a.is_stores())
            .map(Action::words)
            .collect();
        if plan.is_empty() {
            return Ok(true);
        }
        let removes = actions().any(|action| matches!(action, Action::RemoveRecord(_)));
        if removes && self.as_of.is_none() && !self.consent.is_dry_run() {
            let others = processes::open_elsewhere(&context.place.path()?);
            if let Some(other) = others {
                return Err(Failure::problem(format!(
                    "{other} has the store open, and may have made devices since the lists were \
                     made; nothing was changed\nstop it first, or say of when the lists are: \
                     commit=$(pmctl stats --commit), then make the lists, then \
                     --as-of $commit"
                )));
            }
        }
        if !self.consent.to(&plan)? {
            return Ok(false);
        }
        store.apply(&changes(found, given)).map_err(|e| e.error)?;
        Ok(true)
    }

    fn pool_name(&self, context: &Context) -> String {
        let configured = || Some(containerd::read(&context.place.config).ok()?.pool_name);
        let name = self.pool_name.clone().or_else(configured);
        name.unwrap_or_else(|| "POOL".to_owned())
    }
}

fn print(difference: &Difference, context: &Context, out: &mut Output) -> Result<()> {
    out.line(&context.paint.paint(Style::Passing, &difference.what))?;
    for action in &difference.actions {
        let whose = if action.is_stores() { "store" } else { "pool" };
        out.line(&format!("  {whose}: {}", action.words()))?;
    }
    Ok(())
}

fn as_json(difference: &Difference) -> String {
    let words = |stores: bool| -> Vec<_> {
        let actions = difference.actions.iter();
        actions
            .filter(|a| a.is_stores() == stores)
            .map(Action::words)
            .collect()
    };
    json::line(&json!({
        "kind": difference.kind.word(),
        "name": difference.name.as_ref().map(|name| text::escape(name)),
        "first_id": difference.ids.map(|ids| ids.0),
        "last_id": difference.ids.map(|ids| ids.1),
        "what": difference.what,
        "store": words(true),
        "pool": words(false),
    }))
}
