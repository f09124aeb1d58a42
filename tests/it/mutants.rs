//! Storages that break one rule each: the suite must fail, and name that rule.
//!
//! M7 and R10 have no mutant: what they are about, the text forms of samples and queries, is this
//! crate's own and no backend's, and is property-tested beside them.

mod fault;
mod faulty;

use samplestore::conformance::{Report, Suite};

use fault::Fault;
use faulty::Place;

fn suite(fault: Fault) -> Suite {
    Suite::reopening(move || Place::new(fault), Place::open)
}

/// Everything the suite knows, on the storage that the mutants are made from: what they are caught for
/// is their fault alone.
#[test]
fn without_a_fault_every_case_passes_and_none_is_skipped() {
    let report = suite(Fault::Nothing).run();
    report.assert_passed();
    assert_eq!(report.skipped().count(), 0, "{report}");
}

#[test]
fn a_case_that_fails_does_not_stop_the_others() {
    let all = |report: &Report| -> Vec<_> {
        let entries = report.entries().iter();
        entries.map(|entry| (entry.rule, entry.title)).collect()
    };
    let sound = suite(Fault::Nothing).run();
    let panicking = suite(Fault::PanicsOnOddId).run();
    assert_eq!(all(&panicking), all(&sound));
    assert!(
        panicking.to_string().contains("panicked: no id"),
        "{panicking}"
    );
    assert!(panicking.passed().count() > 40, "{panicking}");
}

macro_rules! mutants {
    ($($name:ident: $fault:ident breaks $rule:literal;)+) => {$(
        #[test]
        fn $name() {
            let report = suite(Fault::$fault).only([$rule]).run();
            assert!(
                report.failed_rules().contains($rule),
                "{:?} was not caught: {report}", Fault::$fault
            );
        }
    )+};
}

mutants! {
    ids_cut_at_nul: IdCutAtNul breaks "M1";
    pipelines_in_lower_case: PipelineInLowerCase breaks "M2";
    dlq_becomes_skipped: DlqBecomesSkipped breaks "M3";
    micros_cut: MicrosCut breaks "M4";
    negative_zero_lost: NegativeZeroLost breaks "M5";
    nan_becomes_null: NanBecomesNull breaks "M5";
    reason_lost: ReasonLost breaks "M6";
    too_large_taken: TooLargeTaken breaks "M8";

    batch_one_by_one: BatchOneByOne breaks "W1";
    replace_keeps_pipeline: ReplaceKeepsPipeline breaks "W2";
    replace_keeps_created_at: ReplaceKeepsCreatedAt breaks "W2";
    replace_merges: ReplaceMerges breaks "W2";
    first_of_two_wins: FirstOfTwoWins breaks "W3";
    empty_batch_refused: EmptyBatchRefused breaks "W4";
    all_counted_as_inserted: AllCountedAsInserted breaks "W5";
    position_off_by_one: PositionOffByOne breaks "W6";
    a_refused_batch_half_stored: BatchOneByOne breaks "W6";
    unclosed_lost: UnclosedLost breaks "W7";
    set_status_ignores_from: SetStatusIgnoresFrom breaks "W8";
    set_status_ignores_limit: SetStatusIgnoresLimit breaks "W8";
    set_status_ties_cursor_to_from: SetStatusTiesCursorToFrom breaks "W8";
    set_status_drops_reason: SetStatusDropsReason breaks "W8";
    set_status_one_by_one: SetStatusOneByOne breaks "W8";
    set_status_in_two_steps: SetStatusInTwoSteps breaks "W8";
    delete_leaves_facets: DeleteLeavesFacets breaks "W9";
    delete_ignores_limit: DeleteIgnoresLimit breaks "W9";

    not_found_is_an_error: NotFoundIsAnError breaks "R1";
    statuses_anded: StatusesAnded breaks "R2";
    pipelines_by_prefix: PipelinesByPrefix breaks "R2";
    after_inclusive: AfterInclusive breaks "R3";
    before_inclusive: BeforeInclusive breaks "R3";
    empty_range_refused: EmptyRangeRefused breaks "R3";
    ties_by_id: TiesById breaks "R4";
    newest_keeps_ties: NewestKeepsTies breaks "R4";
    replace_moves_to_end: ReplaceMovesToEnd breaks "R4";
    limit_before_filter: LimitBeforeFilter breaks "R5";
    limit_zero_is_none: LimitZeroIsNone breaks "R5";
    cursor_repeats_row: CursorRepeatsRow breaks "R6";
    cursor_skips_ties: CursorSkipsTies breaks "R6";
    cursor_needs_its_row: CursorNeedsItsRow breaks "R6";
    cursor_forgets_order: CursorForgetsOrder breaks "R6";
    cursor_of_any_storage: CursorOfAnyStorage breaks "R6";
    cursor_ends_with_handle: CursorEndsWithHandle breaks "R6";
    damaged_cursor_accepted: DamagedCursorAccepted breaks "R6";
    no_cursor: NoCursor breaks "R6";
    iterator_sees_writes: IteratorSeesWrites breaks "R7";
    count_ignores_limit: CountIgnoresLimit breaks "R8";
    facets_ignore_filter: FacetsIgnoreFilter breaks "R8";
    iterator_stops_at_thousand: IteratorStopsAtThousand breaks "R9";
    iterator_skips_large: IteratorSkipsLarge breaks "R9";

    opening_anew_forgets: OpeningAnewForgets breaks "L1";
    close_forgets: CloseForgets breaks "L2";
    close_twice_refused: CloseTwiceRefused breaks "L2";
    read_after_close: ReadAfterClose breaks "L2";
    unsupported_too_late: UnsupportedTooLate breaks "L3";
    promises_too_much: PromisesTooMuch breaks "L3";
    writers_refused: WritersRefused breaks "L4";
    panics_on_odd_id: PanicsOnOddId breaks "L5";
    cause_lost: CauseLost breaks "L5";
}
