//! The round trips as a picture: p50 by size, a panel for each placement, logarithmic both ways.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::works::{Panel, SIZES, bytes};

/// Distinct also for those who do not tell red from green, after Okabe and Ito; brown for yellow.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 0, 0),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(140, 100, 40),
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
];

/// Draws the panels into an SVG file.
///
/// # Errors
///
/// The file's.
pub fn draw(path: &Path, machine: &str, panels: &[Panel]) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (1400, 700)).into_drawing_area();
    root.fill(&WHITE)?;
    let titled = root.titled(&format!("p50 of a round trip; {machine}"), ("sans-serif", 20))?;
    let areas = titled.split_evenly((1, panels.len()));
    for (at, (area, panel)) in areas.iter().zip(panels).enumerate() {
        // The last has all sizes, and room in a corner.
        draw_panel(area, panel, (at + 1 == panels.len()).then_some(Legend))?;
    }
    root.present()?;
    Ok(())
}

/// The panel that says whose the lines are.
struct Legend;

fn draw_panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    panel: &Panel,
    legend: Option<Legend>,
) -> Result<(), Box<dyn Error>> {
    let times = || panel.curves.iter().flat_map(|(_, points)| points).map(|(_, time)| *time);
    let least = times().fold(1e9, f64::min) / 1.5;
    let most = times().fold(least * 2.0, f64::max) * 1.5;
    // The doublings, for an axis in powers of ten has no room for powers of two.
    let sizes = || panel.curves.iter().flat_map(|(_, points)| points).map(|(size, _)| *size);
    let first = f64::from(SIZES[0].ilog2());
    let last = f64::from(sizes().max().unwrap_or(SIZES[1]).ilog2());
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 18))
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(80)
        .build_cartesian_2d(first..last, (least..most).log_scale())?;
    chart
        .configure_mesh()
        .x_labels(11)
        .x_desc("payload, each way")
        .x_label_formatter(&|doublings| bytes(1 << *doublings as u32))
        .y_label_formatter(&|time| shown(*time))
        .label_style(("sans-serif", 15))
        .light_line_style(WHITE)
        .draw()?;
    for (at, (name, points)) in panel.curves.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        // Beyond the colours there are, a second series with open points.
        let point = if at < COLOURS.len() { colour.filled() } else { colour.stroke_width(1) };
        let places = places(points);
        chart
            .draw_series(LineSeries::new(places.clone(), colour.stroke_width(2)))?
            .label(*name)
            .legend(move |(x, y)| {
                EmptyElement::at((x, y))
                    + PathElement::new([(0, 0), (20, 0)], colour.stroke_width(2))
                    + Circle::new((10, 0), 4, point)
            });
        chart.draw_series(places.into_iter().map(|place| Circle::new(place, 4, point)))?;
    }
    if legend.is_some() {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .label_font(("sans-serif", 15))
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
    }
    Ok(())
}

fn places(points: &[(usize, f64)]) -> Vec<(f64, f64)> {
    points.iter().map(|(size, time)| (f64::from(size.ilog2()), *time)).collect()
}

fn shown(nanoseconds: f64) -> String {
    if nanoseconds < 1e6 {
        format!("{:.0} µs", nanoseconds / 1e3)
    } else {
        format!("{:.0} ms", nanoseconds / 1e6)
    }
}
