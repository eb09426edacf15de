//! Two pictures: throughput by size, and round trips by how they wait.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use super::table::Table;
use super::work::Trips;

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

/// GB/s by size.
pub type Curve = (&'static str, Vec<(usize, f64)>);

/// Draws throughput by size, logarithmic both ways.
///
/// # Errors
///
/// The file's.
pub fn throughput(path: &Path, machine: &str, curves: &[Curve]) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (1000, 640)).into_drawing_area();
    root.fill(&WHITE)?;
    let root = root.titled(&format!("one way, two processors; {machine}"), ("sans-serif", 18))?;
    let points = || curves.iter().flat_map(|(_, points)| points);
    let most = points().map(|(_, rate)| *rate).fold(1.0, f64::max) * 1.5;
    let least = points().map(|(_, rate)| *rate).fold(most, f64::min) / 1.5;
    let last = points().map(|(size, _)| *size).max().unwrap_or(64).ilog2();
    let mut chart = ChartBuilder::on(&root)
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(90)
        .build_cartesian_2d(6.0..f64::from(last), (least..most).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("bytes for each call")
        .y_desc("GB/s")
        .x_label_formatter(&|doublings| crate::works::bytes(1 << *doublings as u32))
        .y_label_formatter(&|rate| format!("{rate:.2}"))
        .light_line_style(WHITE)
        .draw()?;
    for (at, (name, points)) in curves.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let places = points.iter().map(|(size, rate)| (f64::from(size.ilog2()), *rate));
        let size = if at < COLOURS.len() { 4 } else { 2 };
        chart
            .draw_series(LineSeries::new(places, colour.stroke_width(2)).point_size(size))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()?;
    Ok(())
}

/// Draws p50 and p99 of each way as a bar, logarithmic.
///
/// # Errors
///
/// The file's.
pub fn latency(
    path: &Path,
    machine: &str,
    panels: &[(&str, Table<Trips>)],
) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (1100, 420 * panels.len() as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    let title = format!("64 bytes there and back, p50 to p99; {machine}");
    let root = root.titled(&title, ("sans-serif", 18))?;
    for (area, (place, trips)) in root.split_evenly((panels.len(), 1)).iter().zip(panels) {
        let most = trips.iter().map(|it| it.times[1]).max().unwrap_or(1) as f64 * 2.0;
        let count = trips.len() as f64;
        let mut chart = ChartBuilder::on(area)
            .caption(place, ("sans-serif", 16))
            .margin(14)
            .x_label_area_size(36)
            .y_label_area_size(10)
            .build_cartesian_2d((100.0..most).log_scale(), 0.0..count)?;
        chart
            .configure_mesh()
            .disable_y_axis()
            .disable_y_mesh()
            .light_line_style(WHITE)
            .x_label_formatter(&|time| format!("{:.1} µs", time / 1e3))
            .draw()?;
        for (at, it) in trips.iter().enumerate() {
            let (low, high) =
                (it.times[0] as f64, (it.times[1] as f64).max(it.times[0] as f64 * 1.02));
            let y = count - at as f64;
            let colour = COLOURS[usize::from(it.name.starts_with("ring")) * 6];
            let bar = Rectangle::new([(low, y - 0.75), (high, y - 0.55)], colour.filled());
            let label = format!("{}, {:.2} µs", it.name, low / 1e3);
            let text = Text::new(label, (100.0, y - 0.5), ("sans-serif", 13).into_font());
            chart.draw_series([bar])?;
            chart.draw_series([text])?;
        }
    }
    root.present()?;
    Ok(())
}
