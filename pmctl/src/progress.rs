//! Progress of what takes longer than a second, on a terminal only.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What takes less shows no progress.
const SHOWN_AFTER: Duration = Duration::from_secs(1);
const REDRAWN_AFTER: Duration = Duration::from_millis(100);

/// How far the work is.
enum Measure {
    /// Nothing tells: the time that it takes is all there is to show.
    Time,
    /// The largest file with this beginning of its path grows to so many bytes.
    File { beginning: PathBuf, size: u64 },
}

/// Shows the progress of a piece of work until it is dropped.
pub struct Progress {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Shows that the work goes on, and for how long it has.
    pub fn time(doing: &str) -> Progress {
        Progress::begin(doing, Measure::Time)
    }

    /// Shows how much of a file has been written whose path begins like this.
    pub fn file(doing: &str, beginning: PathBuf, size: u64) -> Progress {
        Progress::begin(doing, Measure::File { beginning, size })
    }

    fn begin(doing: &str, measure: Measure) -> Progress {
        let (end, ended) = mpsc::channel();
        let doing = doing.to_owned();
        let show = move || {
            // What hides the bar where there is no terminal is the bar itself.
            let timeout = Err(RecvTimeoutError::Timeout);
            if ended.recv_timeout(SHOWN_AFTER) != timeout {
                return;
            }
            let bar = bar(doing, &measure);
            while ended.recv_timeout(REDRAWN_AFTER) == timeout {
                match &measure {
                    Measure::Time => bar.tick(),
                    Measure::File { beginning, .. } => bar.set_position(largest(beginning)),
                }
            }
            bar.finish_and_clear();
        };
        Progress {
            end: Some(end),
            thread: Some(thread::spawn(show)),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn bar(doing: String, measure: &Measure) -> ProgressBar {
    let (template, len) = match measure {
        Measure::Time => ("{spinner} {msg}, {elapsed}", None),
        Measure::File { size, .. } => (
            "{msg} [{bar:30}] {binary_bytes} of {binary_total_bytes}, {elapsed}",
            Some(*size),
        ),
    };
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("##-")
        .tick_chars("|/-\\ ");
    let bar = ProgressBar::with_draw_target(len, ProgressDrawTarget::stderr()).with_style(style);
    bar.set_message(doing);
    bar.tick();
    bar
}

/// Size of the largest file whose path begins like this.
fn largest(beginning: &Path) -> u64 {
    let (Some(directory), Some(start)) = (beginning.parent(), beginning.file_name()) else {
        return 0;
    };
    let directory = match directory.as_os_str().is_empty() {
        true => Path::new("."),
        false => directory,
    };
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let start = start.as_encoded_bytes();
    entries
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(start))
        .filter_map(|entry| entry.metadata().ok())
        .map(|file| file.len())
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn largest_file_of_a_beginning_is_measured_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        for (name, size) in [("d.partial-1", 10), ("d.partial-2", 30), ("other", 99)] {
            fs::write(directory.path().join(name), vec![0; size]).unwrap();
        }
        assert_eq!(largest(&directory.path().join("d.partial-")), 30);
        assert_eq!(largest(&directory.path().join("none")), 0);
        assert_eq!(largest(Path::new("/no/such/directory/d")), 0);
    }
}
