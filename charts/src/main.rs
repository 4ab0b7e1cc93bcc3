//! Draws the charts of docs/performance.md: `pool-metadata-charts WRITERS.TXT DIRECTORY`.
//!
//! WRITERS.TXT is what `make bench-writers` has printed. Every line that is not understood is
//! passed over, since the benchmark prints ratios and headings as well; a file without a single
//! measurement is an error.

mod chart;
mod writers;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn run(input: &Path, directory: &Path) -> Result<PathBuf> {
    let text = std::fs::read_to_string(input).map_err(|e| format!("{}: {e}", input.display()))?;
    let rows = writers::parse(&text).map_err(|e| format!("{}: {e}", input.display()))?;
    std::fs::create_dir_all(directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    let chart = directory.join("writers.svg");
    chart::draw(&rows, &chart).map_err(|e| format!("{}: {e}", chart.display()))?;
    Ok(chart)
}

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [input, directory] = arguments.as_slice() else {
        eprintln!("usage: pool-metadata-charts WRITERS.TXT DIRECTORY");
        return ExitCode::from(2);
    };
    match run(input, directory) {
        Ok(chart) => {
            println!("{}", chart.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
