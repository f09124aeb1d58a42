//! The drawing of `src/docs/performance.svg`: for each workload a panel of what it takes against the number of samples,
//! both axes logarithmic.
//!
//! The drawing stands inline in the crate's docs and as an image elsewhere, on light and on dark pages: it has no
//! background, its lines have colours that show on both, and its words have the colour of the page's own where there is one
//! (`--main-color` is rustdoc's), else one by the reader's preference. It has no blank line, which would end a block of
//! HTML in Markdown.

use std::collections::BTreeSet;
use std::path::Path;

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::element::{Circle, Cross, PathElement, Text, TriangleMarker};
use plotters::prelude::{
    BindKeyPoints, ChartBuilder, Color, DrawingArea, IntoDrawingArea, IntoFont, IntoLogRange,
    LineSeries, RGBColor, ShapeStyle,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, TextStyle};

use crate::engine::{Form, Kind, Result};
use crate::record::{Line, Record, lines, shown_bytes, shown_samples, shown_seconds, sizes};
use crate::samples::TimeOrder;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const COLUMNS: usize = 4;
const PANEL: (u32, u32) = (270, 215);
const HEAD_HEIGHT: u32 = 74;
const FONT: &str = "sans-serif";

/// Stands for the colour of words until the drawing is finished.
const INK: RGBColor = RGBColor(1, 2, 3);
const INK_IN_SVG: &str = "#010203";
const GRID: RGBColor = RGBColor(128, 128, 128);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Ours,
    Sqlite,
    Lmdb,
}

impl Who {
    const ALL: [Self; 3] = [Self::Sqlite, Self::Lmdb, Self::Ours];

    fn name(self) -> &'static str {
        match self {
            Self::Ours => "samplestore (circles)",
            Self::Sqlite => "SQLite, the better of JSON and blob (triangles)",
            Self::Lmdb => "LMDB (crosses)",
        }
    }

    /// Of about the same contrast with white and with black, and apart for the colour-blind.
    fn style(self) -> ShapeStyle {
        match self {
            Self::Ours => RGBColor(0x1f, 0x83, 0xd6).stroke_width(3),
            Self::Sqlite => RGBColor(0xd9, 0x6c, 0x0a).stroke_width(2),
            Self::Lmdb => RGBColor(0x8f, 0x7a, 0x86).stroke_width(2),
        }
    }

    /// A colour that nothing else has, for lines that `finished` turns into dashed ones of the colour above: plotters would
    /// draw each dash by itself, which doubles the file.
    fn style_to_dash(self) -> ShapeStyle {
        RGBColor(2, 0, self as u8).stroke_width(self.style().stroke_width)
    }

    fn cell(self, line: &Line, samples: u64) -> Option<&Record> {
        match self {
            Self::Ours => line.cell(samples, Kind::Samplestore),
            Self::Sqlite => line.cell(samples, line.best_sqlite(samples)?),
            Self::Lmdb => line.cell(samples, Kind::Lmdb),
        }
    }

    fn points(self, line: &Line, sizes: &[u64]) -> Vec<(f64, f64)> {
        let point = |samples: &u64| Some((*samples as f64, self.cell(line, *samples)?.value()?));
        sizes.iter().filter_map(point).collect()
    }
}

/// What shares a panel: a workload in one form, in both orders of time.
struct Panel<'a> {
    title: String,
    is_bytes: bool,
    lines: Vec<&'a Line>,
}

/// Draws these records into a file.
pub fn draw(records: &[Record], svg: &Path) -> Result<()> {
    let (lines, sizes) = (lines(records), sizes(records));
    let panels = panels(&lines);
    if panels.is_empty() {
        return Err("nothing of samplestore is in these files".into());
    }
    let rows = panels.len().div_ceil(COLUMNS);
    let size = (
        PANEL.0 * COLUMNS as u32,
        HEAD_HEIGHT + PANEL.1 * rows as u32,
    );
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        let (head, body) = root.split_vertically(HEAD_HEIGHT);
        draw_head(&head)?;
        for (area, panel) in body.split_evenly((rows, COLUMNS)).iter().zip(&panels) {
            draw_panel(area, panel, &sizes)?;
        }
        root.present()?;
    }
    Ok(std::fs::write(svg, finished(&text, size)?)?)
}

fn panels(lines: &[Line]) -> Vec<Panel<'_>> {
    let mut seen: BTreeSet<(&str, Option<Form>)> = BTreeSet::new();
    let mut panels = Vec::new();
    for line in lines {
        if !seen.insert((&line.workload, line.form)) {
            continue;
        }
        let of_panel: Vec<&Line> = lines
            .iter()
            .filter(|other| (&other.workload, other.form) == (&line.workload, line.form))
            .filter(|other| {
                let ours = |record: &&Record| record.engine == Kind::Samplestore.name();
                other
                    .cells
                    .values()
                    .filter(ours)
                    .any(|ours| ours.value().is_some())
            })
            .collect();
        if let Some(named) = of_panel.first().and_then(|line| line.any()) {
            panels.push(Panel {
                title: named.name(),
                is_bytes: named.median_s.is_none() && named.bytes.is_some(),
                lines: of_panel,
            });
        }
    }
    panels
}

fn font(size: u32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK)
}

