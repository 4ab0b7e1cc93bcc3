//! `pmctl stats`: counts, sizes, readers, and what each process has done.

use std::collections::BTreeMap;
use std::time::Instant;

use pool_metadata::{DeviceState, Error, PoolMetadata, RunningRead, Stats};
use serde_json::{json, Map, Value};

use crate::bars;
use crate::context::{Context, Outcome};
use crate::failure::Result;
use crate::json;
use crate::output::{Output, Style};
use crate::processes::{self, Process};
use crate::text;

/// Show counts, sizes, and what each process that has the store open does
///
/// For each of these processes, such as containerd: its commits, how long they took, and its
/// flushes, since it opened the store. Root may look at all processes, other users at their own.
/// Processes in other containers are seen from the host alone.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// As one JSON object, sizes in bytes
    #[arg(long)]
    json: bool,

    /// Only the number of the last commit
    #[arg(long, conflicts_with = "json")]
    commit: bool,

    /// Read N devices, and show how long each read took
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    time_reads: u64,
}

/// More reads say nothing that these do not.
const MOST_READS: u64 = 1_000_000;

/// A read of another process that is as many commits behind is worth a look.
const LONG_READ: u64 = 10_000;

/// No other process notices a copy, and a copy shows no reads of others.
const COPY: &str = "as a private copy (docs/options.md): other reads are not known";

/// What was found out.
struct Found {
    stats: Stats,
    /// The pool that the store belongs to, if it was ever named.
    identity: Option<String>,
    states: BTreeMap<DeviceState, u64>,
    /// Sizes of all devices, added up.
    bytes: u128,
    /// Reads of other processes, the oldest first.
    reads: Vec<RunningRead>,
    /// The other processes that have the store open.
    processes: pool_metadata::Result<Vec<Process>>,
    /// Nanoseconds of each read that was timed.
    times: Vec<u64>,
}

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        let store = context.place.read()?;
        if self.commit {
            let mut out = Output::new();
            out.line(&store.stats()?.commits.to_string())?;
            out.finish()?;
            return Ok(Outcome::Fine);
        }
        let found = Found::read(&store, self.time_reads)?;
        let mut out = Output::new();
        if self.json {
            out.line(&json::line(&found.json()))?;
        } else {
            let path = text::escape_message(&store.path().to_string_lossy());
            out.line(&context.paint.paint(Style::Bold, &path))?;
            for (key, value) in found.rows() {
                out.line(&format!("  {key:<22} {value}"))?;
            }
            for read in &found.reads {
                out.line(&format!("    {}", described(read)))?;
            }
            let states = found.states.iter();
            let states = states.map(|(state, count)| (state.name().to_owned(), *count));
            print_bars(
                "devices by state",
                &states.collect::<Vec<_>>(),
                context,
                &mut out,
            )?;
            print_bars(
                "time of a read",
                &bars::times(&found.times),
                context,
                &mut out,
            )?;
            if let Ok(processes @ [_, ..]) = found.processes.as_deref() {
                out.line(&context.paint.paint(Style::Bold, "open in process"))?;
                for line in processes.iter().flat_map(Process::lines) {
                    out.line(&line)?;
                }
            }
            for line in found.warnings() {
                out.line(&context.paint.paint(Style::Bad, &line))?;
            }
        }
        out.finish()?;
        Ok(Outcome::Fine)
    }
}

impl Found {
    fn read(store: &PoolMetadata, timed: u64) -> Result<Found> {
        let mut states = BTreeMap::<DeviceState, u64>::new();
        let mut bytes = 0_u128;
        let mut walk = store.walk()?;
        while let Some(device) = walk.next_ref()? {
            *states.entry(device.state).or_default() += 1;
            bytes += u128::from(device.size);
        }
        drop(walk);
        Ok(Found {
            stats: store.stats()?,
            identity: store.identity()?.map(|name| text::escape(&name)),
            states,
            bytes,
            reads: other_reads(store)?,
            processes: processes::others(store.path()),
            times: times(store, timed)?,
        })
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let stats = &self.stats;
        let pages = |pages: u64| pages.saturating_mul(stats.page_size);
        let in_use = stats.map_used.saturating_sub(pages(stats.pages_free));
        let slots = format!("{} of {} used", stats.readers_in_use, stats.max_readers);
        vec![
            (
                "read",
                if stats.is_copy { COPY } else { "in place" }.to_owned(),
            ),
            (
                "pool",
                self.identity
                    .clone()
                    .unwrap_or_else(|| "not named".to_owned()),
            ),
            ("devices", stats.devices.to_string()),
            ("sizes, added up", text::size(total(self.bytes))),
            ("ids taken", stats.taken_ids.to_string()),
            ("ids free", stats.free_ids.to_string()),
            ("ids faulty", stats.faulty_ids.to_string()),
            ("highest id", stats.last_id.to_string()),
            ("commits", stats.commits.to_string()),
            ("file", text::size(stats.file_size)),
            ("in use", text::size(in_use)),
            ("free in the file", text::size(pages(stats.pages_free))),
            ("held by readers", text::size(pages(stats.pages_held))),
            ("page", text::size(stats.page_size)),
            ("reader slots", slots),
            ("reads running", self.reads.len().to_string()),
            ("open in", self.open_in()),
        ]
    }

