//! [`Table`]: rows in aligned columns, streamed.
//!
//! The first rows are held back to learn how wide each column must be; the others follow at those
//! widths, so a table of a million rows needs no more memory than one of 256. On a terminal no line is
//! longer than it is wide: columns that may shrink do, down to a floor, and are left out where that is not enough. Elsewhere
//! nothing is cut.

use std::io::{self, Write};

use console::{Style, measure_text_width, truncate_str};

use super::{Output, escape};

/// How many rows are held back.
const ROWS_HELD_MAX: usize = 256;
/// How a table too wide for its terminal is narrowed: step by step, columns that shrink first or last,
/// to this width. Fields lose their ends long before pipelines do, and instants after them.
const STEPS: [(Shrinks, usize); 6] = [
    (Shrinks::First, 16),
    (Shrinks::First, WIDTH_MIN),
    (Shrinks::Last, 16),
    (Shrinks::Last, WIDTH_MIN),
    (Shrinks::Finally, 10),
    (Shrinks::Finally, WIDTH_MIN),
];
/// In which order columns are left out where narrowing is not enough, of one rank the rightmost first.
const LEFT_OUT: [Shrinks; 4] = [
    Shrinks::First,
    Shrinks::Whole,
    Shrinks::Finally,
    Shrinks::Last,
];
/// No column is narrowed below this.
const WIDTH_MIN: usize = 6;
/// The space between columns.
const GAP: &str = "  ";

/// On which side the texts of a column begin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Texts.
    Left,
    /// Numbers.
    Right,
}

/// How soon a column is narrowed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shrinks {
    First,
    Last,
    /// Where nothing else helps: instants, of which the date is left.
    Finally,
    /// Not at all, since a part of a number is another number; it is left out.
    Whole,
    /// When it stands alone with what can be neither narrowed nor left out: ids, by which rows are told apart.
    Key,
}

/// What a column is called and how it behaves.
pub(crate) struct Column {
    name: String,
    align: Align,
    /// How soon it is narrowed on a terminal, if it may be.
    shrinks: Option<Shrinks>,
    /// Whether it is left out when it turns out to be empty.
    optional: bool,
}

impl Column {
    pub(crate) fn new(name: impl Into<String>, align: Align) -> Self {
        Self {
            name: name.into(),
            align,
            shrinks: None,
            optional: false,
        }
    }

    /// May be narrowed on a terminal.
    pub(crate) fn shrinking(mut self, shrinks: Shrinks) -> Self {
        self.shrinks = Some(shrinks);
        self
    }

    /// Is left out when no row has anything in it, as far as that is known before the first row is
    /// written.
    pub(crate) fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
}

/// One text in a row, made safe for a terminal.
pub(crate) struct Cell {
    text: String,
    style: Option<Style>,
}

impl Cell {
    pub(crate) fn new(text: impl AsRef<str>) -> Self {
        Self {
            text: escape(text.as_ref()).into_owned(),
            style: None,
        }
    }

    pub(crate) fn styled(text: impl AsRef<str>, style: Style) -> Self {
        Self {
            style: Some(style),
            ..Self::new(text)
        }
    }
}

/// A table being written.
pub(crate) struct Table {
    columns: Vec<Column>,
    held: Vec<Vec<Cell>>,
    /// The width of each column, once it is known; none for one that is left out.
    widths: Option<Vec<Option<usize>>>,
}

impl Table {
    pub(crate) fn new(columns: Vec<Column>) -> Self {
        Self {
            columns,
            held: Vec::new(),
            widths: None,
        }
    }

    /// Writes one row, or holds it back.
    pub(crate) fn row(&mut self, output: &mut Output, row: Vec<Cell>) -> io::Result<()> {
        if let Some(widths) = &self.widths {
            return self.write(output, widths, &row);
        }
        self.held.push(row);
        match self.held.len() < ROWS_HELD_MAX {
            true => Ok(()),
            false => self.begin(output, false),
        }
    }

    /// Writes what is held back while more may follow.
    pub(crate) fn settle(&mut self, output: &mut Output) -> io::Result<()> {
        match self.widths.is_none() && !self.held.is_empty() {
            true => self.begin(output, false),
            false => Ok(()),
        }
    }

    /// Writes what is held back.
    pub(crate) fn finish(mut self, output: &mut Output) -> io::Result<()> {
        match self.widths {
            Some(_) => Ok(()),
            None => self.begin(output, true),
        }
    }

    fn begin(&mut self, output: &mut Output, is_whole: bool) -> io::Result<()> {
        let widths = fit(&self.columns, &self.held, is_whole, output.width());
        let heads: Vec<_> = self
            .columns
            .iter()
            .map(|column| Cell::styled(&column.name, Style::new().bold()))
            .collect();
        self.write(output, &widths, &heads)?;
        for row in std::mem::take(&mut self.held) {
            self.write(output, &widths, &row)?;
        }
        self.widths = Some(widths);
        Ok(())
    }

