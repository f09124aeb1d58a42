//! [`Table`]: rows in aligned columns, streamed.
//!
//! The first rows are held back to learn how wide each column must be; the others follow at those
//! widths, so a table of a million rows needs no more memory than one of 256. On a terminal no line is
//! longer than it is wide: columns that may shrink do, down to a floor, and are left out where that is not enough. A later row
//! that needs more room gets what there is: columns become wider from there on, and the heads are written again where others
//! are shown than before. Elsewhere nothing is cut.

use std::borrow::Cow;
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
/// In which order columns are left out where narrowing is not enough, of one rank the rightmost first; those that are kept after
/// all others.
const LEFT_OUT: [Shrinks; 4] = [
    Shrinks::First,
    Shrinks::Whole,
    Shrinks::Finally,
    Shrinks::Last,
];
/// No column is narrowed below this.
const WIDTH_MIN: usize = 6;
/// The lengths at which an instant may end: with its second, its minute, its day.
const INSTANT_ENDS: [usize; 3] = [19, 16, 10];
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
    /// Where nothing else helps: instants, of which the date is left, and statuses.
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
    /// It is not narrowed below this.
    width_min: usize,
    /// Whether others are left out before it is.
    kept: bool,
    of_instants: bool,
    /// Whether it is left out when it turns out to be empty.
    optional: bool,
}

impl Column {
    pub(crate) fn new(name: impl Into<String>, align: Align) -> Self {
        Self {
            name: name.into(),
            align,
            shrinks: None,
            width_min: WIDTH_MIN,
            kept: false,
            of_instants: false,
            optional: false,
        }
    }

    /// A column of instants, of which at least the date is shown whole.
    pub(crate) fn of_instants(name: impl Into<String>, shrinks: Shrinks) -> Self {
        Self {
            width_min: INSTANT_ENDS[2],
            of_instants: true,
            ..Self::new(name, Align::Left).shrinking(shrinks)
        }
    }

    /// May be narrowed on a terminal.
    pub(crate) fn shrinking(mut self, shrinks: Shrinks) -> Self {
        self.shrinks = Some(shrinks);
        self
    }

    /// Is what the table is looked at for: it keeps so much room while there are other columns that can be left out.
    pub(crate) fn keeping(mut self, width: usize) -> Self {
        self.width_min = width;
        self.kept = true;
        self
    }

    /// Is left out when no row has anything in it, on a terminal until one has, elsewhere as far as that is known before the
    /// first row is written.
    pub(crate) fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
}

/// One text in a row, made safe for a terminal.
pub(crate) struct Cell {
    text: String,
    style: Option<Style>,
    is_instant: bool,
}

impl Cell {
    pub(crate) fn new(text: impl AsRef<str>) -> Self {
        Self {
            text: escape(text.as_ref()).into_owned(),
            style: None,
            is_instant: false,
        }
    }

    /// An instant, RFC 3339. It is cut behind its second, its minute or its day.
    pub(crate) fn instant(text: impl AsRef<str>) -> Self {
        Self {
            is_instant: true,
            ..Self::new(text)
        }
    }

    pub(crate) fn styled(text: impl AsRef<str>, style: Style) -> Self {
        Self {
            style: Some(style),
            ..Self::new(text)
        }
    }

    fn cut(&self, width: usize) -> Cow<'_, str> {
        let ends = INSTANT_ENDS.into_iter().filter(|_| self.is_instant);
        let is_cut = measure_text_width(&self.text) > width;
        let mut ends = ends.filter(|end| is_cut && *end <= width);
        let at_end = ends.next().and_then(|end| self.text.get(..end));
        // Years of more than four digits move all that follows.
        match at_end.filter(|_| self.text.as_bytes().get(10) == Some(&b'T')) {
            Some(text) => text.into(),
            None => truncate_str(&self.text, width, "…"),
        }
    }
}

/// A table being written.
pub(crate) struct Table {
    columns: Vec<Column>,
    held: Vec<Vec<Cell>>,
    /// How wide the widest text of each column is so far.
    widest: Vec<usize>,
    /// How many columns the terminal had when widths were chosen.
    width_max: Option<usize>,
    /// The width of each column, once rows are written; none for one that is left out.
    widths: Option<Vec<Option<usize>>>,
}

impl Table {
    pub(crate) fn new(columns: Vec<Column>) -> Self {
        Self {
            widest: vec![0; columns.len()],
            columns,
            held: Vec::new(),
            width_max: None,
            widths: None,
        }
    }

