//! Four panels: for updates and for adds, the durable writes a second and the time of one write,
//! by the number of writers. All axes are logarithmic.

use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::writers::{Measured, Row, STORES};
use crate::Result;

/// One colour for each of [`STORES`]; they differ in brightness too.
const COLOURS: [RGBColor; 4] = [
    RGBColor(0, 90, 181),
    RGBColor(200, 70, 20),
    RGBColor(120, 120, 120),
    RGBColor(86, 180, 233),
];

const SIZE: (u32, u32) = (1000, 760);

/// A line of a panel: a store, what is drawn of it, and whether the line is dashed.
struct Line {
    store: usize,
    value: fn(&Measured) -> f64,
    dashed: bool,
    label: String,
}

pub fn draw(rows: &[Row], path: &Path) -> Result<()> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let panels = area.split_evenly((2, 2));
    for (panel, operation) in panels.chunks(2).zip(["update", "add"]) {
        let rows: Vec<&Row> = rows
            .iter()
            .filter(|row| row.operation == operation)
            .collect();
        if rows.is_empty() {
            return Err(format!("no measurement of an {operation}").into());
        }
        let title = format!("durable {operation}s a second");
        draw_panel(&panel[0], &title, &rows, &rates())?;
        let title = format!("time of one durable {operation}, ms (p50; dashed: p99)");
        draw_panel(&panel[1], &title, &rows, &times())?;
    }
    area.present()?;
    Ok(())
}

fn rates() -> Vec<Line> {
    let line = |store| Line {
        store,
        value: |measured| measured.rate,
        dashed: false,
        label: STORES[store].into(),
    };
    (0..STORES.len()).map(line).collect()
}

fn times() -> Vec<Line> {
    let p50 = |store| Line {
        store,
        value: |measured| measured.p50,
        dashed: false,
        label: STORES[store].into(),
    };
    let p99 = |store| Line {
        store,
        value: |measured| measured.p99,
        dashed: true,
        label: String::new(),
    };
    let all = 0..STORES.len();
    all.clone().map(p50).chain(all.map(p99)).collect()
}

fn draw_panel(
    area: &DrawingArea<SVGBackend, Shift>,
    title: &str,
    rows: &[&Row],
    lines: &[Line],
) -> Result<()> {
    let point = |row: &Row, line: &Line| (row.writers, (line.value)(&row.measured[line.store]));
    let points = |line| {
        rows.iter()
            .map(move |row| point(row, line))
            .collect::<Vec<_>>()
    };
    let x = range(rows.iter().map(|row| f64::from(row.writers)));
    let y = range(lines.iter().flat_map(points).map(|(_, value)| value));
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(62)
        .build_cartesian_2d(x.log_scale(), y.log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("writers")
        .x_label_formatter(&|writers| format!("{writers:.0}"))
        .y_label_formatter(&|value| number(*value))
        .draw()?;
    for line in lines {
        let points = points(line).into_iter().map(|(x, y)| (f64::from(x), y));
        let style = COLOURS[line.store].stroke_width(2);
        let drawn = match line.dashed {
            false => chart.draw_series(LineSeries::new(points, style).point_size(3))?,
            true => chart.draw_series(DashedLineSeries::new(points, 8, 5, style))?,
        };
        if !line.label.is_empty() {
            drawn
                .label(&line.label)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .label_font(("sans-serif", 13))
        .draw()?;
    Ok(())
}

/// The range of an axis that shows all values, with some room above and below.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (least, most) = values.fold((f64::MAX, f64::MIN_POSITIVE), |(least, most), value| {
        (least.min(value), most.max(value))
    });
    least / 1.4..most * 1.4
}

/// A value of a logarithmic axis, in as few digits as tell it from the next.
fn number(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{}M", value / 1e6),
        value if value >= 1e3 => format!("{}k", value / 1e3),
        value => format!("{value}"),
    }
}