    fn write(&self, output: &mut Output, widths: &[Option<usize>], row: &[Cell]) -> io::Result<()> {
        let colors = output.has_colors();
        let is_cut = output.width().is_some();
        let mut line = String::new();
        let mut pad = 0;
        for ((column, width), cell) in self.columns.iter().zip(widths).zip(row) {
            let Some(width) = *width else { continue };
            let text = match is_cut {
                true => truncate_str(&cell.text, width, "…"),
                false => cell.text.as_str().into(),
            };
            let space = width.saturating_sub(measure_text_width(&text));
            line.extend(std::iter::repeat_n(' ', pad));
            if column.align == Align::Right {
                line.extend(std::iter::repeat_n(' ', space));
                pad = GAP.len();
            } else {
                // Kept for later, so that no line ends in spaces.
                pad = space + GAP.len();
            }
            match &cell.style {
                Some(style) if colors => {
                    let style = style.clone().force_styling(true);
                    line.push_str(&style.apply_to(text).to_string());
                }
                _ => line.push_str(&text),
            }
        }
        writeln!(output, "{line}")
    }
}

/// The width of each column. `is_whole` says that `rows` are all there will be.
fn fit(
    columns: &[Column],
    rows: &[Vec<Cell>],
    is_whole: bool,
    width_max: Option<usize>,
) -> Vec<Option<usize>> {
    let mut widths: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let texts = rows.iter().filter_map(|row| row.get(index));
            let widest = texts.map(|cell| measure_text_width(&cell.text)).max();
            match widest.unwrap_or(0) {
                0 if column.optional && is_whole => None,
                widest => {
                    let widest = widest.max(measure_text_width(&column.name));
                    // A column that shrinks need not start wider than all there is.
                    let bound = width_max.filter(|_| column.shrinks.is_some());
                    Some(widest.min(bound.unwrap_or(usize::MAX).max(WIDTH_MIN)))
                }
            }
        })
        .collect();
    let Some(width_max) = width_max else {
        return widths;
    };
    loop {
        let mut narrowed = widths.clone();
        for (shrinks, floor) in STEPS {
            narrow(columns, &mut narrowed, shrinks, floor, width_max);
        }
        if excess(&narrowed, width_max) == 0 {
            return narrowed;
        }
        let left_out = LEFT_OUT.iter().find_map(|rank| {
            let shown = |(_, width): &(&Column, &Option<usize>)| width.is_some();
            let mut pairs = columns.iter().zip(&widths);
            // Counted from the left, found from the right.
            pairs.rposition(|pair| shown(&pair) && pair.0.shrinks == Some(*rank))
        });
        let Some(index) = left_out else {
            narrow(columns, &mut narrowed, Shrinks::Key, WIDTH_MIN, width_max);
            return narrowed;
        };
        widths[index] = None;
    }
}

/// By how much a line of these widths is too long.
fn excess(widths: &[Option<usize>], width_max: usize) -> usize {
    let shown = widths.iter().flatten();
    let gaps = GAP.len() * shown.clone().count().saturating_sub(1);
    (shown.sum::<usize>() + gaps).saturating_sub(width_max)
}

/// Narrows columns of this rank to `floor` at least, the widest ones first, until the line fits.
fn narrow(
    columns: &[Column],
    widths: &mut [Option<usize>],
    shrinks: Shrinks,
    floor: usize,
    width_max: usize,
) {
    let mut excess = excess(widths, width_max);
    while excess > 0 {
        let widest = columns
            .iter()
            .zip(widths.iter_mut())
            .filter(|(column, _)| column.shrinks == Some(shrinks))
            .filter_map(|(_, width)| width.as_mut())
            .filter(|width| **width > floor)
            .max();
        let Some(width) = widest else { return };
        *width -= 1;
        excess -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widths(width_max: Option<usize>) -> Vec<Option<usize>> {
        let columns = [
            Column::new("id", Align::Left).shrinking(Shrinks::Key),
            Column::new("count", Align::Right),
            Column::new("status", Align::Left).shrinking(Shrinks::Finally),
            Column::new("none", Align::Left).optional(),
            Column::new("data", Align::Left).shrinking(Shrinks::First),
        ];
        let texts = [
            "x".repeat(24),
            "1".to_owned(),
            "measured".to_owned(),
            String::new(),
            "y".repeat(50),
        ];
        let rows = [texts.iter().map(Cell::new).collect()];
        fit(&columns, &rows, true, width_max)
    }

    #[test]
    fn fields_give_way_before_ids() {
        for (width_max, id, status, data) in [
            (None, 24, Some(8), Some(50)),
            (Some(120), 24, Some(8), Some(50)),
            (Some(80), 24, Some(8), Some(37)),
            (Some(50), 24, Some(8), Some(7)),
            (Some(47), 24, Some(6), Some(6)),
            (Some(46), 24, Some(8), None),
            (Some(40), 24, Some(7), None),
            (Some(38), 24, None, None),
            (Some(30), 23, None, None),
            (Some(1), 6, None, None),
        ] {
            let expected = vec![Some(id), Some(5), status, None, data];
            assert_eq!(widths(width_max), expected, "{width_max:?}");
        }
    }
}
