//! `dlq`: failures in groups, and groups tried again.

use std::fmt::Write as _;

use super::Shell;

/// 60 samples that failed for two reasons, and the six.
fn failed() -> Shell {
    let shell = Shell::with_six();
    let mut text = String::new();
    for n in 0..60 {
        let (stage, message) = match n % 3 {
            0 => ("fetch", format!("HTTP 50{}", n % 4)),
            _ => ("parse", format!("row {n}: field 'f{n}' is no number")),
        };
        writeln!(
            text,
            r#"{{"id":"n{n:02}","pipeline":"even","status":"dlq","created_at":"2013-07-01T00:{n:02}:00Z","reason":{{"stage":"{stage}","message":"{message}","attempts":2,"at":"2013-07-01T01:{n:02}:00Z"}}}}"#
        )
        .unwrap();
    }
    assert_eq!(shell.run_with(["import", "-"], &text).code, 0);
    shell
}

fn groups(shell: &Shell) -> Vec<serde_json::Value> {
    let groups = shell.data(["dlq", "group"]);
    groups
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn failures_are_grouped_by_stage_and_what_messages_have_in_common() {
    let shell = failed();
    let found = groups(&shell);
    let shown: Vec<_> = found
        .iter()
        .map(|group| {
            format!(
                "{} {} {} {}",
                group["count"], group["stage"], group["pattern"], group["example"]
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            r#"40 "parse" "row #: field '…' is no number" "n01""#,
            r#"20 "fetch" "HTTP #" "n00""#,
            r#"1 "parse" "no, '…'" "f""#,
        ]
    );
    assert_eq!(found[0]["first"], "2013-07-01T01:01:00Z");
    assert_eq!(found[0]["last"], "2013-07-01T01:59:00Z");
    let table = shell.data(["dlq", "group", "-f", "table", "--pipeline", "even"]);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(
        table.starts_with("group     count  stage  pattern"),
        "{table}"
    );
    let csv = shell.data([
        "dlq",
        "group",
        "-f",
        "csv",
        "--since",
        "2013-07-01T00:50:00Z",
    ]);
    assert!(csv.contains(",7,parse,"), "{csv}");
    // Statuses that the filters name count in place of dlq.
    let skipped = shell.run(["dlq", "group", "--status", "skipped"]);
    assert_eq!(skipped.data, "");
    assert!(
        skipped.words.contains("1 more have no reason"),
        "{skipped:?}"
    );
    assert_eq!(shell.data(["dlq", "list"]).lines().count(), 61);
}

#[test]
fn a_group_is_shown_and_put_back_to_pending() {
    let shell = failed();
    let group = groups(&shell)[0]["group"].as_str().unwrap().to_owned();
    let shown = shell.data(["dlq", "show", &group]);
    assert_eq!(shown.lines().count(), 40);
    assert!(shown.contains("row 1: field 'f1' is no number"));
    assert!(!shown.contains("HTTP"));
    assert_eq!(
        shell
            .data(["dlq", "show", &group, "--limit", "3", "--newest"])
            .lines()
            .count(),
        3
    );
    let csv = shell.data(["dlq", "show", &group, "--limit", "1", "-f", "csv"]);
    assert!(
        csv.starts_with("id,pipeline,status,created_at,measured_at,reason.stage"),
        "{csv}"
    );

    // Where no other group begins so, that is enough.
    let short = shell.data(["dlq", "show", &group[..6]]);
    assert_eq!(short, shown);
    let counted = shell.data(["dlq", "retry", &group[..6], "--dry-run"]);
    assert_eq!(counted, "{\"dry_run\":true,\"matched\":40,\"retried\":0}\n");
    // A limit is one of samples of the group, of which other failures stand between.
    let limited = ["dlq", "retry", &group, "--limit", "10", "--newest"];
    let counted = shell.data([&limited[..], &["--dry-run"]].concat());
    assert_eq!(counted, "{\"dry_run\":true,\"matched\":10,\"retried\":0}\n");
    let done = shell.data([&limited[..], &["--yes"]].concat());
    assert_eq!(done, "{\"dry_run\":false,\"matched\":10,\"retried\":10}\n");
    let newest = shell.data(["list", "--status", "pending", "--newest", "--limit", "1"]);
    assert!(newest.contains("\"id\":\"n59\""), "{newest}");
    shell.data([
        "mark", "dlq", "--from", "pending", "--since", "2013-07", "--yes",
    ]);

    let counted = shell.data(["dlq", "retry", &group, "--dry-run"]);
    assert_eq!(counted, "{\"dry_run\":true,\"matched\":40,\"retried\":0}\n");
    let done = shell.data(["dlq", "retry", &group, "--yes", "-f", "table"]);
    assert_eq!(done, "put 40 samples back to pending\n");
    assert_eq!(groups(&shell).len(), 2);
    // One pending sample was among the six.
    assert_eq!(shell.data(["count", "--status", "pending"]), "41\n");
    let answer = shell.run(["dlq", "retry", &group, "--yes"]);
    assert_eq!(answer.code, 1);
    assert!(
        answer.words.contains("no failure is of the group"),
        "{answer:?}"
    );
    assert_eq!(shell.run(["dlq", "show", "nonsense"]).code, 1);

    let done = shell.data(["dlq", "retry", "--all", "--pipeline", "even", "--yes"]);
    assert_eq!(done, "{\"dry_run\":false,\"matched\":20,\"retried\":20}\n");
    let done = shell.data(["dlq", "retry", "--all", "--yes", "--limit", "5"]);
    assert!(done.contains("\"retried\":1"), "{done}");
    assert_eq!(shell.data(["count", "--status", "dlq"]), "0\n");
    let done = shell.data(["dlq", "retry", "--all", "--yes"]);
    assert!(done.contains("\"matched\":0"), "{done}");
    let none = shell.run(["dlq", "group", "-f", "table"]);
    assert_eq!((none.code, none.data.as_str()), (0, ""));
    assert_eq!(none.words, "there are no failures\n");
}

#[test]
fn samples_that_did_not_fail_are_left_alone() {
    let shell = failed();
    let before = shell.data(["facets"]);
    for verb in [
        &["list"][..],
        &["group"],
        &["show", "0"],
        &["retry", "--all", "--yes"],
    ] {
        let words = [&["dlq"], verb, &["--status", "ready,labeled"]].concat();
        let refused = shell.run(words);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(
            refused.words.contains("in dlq and skipped, not ready"),
            "{refused:?}"
        );
    }
    assert_eq!(shell.data(["facets"]), before);
    let skipped = shell.data(["dlq", "retry", "--all", "--status", "skipped,dlq", "-n"]);
    assert!(skipped.contains("\"matched\":62"), "{skipped}");
}

#[test]
fn a_page_says_where_the_next_one_begins() {
    let shell = failed();
    let group = groups(&shell)[1]["group"].as_str().unwrap().to_owned();
    for (words, total) in [(&["dlq", "list"][..], 61), (&["dlq", "show", &group], 20)] {
        let (mut ids, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let mut page = [words, &["--limit", "7", "-f", "json"]].concat();
            if let Some(cursor) = &cursor {
                page.extend(["--cursor", cursor]);
            }
            let answer = shell.run(page);
            assert_eq!(answer.code, 0, "{answer:?}");
            let page: serde_json::Value = serde_json::from_str(&answer.data).unwrap();
            let samples = page["samples"].as_array().unwrap().iter();
            ids.extend(samples.map(|sample| sample["id"].clone()));
            let Some(next) = page["next"].as_str() else {
                break;
            };
            let said = format!("next page: --cursor {next}");
            assert!(answer.words.contains(&said), "{answer:?}");
            cursor = Some(next.to_owned());
        }
        assert_eq!(ids.len(), total, "{words:?} {ids:?}");
        ids.sort_by_key(ToString::to_string);
        ids.dedup();
        assert_eq!(ids.len(), total, "{words:?}");
    }
}

#[test]
fn ids_that_no_sample_has_are_told_beside_others_that_failed() {
    let shell = failed();
    let retried = shell.run([
        "dlq", "retry", "--all", "--id", "n00", "--id", "nope", "--yes",
    ]);
    assert_eq!(retried.code, 0, "{retried:?}");
    assert!(retried.data.contains("\"retried\":1"), "{retried:?}");
    assert!(
        retried.words.contains("no sample has the id \"nope\""),
        "{retried:?}"
    );
}

#[test]
fn a_group_is_tried_again_though_others_are_too_many_to_be_listed() {
    const GROUPS: u32 = 10_100;
    /// A message that has no number in it, by which groups are told apart.
    fn message(n: u32) -> String {
        let letters = format!("{n:05}");
        let letters = letters.bytes().map(|digit| char::from(digit - b'0' + b'k'));
        format!("no {}", letters.collect::<String>())
    }
    let shell = Shell::new();
    let mut text = String::new();
    for n in 0..GROUPS {
        writeln!(
            text,
            r#"{{"id":"{n}","pipeline":"p","status":"dlq","reason":{{"stage":"s","message":"{}","attempts":1,"at":"2013-07-01T00:00:00Z"}}}}"#,
            message(n)
        )
        .unwrap();
    }
    assert_eq!(
        shell.run_with(["import", "--batch", "10000"], &text).code,
        0
    );
    let listed = shell.run(["dlq", "group"]);
    assert!(
        listed.words.contains(" more are of other groups"),
        "{}",
        listed.words
    );
    let at = samplestore::parse_instant("2013-07-01", Default::default()).unwrap();
    let reason = samplestore::Reason::new("s", message(GROUPS - 1), 1, at);
    let group = samplestore::FailureGroup::group_of(&reason);
    assert!(!listed.data.contains(&group), "{group}");
    assert_eq!(shell.data(["dlq", "show", &group]).lines().count(), 1);
    let done = shell.data(["dlq", "retry", &group, "--yes"]);
    assert_eq!(done, "{\"dry_run\":false,\"matched\":1,\"retried\":1}\n");
    // A second name that there is not changes nothing, and is told.
    let first = samplestore::Reason::new("s", message(0), 1, at);
    let first = samplestore::FailureGroup::group_of(&first);
    let answer = shell.run(["dlq", "retry", &first, &group, "--yes"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    let said = format!("no failure is of the group \"{group}\"");
    assert!(answer.words.contains(&said), "{answer:?}");
    assert_eq!(shell.data(["count", "--status", "pending"]), "1\n");
}

#[test]
fn a_group_that_was_put_back_is_there_no_more() {
    let shell = failed();
    let group = groups(&shell)[1]["group"].as_str().unwrap().to_owned();
    let retry = ["dlq", "retry", &group, "--yes"];
    assert!(shell.data(retry).contains("\"retried\":20"));
    let again = shell.run(retry);
    assert_eq!((again.code, &*again.data), (1, ""), "{again:?}");
    let said = format!("error: no failure is of the group {group:?}\n");
    assert!(again.words.starts_with(&said), "{again:?}");
}
