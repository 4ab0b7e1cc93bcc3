//! The table that is printed at the end.

use crate::measure::Comparison;
use std::time::Duration;

/// One line: what was measured, the two figures, and the target of the ratio or the figure.
struct Row {
    what: String,
    ours: String,
    peer: String,
    value: f64,
    unit: &'static str,
    target: Option<f64>,
}

/// Lines with a target and lines without.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// A ratio that must not exceed `target`.
    pub fn ratio(&mut self, what: String, figures: Comparison, target: Option<f64>) {
        eprintln!("  {what}: {:.2}x", figures.ratio());
        self.rows.push(Row {
            what,
            ours: duration(figures.ours),
            peer: duration(figures.peer),
            value: figures.ratio(),
            unit: "x",
            target,
        });
    }

    /// A figure that must not exceed `target`, with nothing to compare it with.
    pub fn figure(&mut self, what: String, value: f64, unit: &'static str, target: Option<f64>) {
        eprintln!("  {what}: {value:.2} {unit}");
        self.rows.push(Row {
            what,
            ours: String::new(),
            peer: String::new(),
            value,
            unit,
            target,
        });
    }

    /// Prints the lines with targets, then the others.
    pub fn print(&self) {
        let width = self.rows.iter().map(|row| row.what.len()).max();
        let width = width.unwrap_or(0);
        let head = |title: &str, target: &str| {
            println!(
                "\n{title:width$}  {:>9}  {:>9}  {:>10}  {target}",
                "this", "peer", "result"
            );
        };
        head("TARGETS", "target");
        for row in &self.rows {
            if let Some(target) = row.target {
                let verdict = if row.value <= target { "met" } else { "MISSED" };
                let bound = format!("<= {}", with_unit(target, row.unit));
                println!("{}  {bound:<10}  {verdict}", row.text(width));
            }
        }
        head("ALSO MEASURED", "");
        for row in self.rows.iter().filter(|row| row.target.is_none()) {
            println!("{}", row.text(width));
        }
    }
}

impl Row {
    fn text(&self, width: usize) -> String {
        format!(
            "{:width$}  {:>9}  {:>9}  {:>10}",
            self.what,
            self.ours,
            self.peer,
            with_unit(self.value, self.unit)
        )
    }
}

fn with_unit(value: f64, unit: &str) -> String {
    match unit {
        "x" => format!("{value:.2}x"),
        "" => format!("{value}"),
        _ => format!("{value:.1} {unit}"),
    }
}

fn duration(time: Duration) -> String {
    let nanos = time.as_secs_f64() * 1e9;
    match nanos {
        n if n < 1e4 => format!("{n:.0} ns"),
        n if n < 1e7 => format!("{:.1} us", n / 1e3),
        n => format!("{:.1} ms", n / 1e6),
    }
}
