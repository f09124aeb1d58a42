//! Counts per pipeline and status, as a table, as JSON and in words.

use std::io;

use console::Style;
use indicatif::HumanCount;
use samplestore::{Facets, Status};
use serde_json::{Value as Json, json};

use super::{Align, Cell, Column, Output, Shrinks, Table};

/// So much room a pipeline has at least where each status has a column.
const PIPELINE_WIDTH: usize = 8;

/// `1,000 pending, 20 dlq`.
pub(crate) fn facets_words(facets: &Facets) -> String {
    let counts = facets.by_status();
    let parts: Vec<_> = counts
        .into_iter()
        .map(|(status, count)| format!("{} {status}", HumanCount(count)))
        .collect();
    match parts.is_empty() {
        true => "none".to_owned(),
        false => parts.join(", "),
    }
}

/// One line for each pipeline, one column for each status that any sample has, and the sums.
pub(crate) fn facets_table(output: &mut Output, facets: &Facets) -> io::Result<()> {
    let by_status = facets.by_status();
    let statuses: Vec<Status> = by_status.keys().copied().collect();
    let totals = by_status
        .iter()
        .map(|(status, count)| (status.as_str(), *count));
    let counts = totals.chain([("total", facets.total())]);
    let widths = counts.map(|(name, count)| 2 + name.len().max(count.to_string().len()));
    if output
        .width()
        .is_some_and(|width| PIPELINE_WIDTH + widths.sum::<usize>() > width)
    {
        return narrow_table(output, facets);
    }
    let mut columns = vec![Column::new("pipeline", Align::Left).shrinking(Shrinks::Key)];
    columns.extend(
        statuses
            .iter()
            .map(|status| Column::new(status.as_str(), Align::Right)),
    );
    columns.push(Column::new("total", Align::Right));
    let mut table = Table::new(columns);
    for (pipeline, total) in facets.by_pipeline() {
        let mut row = vec![Cell::new(pipeline)];
        row.extend(
            statuses
                .iter()
                .map(|status| Cell::new(facets.get(pipeline, *status).to_string())),
        );
        row.push(Cell::new(total.to_string()));
        table.row(output, row)?;
    }
    let bold = |text: String| Cell::styled(text, Style::new().bold());
    let mut sums = vec![bold("total".to_owned())];
    sums.extend(by_status.values().map(|count| bold(count.to_string())));
    sums.push(bold(facets.total().to_string()));
    table.row(output, sums)?;
    table.finish(output)
}

/// One line for each pipeline and status, where there is no room for their columns.
fn narrow_table(output: &mut Output, facets: &Facets) -> io::Result<()> {
    let mut table = Table::new(vec![
        Column::new("pipeline", Align::Left).shrinking(Shrinks::Key),
        Column::new("status", Align::Left).shrinking(Shrinks::Finally),
        Column::new("count", Align::Right),
    ]);
    for facet in facets.iter() {
        let row = [
            facet.pipeline.as_str(),
            facet.status.as_str(),
            &facet.count.to_string(),
        ];
        table.row(output, row.iter().map(Cell::new).collect())?;
    }
    let bold = |text: String| Cell::styled(text, Style::new().bold());
    let sum = [
        "total".to_owned(),
        String::new(),
        facets.total().to_string(),
    ];
    table.row(output, sum.into_iter().map(bold).collect())?;
    table.finish(output)
}

/// The same as one object: `total`, `pipelines`, `statuses`, and `facets` for both.
pub(crate) fn facets_json(facets: &Facets) -> Json {
    let statuses = facets.by_status();
    let statuses = statuses
        .into_iter()
        .map(|(status, count)| (status.as_str().to_owned(), count.into()));
    json!({
        "total": facets.total(),
        "pipelines": facets.by_pipeline(),
        "statuses": statuses.collect::<serde_json::Map<_, _>>(),
        "facets": facets.iter().collect::<Vec<_>>(),
    })
}
