//! [`one_of`]: a column whose text is one of many.
//!
//! DataFusion has lists for that, which deltalake takes apart into as many comparisons, one nested in the other, to leave out
//! files by their statistics: a list of some thousand texts overflows the stack, which ends the process. So only short
//! lists are given to them, and of longer ones the ends, and a function that knows them all.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use deltalake::arrow::array::{Array, AsArray, BooleanArray};
use deltalake::arrow::datatypes::DataType;
use deltalake::datafusion::logical_expr::{
    ColumnarValue, Expr, Volatility, create_udf, ident, lit,
};

/// Texts of the longest list that is given as one.
const LISTED_MAX: usize = 256;

/// Filters, all of which hold where the column has one of these texts.
pub(super) fn one_of(column: &str, texts: &BTreeSet<String>) -> Vec<Expr> {
    let (Some(first), Some(last)) = (texts.first(), texts.last()) else {
        return vec![lit(false)];
    };
    if texts.len() <= LISTED_MAX {
        let texts = texts.iter().map(|text| lit(text.as_str()));
        return vec![ident(column).in_list(texts.collect(), false)];
    }
    let known: HashSet<String> = texts.iter().cloned().collect();
    let is_known = move |arguments: &[ColumnarValue]| {
        let columns = ColumnarValue::values_to_arrays(arguments)?;
        let texts = columns.iter().flat_map(AsArray::as_string::<i32>);
        let found = texts.map(|text| text.map(|text| known.contains(text)));
        let found: BooleanArray = found.collect();
        Ok(ColumnarValue::Array(Arc::new(found) as Arc<dyn Array>))
    };
    // Volatile: it is not handed down to who takes filters apart.
    let is_known = create_udf(
        "is_one_of",
        vec![DataType::Utf8],
        DataType::Boolean,
        Volatility::Volatile,
        Arc::new(is_known),
    );
    vec![
        ident(column).gt_eq(lit(first.as_str())),
        ident(column).lt_eq(lit(last.as_str())),
        is_known.call(vec![ident(column)]),
    ]
}
