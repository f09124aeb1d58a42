//! `compact`: giving back the space of what is gone, of a database file or a Delta Lake table.

use std::io::Write;

use clap::Args;
use samplestore::Storage;
use serde_json::json;

use crate::failure::{Code, Outcome};
use crate::interrupt;
use crate::opening::Db;
use crate::output::{Output, ReportFormat};
use crate::progress::Busy;

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db compact
  samplestore -d delta+file:weather compact
  samplestore -d weather.db stats | jq .reclaimable_bytes

It is for a database file or a Delta Lake table, and takes no other URL.";

/// How long files of a table stay that its newest state has not.
#[cfg(feature = "delta")]
const KEPT_UNUSED: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 60 * 60);

/// Make the file smaller, without what was deleted or replaced
///
/// Of a Delta Lake table, small files are merged, and those of its own removed that have been unused for a week: until then,
/// readers of older states of the table may need them. Whatever else lies in its folder stays.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Compact {
    /// How to write the sizes [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<ReportFormat>,
}

impl Compact {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        interrupt::end_with(match db.location().database()? {
            Some(_) => {
                "nothing is lost; repair finishes what was begun, as does the next verb that reads or writes samples"
            }
            None => "nothing is lost; run it again for the rest",
        })?;
        #[cfg(feature = "delta")]
        if let Some(table) = db.write_existing_table()? {
            return self.compact_table(&table);
        }
        let database = db.write_existing()?;
        let before = db.file_bytes()?;
        let busy = Busy::new("compacting");
        db.while_others_read(|| database.compact())?;
        drop(busy);
        database.close()?;
        let after = db.file_bytes()?;
        let mut output = Output::new();
        match output.report_format(self.format) {
            ReportFormat::Table => {
                writeln!(output, "bytes before  {before}\nbytes after   {after}")?;
            }
            format => {
                let report = json!({ "bytes_before": before, "bytes_after": after });
                output.json(format, &report)?;
            }
        }
        output.finish()?;
        Ok(Code::Fine)
    }
    #[cfg(feature = "delta")]
    fn compact_table(self, table: &samplestore::DeltaTable) -> Outcome {
        let busy = Busy::new("compacting");
        let optimized = table.optimize()?;
        let removed = table.vacuum(KEPT_UNUSED)?;
        drop(busy);
        table.close()?;
        let (before, after) = (optimized.files_before, optimized.files_after);
        let mut output = Output::new();
        match output.report_format(self.format) {
            ReportFormat::Table => {
                writeln!(
                    output,
                    "files before   {before}\nfiles after    {after}\nfiles removed  {removed}"
                )?;
            }
            format => {
                let report = json!({
                    "files_before": before, "files_after": after, "files_removed": removed,
                });
                output.json(format, &report)?;
            }
        }
        output.finish()?;
        Ok(Code::Fine)
    }
}