/// Title and legend.
fn draw_head(area: &Area<'_>) -> Result<()> {
    let title = TextStyle::from((FONT, 22).into_font().style(FontStyle::Bold)).color(&INK);
    let text =
        "Time (or size) against the number of samples; lower is better, both axes logarithmic";
    area.draw(&Text::new(text, (12, 10), title))?;
    let middle = font(16).pos(Pos::new(HPos::Left, VPos::Center));
    let mut x = 12;
    let y = 52;
    for who in [Who::Ours, Who::Sqlite, Who::Lmdb] {
        let style = who.style();
        area.draw(&PathElement::new([(x, y), (x + 28, y)], style))?;
        draw_marker(area, who, (x + 14, y))?;
        area.draw(&Text::new(who.name(), (x + 36, y), middle.clone()))?;
        x += 52 + 7 * who.name().chars().count() as i32;
    }
    let dashed = "dashed: samples come shuffled in time";
    area.draw(&Text::new(dashed, (x, y), middle))?;
    Ok(())
}

fn draw_marker(area: &Area<'_>, who: Who, at: (i32, i32)) -> Result<()> {
    let style = who.style();
    match who {
        Who::Ours => area.draw(&Circle::new(at, 4, style.filled()))?,
        Who::Sqlite => area.draw(&TriangleMarker::new(at, 5, style.filled()))?,
        Who::Lmdb => area.draw(&Cross::new(at, 4, style))?,
    }
    Ok(())
}

fn draw_panel(area: &Area<'_>, panel: &Panel<'_>, sizes: &[u64]) -> Result<()> {
    let all = |who: Who| {
        panel
            .lines
            .iter()
            .flat_map(move |line| who.points(line, sizes))
    };
    let values: Vec<f64> = Who::ALL
        .into_iter()
        .flat_map(all)
        .map(|point| point.1)
        .collect();
    let (low, high) = decades(&values);
    let first = sizes.first().copied().unwrap_or(1) as f64 / 1.6;
    let last = sizes.last().copied().unwrap_or(1) as f64 * 1.6;
    let mut chart = ChartBuilder::on(area)
        .margin(6)
        .margin_right(12)
        .caption(&panel.title, font(16))
        .x_label_area_size(34)
        .y_label_area_size(64)
        .build_cartesian_2d(
            (first..last)
                .log_scale()
                .with_key_points(sizes.iter().map(|size| *size as f64).collect()),
            (low..high).log_scale().with_key_points(ticks(low, high)),
        )?;
    let is_bytes = panel.is_bytes;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID.mix(0.3))
        .light_line_style(GRID.mix(0.0))
        .axis_style(GRID)
        .label_style(font(13))
        .axis_desc_style(font(13))
        .x_desc("samples")
        .y_desc(if is_bytes { "size" } else { "time" })
        .x_label_formatter(&|samples| shown_samples(*samples as u64))
        .y_label_formatter(&|value| {
            let shown = if is_bytes {
                shown_bytes(*value)
            } else {
                shown_seconds(*value)
            };
            // A tick is a round number.
            shown.replace(".00 ", " ").replace(".0 ", " ")
        })
        .draw()?;
    for who in Who::ALL {
        for line in &panel.lines {
            let (style, points) = (who.style(), who.points(line, sizes));
            let of_line = match line.order {
                Some(TimeOrder::Shuffled) => who.style_to_dash(),
                _ => style,
            };
            chart.draw_series(LineSeries::new(points.clone(), of_line))?;
            match who {
                Who::Ours => chart
                    .draw_series(points.iter().map(|at| Circle::new(*at, 4, style.filled())))?,
                Who::Sqlite => chart.draw_series(
                    points
                        .iter()
                        .map(|at| TriangleMarker::new(*at, 5, style.filled())),
                )?,
                Who::Lmdb => {
                    chart.draw_series(points.iter().map(|at| Cross::new(*at, 4, style)))?
                }
            };
        }
    }
    Ok(())
}

/// The powers of ten around these values, with some air.
fn decades(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let low = 10f64.powf((low / 1.3).log10().floor());
    let high = 10f64.powf((high * 1.3).log10().ceil());
    (low, high)
}

/// Powers of ten from `low` to `high`, five at most.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let (low, high) = (low.log10().round() as i32, high.log10().round() as i32);
    let step = ((high - low) as usize).div_ceil(4).max(1);
    (low..=high)
        .step_by(step)
        .map(|power| 10f64.powi(power))
        .collect()
}

/// Gives the drawing the page's colours and width.
fn finished(text: &str, (width, height): (u32, u32)) -> Result<String> {
    let size = format!("width=\"{width}\" height=\"{height}\"");
    let at = text.find(&size).ok_or("the drawing has no size")?;
    let body = text[at..].find('>').ok_or("the drawing has no body")? + at + 1;
    let head = format!(
        "<svg id=\"peers-plot\" role=\"img\" width=\"100%\" viewBox=\"0 0 {width} {height}\" \
         xmlns=\"http://www.w3.org/2000/svg\">\n\
         <title>Time or size of each workload against the number of samples</title>\n\
         <style>\n\
         #peers-plot {{ color: var(--main-color, #1f2328); }}\n\
         @media (prefers-color-scheme: dark) {{ #peers-plot {{ color: var(--main-color, #d1d7e0); }} }}\n\
         </style>"
    );
    let mut text = format!("{head}{}", &text[body..]).replace(INK_IN_SVG, "currentColor");
    for who in Who::ALL {
        let of = |style: ShapeStyle| {
            let (red, green, blue) = style.color.rgb();
            format!("stroke=\"#{red:02X}{green:02X}{blue:02X}\"")
        };
        let dashed = format!("{} stroke-dasharray=\"5 4\"", of(who.style()));
        text = text.replace(&of(who.style_to_dash()), &dashed);
    }
    let filled = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty());
    Ok(filled.collect::<Vec<_>>().join("\n") + "\n")
}
