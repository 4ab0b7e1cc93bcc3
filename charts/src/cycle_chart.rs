//! Two panels: the flushes of each step of a snapshotter's cycle, and the time that it takes.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::cycle::{Cost, Delay, Step, SETUPS};
use crate::Result;

/// One colour for each of [`SETUPS`]; they differ in brightness too.
const COLOURS: [RGBColor; 3] = [
    RGBColor(200, 70, 20),
    RGBColor(0, 90, 181),
    RGBColor(86, 180, 233),
];

const SIZE: (u32, u32) = (1000, 700);
/// How much of a step's place its bars take.
const FILLED: f64 = 0.8;

/// Draws the steps as they were with the longest delay of a flush: the flushes hardly depend on it.
pub fn draw(delays: &[Delay], path: &Path) -> Result<()> {
    let slowest = delays.iter().max_by_key(|delay| delay.milliseconds);
    let Delay {
        milliseconds,
        steps,
    } = slowest.ok_or("no delay of a flush")?;
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let panels = area.split_evenly((2, 1));
    draw_panel(&panels[0], "flushes of the disk", steps, |c| c.flushes)?;
    let title = format!("time, ms, where a flush takes {milliseconds} ms more");
    draw_panel(&panels[1], &title, steps, |c| c.milliseconds)?;
    area.present()?;
    Ok(())
}

fn draw_panel(
    area: &DrawingArea<SVGBackend, Shift>,
    title: &str,
    steps: &[Step],
    value: fn(&Cost) -> f64,
) -> Result<()> {
    let costs = steps.iter().flat_map(|step| &step.costs);
    let most = costs.map(value).fold(f64::MIN_POSITIVE, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(62)
        .build_cartesian_2d(0.0..steps.len() as f64, 0.0..most * 1.45)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .x_labels(0)
        .draw()?;
    for (setup, (_, label)) in SETUPS.iter().enumerate() {
        let width = FILLED / SETUPS.len() as f64;
        let bars = steps.iter().enumerate().map(|(at, step)| {
            let left = at as f64 + (1.0 - FILLED) / 2.0 + setup as f64 * width;
            let top = value(&step.costs[setup]);
            Rectangle::new([(left, 0.0), (left + width, top)], COLOURS[setup].filled())
        });
        chart
            .draw_series(bars)?
            .label(*label)
            .legend(move |(x, y)| {
                Rectangle::new([(x, y - 5), (x + 18, y + 5)], COLOURS[setup].filled())
            });
    }
    let centre = Pos::new(HPos::Center, VPos::Top);
    let style = ("sans-serif", 13).into_text_style(area).pos(centre);
    for (at, step) in steps.iter().enumerate() {
        let (x, y) = chart.backend_coord(&(at as f64 + 0.5, 0.0));
        // The coordinates of the whole picture; the panel's own begin at its corner.
        let (left, top) = area.get_base_pixel();
        area.draw_text(&step.name, &style, (x - left, y - top + 8))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .label_font(("sans-serif", 13))
        .draw()?;
    Ok(())
}
