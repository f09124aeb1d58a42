//! A [`Chart`] as a picture: bars, an axis of counts, an axis of time, a legend.
//!
//! Lines and texts are of a grey that can be read on white and on black, since pages have either.

use std::io::{self, Write};

use super::{Chart, Output};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 320.0;
/// Where the bars stand: from the left, top, right and bottom edges of the picture.
const LEFT: f64 = 70.0;
const TOP: f64 = 56.0;
const RIGHT: f64 = 16.0;
const BOTTOM: f64 = 32.0;
/// How many steps the axis of counts has, about.
const STEPS: u64 = 4;
/// How much room a label of the axis of time takes.
const LABEL_WIDTH: f64 = 110.0;
/// The width of a letter, about.
const LETTER: f64 = 7.0;

/// Writes the picture.
pub(crate) fn write_svg(output: &mut Output, chart: &Chart) -> io::Result<()> {
    let (plot_width, plot_height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let step = round_step(chart.max());
    let top = chart.max().div_ceil(step).max(1) * step;
    let y = |count: u64| TOP + plot_height * (1.0 - count as f64 / top as f64);
    writeln!(
        output,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" fill="#808080">"##
    )?;
    let title = xml(&chart.title);
    writeln!(
        output,
        r#"<text x="{LEFT}" y="18" font-size="14">{title}</text>"#
    )?;
    if chart.series.len() > 1 {
        let mut x = LEFT;
        for series in &chart.series {
            let name = xml(&series.name);
            writeln!(
                output,
                r#"<rect x="{x:.1}" y="29" width="10" height="10" fill="{}"/><text x="{:.1}" y="38">{name}</text>"#,
                series.rgb,
                x + 14.0
            )?;
            x += 34.0 + LETTER * series.name.chars().count() as f64;
        }
    }
    for count in (0..=top).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
        let at = y(count);
        writeln!(
            output,
            r##"<path d="M{LEFT} {at:.1}H{}" stroke="#808080" stroke-opacity="0.3"/><text x="{}" y="{:.1}" text-anchor="end">{}</text>"##,
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0,
            indicatif::HumanCount(count)
        )?;
    }
    let slot = plot_width / chart.buckets.len().max(1) as f64;
    let gap = if slot > 4.0 { 1.0 } else { 0.0 };
    let labelled = (LABEL_WIDTH / slot).ceil().max(1.0) as usize;
    for (index, (start, counts)) in chart.buckets.iter().enumerate() {
        let x = LEFT + slot * index as f64;
        let label = chart.label(*start);
        let sum: u64 = counts.iter().sum();
        if sum > 0 {
            writeln!(output, "<g><title>{label}: {sum}</title>")?;
            let mut below = 0;
            for (series, count) in chart
                .series
                .iter()
                .zip(counts)
                .filter(|(_, count)| **count > 0)
            {
                let (from, to) = (y(below), y(below + count));
                writeln!(
                    output,
                    r#"<rect x="{x:.2}" y="{to:.2}" width="{:.2}" height="{:.2}" fill="{}"/>"#,
                    slot - gap,
                    from - to,
                    series.rgb
                )?;
                below += count;
            }
            writeln!(output, "</g>")?;
        }
        if index % labelled == 0 && x + LABEL_WIDTH / 2.0 < WIDTH {
            let bottom = HEIGHT - 12.0;
            writeln!(output, r#"<text x="{x:.1}" y="{bottom}">{label}</text>"#)?;
        }
    }
    writeln!(output, "</svg>")
}

/// A step of 1, 2 or 5 times a power of ten, a few of which reach `max`.
fn round_step(max: u64) -> u64 {
    let least = max / STEPS;
    let mut power = 1_u64;
    loop {
        for factor in [1, 2, 5] {
            let step = power.saturating_mul(factor);
            if step >= least.max(1) || step == u64::MAX {
                return step;
            }
        }
        power = power.saturating_mul(10);
    }
}

/// Text in XML; characters that it cannot hold are left out.
fn xml(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            char if char.is_control() || matches!(char, '\u{fffe}' | '\u{ffff}') => {}
            char => safe.push(char),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_few() {
        for (max, step) in [
            (0, 1),
            (1, 1),
            (4, 1),
            (7, 1),
            (8, 2),
            (26_115, 10_000),
            (800, 200),
        ] {
            assert_eq!(round_step(max), step, "{max}");
        }
        assert_eq!(xml("a<b & \"c\"\u{1b}"), "a&lt;b &amp; &quot;c&quot;");
    }
}
