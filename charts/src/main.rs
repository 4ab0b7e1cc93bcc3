//! Draws the charts of docs/performance.md: `pool-metadata-charts writers|cycle PRINTED DIRECTORY`.
//!
//! PRINTED is what `make bench-writers` or `make e2e-bench` has printed. Every line that is not
//! understood is passed over, since the benchmarks print other lines as well; a file without a
//! single measurement is an error.

mod cycle;
mod cycle_chart;
mod writers;
mod writers_chart;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn run(what: &str, input: &Path, directory: &Path) -> Result<PathBuf> {
    let named = |e: &dyn std::fmt::Display| format!("{}: {e}", input.display());
    let text = std::fs::read_to_string(input).map_err(|e| named(&e))?;
    std::fs::create_dir_all(directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    let chart = directory.join(what).with_extension("svg");
    let drawn = match what {
        "writers" => writers_chart::draw(&writers::parse(&text).map_err(|e| named(&e))?, &chart),
        "cycle" => cycle_chart::draw(&cycle::parse(&text).map_err(|e| named(&e))?, &chart),
        _ => return Err(format!("there is no chart {what:?}: writers or cycle").into()),
    };
    drawn.map_err(|e| format!("{}: {e}", chart.display()))?;
    Ok(chart)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, what, input, directory] = arguments.as_slice() else {
        eprintln!("usage: pool-metadata-charts writers|cycle PRINTED DIRECTORY");
        return ExitCode::from(2);
    };
    match run(what, Path::new(input), Path::new(directory)) {
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
