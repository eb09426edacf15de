//! The round trips as a picture: p50 by size, both on logarithmic axes.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::works::{Curve, SIZES, bytes};

/// Distinct also for those who do not tell red from green, after Okabe and Ito; then again dashed.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 0, 0),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
];

/// Draws the curves into an SVG file.
///
/// # Errors
///
/// The file's.
pub fn draw(path: &Path, title: &str, curves: &[Curve]) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (960, 600)).into_drawing_area();
    root.fill(&WHITE)?;
    let times = || curves.iter().flat_map(|(_, points)| points).map(|(_, time)| time / 1e3);
    let (least, most) = times().fold((f64::MAX, 1.0), |(a, b), it| (it.min(a), it.max(b)));
    let (first, last) = (SIZES[0] as f64, SIZES[SIZES.len() - 1] as f64);
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(
            (first..last).log_scale(),
            (least.min(most) / 1.5..most * 1.5).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc("payload, there and back")
        .y_desc("p50, µs")
        .x_label_formatter(&|size| bytes(*size as usize))
        .light_line_style(WHITE)
        .draw()?;
    for (at, (name, points)) in curves.iter().enumerate() {
        if points.is_empty() {
            continue;
        }
        let colour = COLOURS[at % COLOURS.len()];
        let style = colour.stroke_width(if at < COLOURS.len() { 2 } else { 1 });
        let places: Vec<_> = points.iter().map(|(size, time)| (*size as f64, time / 1e3)).collect();
        chart
            .draw_series(LineSeries::new(places.clone(), style))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
        chart.draw_series(places.into_iter().map(|it| Circle::new(it, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()?;
    Ok(())
}
