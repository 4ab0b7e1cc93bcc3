//! `pmctl watch`: what happens, as it happens.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::thread;
use std::time::{Duration, Instant};

use console::Term;
use pool_metadata::Stats;

use crate::commands::changes::Changes;
use crate::context::{Context, Outcome};
use crate::failure::{Failure, Result};
use crate::output::{Output, Paint, Style};
use crate::place::seconds;
use crate::text;

/// Show the changes of the store as they are made, until it is interrupted
///
/// On a terminal this is a table that is drawn again and again; elsewhere each change is a line.
/// The store is opened for each look only, so that nothing else has to wait for this.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Seconds between two looks
    #[arg(short, long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    interval: Duration,

    /// End after so many looks
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// So many changes are kept for the table.
const KEPT: usize = 1000;

/// What a look has found.
struct Look {
    stats: Stats,
    reads: usize,
    changes: Changes,
    at: Instant,
}

/// The table.
struct Screen {
    term: Term,
    path: String,
    lines: VecDeque<String>,
}

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        let path = text::escape_message(&context.place.path()?.to_string_lossy());
        let mut screen = std::io::stdout().is_terminal().then(|| Screen {
            term: Term::stdout(),
            path,
            lines: VecDeque::new(),
        });
        // The first look is where the changes begin.
        let mut last = look(context, None)?;
        let mut looks = 1;
        loop {
            if let Some(screen) = &screen {
                screen.draw(&last, 0.0, context.paint)?;
            }
            if self.count.is_some_and(|count| looks >= count) {
                return Ok(Outcome::Fine);
            }
            thread::sleep(self.interval);
            looks += 1;
            let next = match look(context, Some(last.changes.commit)) {
                Ok(next) => next,
                // It may be there again at the next look, as after a restore.
                Err(Failure::Unusable(why)) => {
                    eprintln!(
                        "pmctl: {}",
                        text::escape_message(why.lines().next().unwrap_or(""))
                    );
                    continue;
                }
                Err(other) => return Err(other),
            };
            let lines = next.lines(&last, context.paint);
            match &mut screen {
                Some(screen) => {
                    let rate = next.rate(&last);
                    screen.lines.extend(lines);
                    let surplus = screen.lines.len().saturating_sub(KEPT);
                    screen.lines.drain(..surplus);
                    screen.draw(&next, rate, context.paint)?;
                }
                None => print(&lines)?,
            }
            last = next;
        }
    }
}

fn print(lines: &[String]) -> Result<()> {
    let mut out = Output::new();
    for line in lines {
        out.line(line)?;
    }
    out.finish()
}

/// Looks at the store, and at what has changed since a commit; without one, at no changes.
fn look(context: &Context, since: Option<u64>) -> Result<Look> {
    let store = context.place.read_at_once()?;
    let stats = store.stats()?;
    let this = std::process::id();
    let reads = store
        .running_reads()?
        .iter()
        .filter(|read| read.pid != this)
        .count();
    let changes = Changes::since(&store, since.unwrap_or(u64::MAX))?;
    store.close()?;
    Ok(Look {
        stats,
        reads,
        changes,
        at: Instant::now(),
    })
}

impl Look {
    fn lines(&self, last: &Look, paint: Paint) -> Vec<String> {
        if self.changes.commit < last.changes.commit {
            return vec!["the store was replaced by one with fewer commits".to_owned()];
        }
        let mut lines = Vec::new();
        if !self.changes.complete {
            lines.push("some removals are not remembered any more".to_owned());
        }
        lines.extend(self.changes.events.iter().map(|event| event.line(paint)));
        lines
    }

    /// Commits in a second, since the last look.
    fn rate(&self, last: &Look) -> f64 {
        let commits = self.changes.commit.saturating_sub(last.changes.commit);
        commits as f64 / (self.at - last.at).as_secs_f64().max(1e-3)
    }
}

impl Screen {
    fn draw(&self, look: &Look, rate: f64, paint: Paint) -> Result<()> {
        let stats = &look.stats;
        let fail = |e: std::io::Error| Failure::of_output(&e);
        let (height, width) = self.term.size();
        let head = [
            paint.paint(Style::Bold, &self.path),
            format!(
                "{}, {rate:.1} commits a second",
                text::count(stats.commits, "commit")
            ),
            format!(
                "{}, ids: {} free, {} faulty; file {}; {} running",
                text::count(stats.devices, "device"),
                stats.free_ids,
                stats.faulty_ids,
                text::size(stats.file_size),
                text::count(look.reads as u64, "read")
            ),
            String::new(),
        ];
        let room = usize::from(height).saturating_sub(head.len() + 1);
        let newest = self
            .lines
            .iter()
            .skip(self.lines.len().saturating_sub(room));
        self.term.clear_screen().map_err(fail)?;
        for line in head.iter().chain(newest) {
            let line = console::truncate_str(line, usize::from(width), "");
            self.term.write_line(&line).map_err(fail)?;
        }
        Ok(())
    }
}
