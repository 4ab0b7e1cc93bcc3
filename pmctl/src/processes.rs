//! The processes that have the store open, and what each has counted since it opened it.

use std::fs;
use std::path::Path;

use pool_metadata::{Histogram, PoolMetadata, ProcessCounts, ProcessStats};
use serde_json::{json, Value};

use crate::bars;
use crate::text;

/// A process, other than this one, that has the store open.
pub struct Process {
    found: ProcessStats,
    program: Option<String>,
}

/// Those of the store at that path, as far as this user may look.
pub fn others(path: &Path) -> pool_metadata::Result<Vec<Process>> {
    let mut found = PoolMetadata::processes(path)?;
    found.retain(|process| process.pid != std::process::id());
    let named = |found: ProcessStats| Process {
        program: program(found.pid),
        found,
    };
    Ok(found.into_iter().map(named).collect())
}

/// The name of a process's program. The process may be in another PID namespace, or have ended.
pub fn program(pid: u32) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(text::escape(name.trim_ascii_end()))
}

/// "4711 (containerd)".
pub fn name(pid: u32) -> String {
    described(pid, program(pid).as_deref())
}

fn described(pid: u32, program: Option<&str>) -> String {
    let program = program.map_or(String::new(), |program| format!(" ({program})"));
    format!("{pid}{program}")
}

impl Process {
    /// "4711 (containerd)".
    pub fn name(&self) -> String {
        described(self.found.pid, self.program.as_deref())
    }

    /// What it has counted, or why that is not known.
    pub fn lines(&self) -> Vec<String> {
        let counts = match &self.found.counts {
            Ok(counts) => counts,
            Err(why) => return vec![format!("  {}: {why}", self.name())],
        };
        let age = text::duration(counts.open_for);
        let mut lines = vec![format!("  {}, for {age}", self.name())];
        let rows = rows(counts).into_iter();
        lines.extend(rows.map(|(key, value)| format!("    {key:<22} {value}")));
        let bars = bars::lines(&bars::histogram(&counts.commit_nanoseconds));
        lines.extend(bars.into_iter().map(|bar| format!("    {bar}")));
        lines
    }

    /// What is worth a look.
    pub fn warning(&self) -> Option<String> {
        let undone = self.found.counts.ok()?.undone_commits;
        (undone > 0).then(|| {
            format!(
                "process {} has undone {}, after a power cut or a failed flush: look at the disk \
                 (journalctl -k)",
                self.name(),
                text::count(undone, "commit")
            )
        })
    }

    pub fn json(&self) -> Value {
        let counts = self.found.counts.as_ref().ok().map(|counts| {
            json!({
                "open_nanoseconds": counts.open_for.as_nanos() as u64,
                "commit_operations": histogram(&counts.commit_operations),
                "commit_nanoseconds": histogram(&counts.commit_nanoseconds),
                "flushes": counts.flushes,
                "undone_commits": counts.undone_commits,
                "deferred_commits": counts.deferred_commits,
            })
        });
        json!({
            "pid": self.found.pid,
            "program": self.program,
            "counts": counts,
            "why_not": self.found.counts.err().map(|why| why.to_string()),
        })
    }
}

fn rows(counts: &ProcessCounts) -> Vec<(&'static str, String)> {
    let (operations, times) = (&counts.commit_operations, &counts.commit_nanoseconds);
    let mut commits = operations.count.to_string();
    if operations.count > 0 {
        let each = operations.sum as f64 / operations.count as f64;
        let number = text::count(operations.sum, "operation");
        commits = format!("{commits}, of {number}: {each:.1} each");
    }
    let mut rows = vec![
        ("commits", commits),
        ("flushes", counts.flushes.to_string()),
        ("commits undone", counts.undone_commits.to_string()),
        ("commits not flushed", counts.deferred_commits.to_string()),
    ];
    if let Some(mean) = times.sum.checked_div(times.count) {
        let [half, most] = [0.5, 0.99].map(|q| bound(times.quantile(q)));
        let mean = text::nanoseconds(mean);
        let time = format!("{mean} on average, half {half}, 99 % {most}");
        rows.push(("time of a commit", time));
    }
    rows
}

/// "up to 1.0 ms".
fn bound(nanoseconds: u64) -> String {
    match nanoseconds {
        u64::MAX => "more than any bound".to_owned(),
        bound => format!("up to {}", text::nanoseconds(bound)),
    }
}

fn histogram(from: &Histogram) -> Value {
    json!({ "count": from.count, "sum": from.sum, "buckets": from.buckets.to_vec() })
}