    /// Writes one row, or holds it back.
    pub(crate) fn row(&mut self, output: &mut Output, row: Vec<Cell>) -> io::Result<()> {
        let is_wider = self.look_at(&row);
        if self.widths.is_some() {
            let width_max = output.width();
            if width_max.is_some() && (is_wider || width_max != self.width_max) {
                self.lay_out(output, false)?;
            }
            return self.write(output, &row);
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

    /// Remembers how wide its texts are, and says whether any is wider than those before it.
    fn look_at(&mut self, row: &[Cell]) -> bool {
        let mut is_wider = false;
        for (widest, cell) in self.widest.iter_mut().zip(row) {
            let width = measure_text_width(&cell.text);
            is_wider |= width > *widest;
            *widest = width.max(*widest);
        }
        is_wider
    }

    fn begin(&mut self, output: &mut Output, is_whole: bool) -> io::Result<()> {
        self.lay_out(output, is_whole)?;
        for row in std::mem::take(&mut self.held) {
            self.write(output, &row)?;
        }
        Ok(())
    }

    /// Chooses the widths, and writes the heads where other columns are shown than before.
    fn lay_out(&mut self, output: &mut Output, is_whole: bool) -> io::Result<()> {
        self.width_max = output.width();
        let widths = fit(&self.columns, &self.widest, is_whole, self.width_max);
        let shown = |widths: &[Option<usize>]| -> Vec<bool> {
            widths.iter().map(Option::is_some).collect()
        };
        let old = self.widths.as_deref().map(shown);
        let is_other = old.is_none_or(|old| old != shown(&widths));
        self.widths = Some(widths);
        if !is_other {
            return Ok(());
        }
        let heads: Vec<_> = self
            .columns
            .iter()
            .map(|column| Cell::styled(&column.name, Style::new().bold()))
            .collect();
        self.write(output, &heads)
    }

    fn write(&self, output: &mut Output, row: &[Cell]) -> io::Result<()> {
        let widths = self.widths.iter().flatten();
        let colors = output.has_colors();
        let is_cut = self.width_max.is_some();
        let mut line = String::new();
        let mut pad = 0;
        for ((column, width), cell) in self.columns.iter().zip(widths).zip(row) {
            let Some(width) = *width else { continue };
            let text = match is_cut {
                true => cell.cut(width),
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

/// The width of each column, of which `widest` is how wide its texts are. `is_whole` says that no other row follows.
fn fit(
    columns: &[Column],
    widest: &[usize],
    is_whole: bool,
    width_max: Option<usize>,
) -> Vec<Option<usize>> {
    let mut widths: Vec<_> = columns
        .iter()
        .zip(widest)
        .map(|(column, widest)| {
            if *widest == 0 && column.optional && (is_whole || width_max.is_some()) {
                return None;
            }
            let widest = (*widest).max(measure_text_width(&column.name));
            // A column that shrinks need not start wider than all there is.
            let bound = width_max.filter(|_| column.shrinks.is_some());
            Some(widest.min(bound.unwrap_or(usize::MAX).max(WIDTH_MIN)))
        })
        .collect();
    let Some(width_max) = width_max else {
        return widths;
    };
    loop {
        let mut narrowed = widths.clone();
        for (shrinks, floor) in STEPS {
            narrow(columns, &mut narrowed, width_max, |column| {
                (column.shrinks == Some(shrinks)).then_some(floor.max(column.width_min))
            });
        }
        if excess(&narrowed, width_max) == 0 {
            spread(columns, &widths, &mut narrowed, width_max);
            return narrowed;
        }
        // The rightmost one that is shown.
        let find = |widths: &[Option<usize>], is_it: &dyn Fn(&Column) -> bool| {
            let mut pairs = columns.iter().zip(widths);
            pairs.rposition(|(column, width)| width.is_some() && is_it(column))
        };
        let left_out = LEFT_OUT.iter().find_map(|rank| {
            let is_it = |column: &Column| column.shrinks == Some(*rank) && !column.kept;
            find(&widths, &is_it)
        });
        if let Some(index) = left_out {
            widths[index] = None;
            continue;
        }
        narrow(columns, &mut narrowed, width_max, |column| {
            column.kept.then_some(WIDTH_MIN)
        });
        if excess(&narrowed, width_max) == 0 {
            return narrowed;
        }
        match find(&widths, &|column: &Column| column.kept) {
            Some(index) => widths[index] = None,
            None => {
                narrow(columns, &mut narrowed, width_max, |column| {
                    (column.shrinks == Some(Shrinks::Key)).then_some(WIDTH_MIN)
                });
                return narrowed;
            }
        }
    }
}

/// By how much a line of these widths is too long.
fn excess(widths: &[Option<usize>], width_max: usize) -> usize {
    line_width(widths).saturating_sub(width_max)
}

fn line_width(widths: &[Option<usize>]) -> usize {
    let shown = widths.iter().flatten();
    let gaps = GAP.len() * shown.clone().count().saturating_sub(1);
    shown.sum::<usize>() + gaps
}

/// Gives the room that instants do not need, which are shown to their second, minute or day, to columns that want it.
fn spread(
    columns: &[Column],
    wanted: &[Option<usize>],
    widths: &mut [Option<usize>],
    width_max: usize,
) {
    let of_instants = columns.iter().map(|column| column.of_instants);
    for ((is_one, wanted), width) in of_instants.zip(wanted).zip(widths.iter_mut()) {
        if let (true, Some(width)) = (is_one && *width < *wanted, width) {
            let mut ends = INSTANT_ENDS.into_iter().filter(|end| *end <= *width);
            *width = ends.next().unwrap_or(*width);
        }
    }
    for (wanted, index) in wanted.iter().zip(0..) {
        while let (Some(wanted), Some(width)) = (*wanted, widths[index])
            && width < wanted
            && !columns[index].of_instants
            && line_width(widths) < width_max
        {
            widths[index] = Some(width + 1);
        }
    }
}

/// Narrows the columns that have a floor down to it at most, the widest ones first, until the line fits.
fn narrow(
    columns: &[Column],
    widths: &mut [Option<usize>],
    width_max: usize,
    floor: impl Fn(&Column) -> Option<usize>,
) {
    let mut excess = excess(widths, width_max);
    while excess > 0 {
        let pairs = columns.iter().zip(widths.iter_mut());
        let above = pairs.filter_map(|(column, width)| {
            let (floor, width) = (floor(column)?, width.as_mut()?);
            (*width > floor).then_some(width)
        });
        let Some(width) = above.max() else { return };
        *width -= 1;
        excess -= 1;
    }
}

#[cfg(test)]
mod tests;
