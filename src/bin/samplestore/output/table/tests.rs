//! How wide columns become.

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
    let widest = texts.map(|text| text.len());
    fit(&columns, &widest, true, width_max)
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

#[test]
fn what_a_table_is_looked_at_for_stays_longest_but_for_ids() {
    let columns = [
        Column::new("id", Align::Left).shrinking(Shrinks::Key),
        Column::of_instants("at", Shrinks::Finally),
        Column::new("reason", Align::Left)
            .shrinking(Shrinks::First)
            .keeping(24)
            .optional(),
        Column::new("data", Align::Left).shrinking(Shrinks::First),
    ];
    for (width_max, id, at, reason, data) in [
        (110, 10, Some(20), Some(37), Some(37)),
        (70, 10, Some(20), Some(24), Some(10)),
        (60, 10, Some(10), Some(28), Some(6)),
        (55, 10, Some(16), Some(25), None),
        (48, 10, Some(10), Some(24), None),
        (47, 10, None, Some(35), None),
        (20, 10, None, Some(8), None),
        (17, 10, None, None, None),
        (8, 8, None, None, None),
    ] {
        let found = fit(&columns, &[10, 20, 40, 50], false, Some(width_max));
        assert_eq!(found, [Some(id), at, reason, data], "{width_max}");
    }
    let empty = fit(&columns, &[10, 20, 0, 50], false, Some(110));
    assert_eq!(empty[2], None, "nothing is in it yet");
    let piped = fit(&columns, &[10, 20, 0, 50], false, None);
    assert_eq!(piped[2], Some(6), "something may yet be in it");
}

#[test]
fn an_instant_is_cut_where_a_part_of_it_ends() {
    let cell = Cell::instant("2014-01-05T09:00:30.5Z");
    for (width, shown) in [
        (22, "2014-01-05T09:00:30.5Z"),
        (21, "2014-01-05T09:00:30"),
        (18, "2014-01-05T09:00"),
        (15, "2014-01-05"),
        (9, "2014-01-…"),
    ] {
        assert_eq!(cell.cut(width), shown);
    }
    assert_eq!(
        Cell::instant("+12014-01-05T09:00:30Z").cut(12),
        "+12014-01-0…"
    );
    assert_eq!(Cell::new("2014-01-05T09:00:30Z").cut(12), "2014-01-05T…");
}