    fn open_in(&self) -> String {
        match &self.processes {
            Ok(processes) => match processes.len() {
                1 => "1 process".to_owned(),
                number => format!("{number} processes"),
            },
            Err(error) => format!("not known: {error}"),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let stats = &self.stats;
        if self
            .reads
            .first()
            .is_some_and(|read| read.commits_behind > LONG_READ)
        {
            warnings.push(
                "a read that goes on for so long keeps the file growing: let its process end it \
                 (docs/operators.md)"
                    .to_owned(),
            );
        }
        warnings.extend(self.processes.iter().flatten().filter_map(Process::warning));
        if stats.faulty_ids > stats.devices.max(100) {
            warnings.push(
                "more ids are faulty than there are devices: docs/operators.md, \"Faulty ids pile \
                 up\""
                    .to_owned(),
            );
        }
        warnings
    }

    fn json(&self) -> Value {
        let stats = &self.stats;
        let states = self.states.iter();
        let states = states.map(|(state, count)| (state.name().to_owned(), (*count).into()));
        let reads = self.reads.iter().map(|read| {
            json!({
                "pid": read.pid,
                "program": processes::program(read.pid),
                "commits_behind": read.commits_behind,
            })
        });
        let processes = self.processes.as_ref().ok();
        let processes =
            processes.map(|processes| processes.iter().map(Process::json).collect::<Vec<_>>());
        json!({
            "is_copy": stats.is_copy,
            "identity": self.identity,
            "devices": stats.devices,
            "devices_by_state": states.collect::<Map<_, Value>>(),
            "size_of_devices": total(self.bytes),
            "taken_ids": stats.taken_ids,
            "free_ids": stats.free_ids,
            "faulty_ids": stats.faulty_ids,
            "last_id": stats.last_id,
            "commits": stats.commits,
            "file_size": stats.file_size,
            "map_used": stats.map_used,
            "page_size": stats.page_size,
            "pages_free": stats.pages_free,
            "pages_held": stats.pages_held,
            "max_readers": stats.max_readers,
            "readers_in_use": stats.readers_in_use,
            "running_reads": reads.collect::<Vec<_>>(),
            "processes": processes,
            "read_nanoseconds": self.times,
        })
    }
}

/// The reads that are running, but for this process's own, the oldest first.
fn other_reads(store: &PoolMetadata) -> Result<Vec<RunningRead>> {
    let mut reads = store.running_reads()?;
    reads.retain(|read| read.pid != std::process::id());
    reads.sort_by_key(|read| std::cmp::Reverse(read.commits_behind));
    Ok(reads)
}

/// "process 123 (containerd), 7 commits behind".
fn described(read: &RunningRead) -> String {
    let behind = text::count(read.commits_behind, "commit");
    format!("process {}, {behind} behind", processes::name(read.pid))
}

/// How many nanoseconds each read took of devices from all over the store.
fn times(store: &PoolMetadata, number: u64) -> Result<Vec<u64>> {
    let mut times = Vec::new();
    if number == 0 {
        return Ok(times);
    }
    let names = store.get_device_names()?;
    for n in 0..number.min(MOST_READS) {
        // The stride has no factor in common with most numbers of devices.
        let Some(at) = (n * 7919).checked_rem(names.len() as u64) else {
            break;
        };
        let begin = Instant::now();
        match store.get_device(&names[at as usize]) {
            Ok(_) | Err(Error::NotFound { .. }) => {}
            Err(other) => return Err(other.into()),
        }
        times.push(begin.elapsed().as_nanos() as u64);
    }
    Ok(times)
}

fn total(bytes: u128) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn print_bars(
    title: &str,
    rows: &[(String, u64)],
    context: &Context,
    out: &mut Output,
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    out.line(&context.paint.paint(Style::Bold, title))?;
    for line in bars::lines(rows) {
        out.line(&line)?;
    }
    Ok(())
}
