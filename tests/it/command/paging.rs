//! Going on behind a page: with filters of time that are counted from now, and by verbs that have an order of their own.

use std::thread;
use std::time::Duration;

use super::Shell;

/// Five samples of this moment, in dlq.
fn of_now() -> Shell {
    let shell = Shell::new();
    let line = |id| {
        format!(
            "{{\"id\":\"{id}\",\"pipeline\":\"p\",\"status\":\"dlq\",\"reason\":{{\"at\":\"2013-06-01T06:00:00Z\",\"attempts\":1,\"message\":\"no\",\"stage\":\"parse\"}}}}\n"
        )
    };
    let text: String = ["a", "b", "c", "d", "e"].map(line).concat();
    assert_eq!(shell.run_with(["import"], &text).code, 0);
    shell
}

/// The words behind `next page: `.
fn next_page(words: &str) -> Vec<String> {
    let mut lines = words
        .lines()
        .filter_map(|line| line.strip_prefix("next page: "));
    let next = lines.next().unwrap_or_else(|| panic!("{words}"));
    next.split(' ').map(str::to_owned).collect()
}

#[test]
fn the_next_page_of_a_time_ago_is_that_of_the_instant_it_stood_for() {
    let shell = of_now();
    for words in [
        &["list"][..],
        &["dlq", "list"],
        &["dlq", "show", "82b5c8f4"],
        &["export", "-f", "json"],
    ] {
        let group = shell.data(["dlq", "group", "-f", "csv"]);
        let group = group.lines().nth(1).unwrap()[..8].to_owned();
        let words = words.iter().map(|word| match *word {
            "82b5c8f4" => group.as_str(),
            word => word,
        });
        let words: Vec<_> = words.chain(["--limit", "2"]).collect();
        let first = [&words[..], &["--since", "2h", "--until", "1s"]].concat();
        // All of them are longer ago than a second.
        thread::sleep(Duration::from_millis(1_100));
        let first = shell.run(first);
        assert_eq!(first.code, 0, "{first:?}");
        let next = next_page(&first.words);
        let names: Vec<_> = next.iter().step_by(2).map(String::as_str).collect();
        assert_eq!(names, ["--since", "--until", "--cursor"], "{first:?}");
        let next: Vec<_> = next.iter().map(String::as_str).collect();
        let second = shell.run([&words[..], &next].concat());
        assert_eq!(second.code, 0, "{second:?}");
        let has = |id: &str| second.data.contains(&format!("\"id\":\"{id}\""));
        assert!(has("c") && has("d") && !has("e"), "{second:?}");
    }
    // An instant stands for itself.
    let exact = shell.run(["list", "--limit", "2", "--since", "2013-06"]);
    assert_eq!(next_page(&exact.words)[0], "--cursor");
}

#[test]
fn an_export_in_any_format_says_where_to_go_on() {
    let shell = Shell::with_six();
    let limit = ["--pipeline", "even", "--limit", "2"];
    let expected = next_page(&shell.run([&["list"][..], &limit].concat()).words);
    let mut formats = vec!["jsonl", "json", "csv"];
    if cfg!(feature = "arrow") {
        formats.extend(["parquet", "arrow"]);
    }
    for format in formats {
        let target = shell.path(&format!("two.{format}"));
        let words = ["export", target.to_str().unwrap()];
        let two = shell.run([&words[..], &limit].concat());
        assert_eq!(two.code, 0, "{two:?}");
        assert_eq!(next_page(&two.words), expected, "{format}");
        // One is left.
        let next: Vec<_> = expected.iter().map(String::as_str).collect();
        let words = [&words[..], &["--overwrite"], &limit, &next].concat();
        let last = shell.run(words);
        assert_eq!(last.code, 0, "{last:?}");
        assert!(!last.words.contains("next page"), "{last:?}");
        assert!(last.words.contains("1 sample in "), "{last:?}");
    }
}

#[test]
fn what_to_do_about_a_cursor_is_said_where_it_is_known() {
    let shell = of_now();
    let first = shell.run(["list", "--limit", "2", "--since", "2h"]);
    let cursor = next_page(&first.words).pop().unwrap();
    let misused = shell.run(["list", "--since", "2h", "--cursor", &cursor]);
    assert_eq!(misused.code, 2, "{misused:?}");
    let is_hinted = ["hint: repeat the filters", "2h", "next page"];
    let is_hinted = is_hinted.iter().all(|words| misused.words.contains(words));
    assert!(is_hinted, "{misused:?}");

    let other = of_now();
    let last = if cursor.ends_with('A') { 'E' } else { 'A' };
    let damaged = format!("{}{last}", &cursor[..cursor.len() - 1]);
    for (shell, cursor) in [(&other, &*cursor), (&shell, &damaged), (&shell, "AQ")] {
        let answer = shell.run(["list", "--cursor", cursor]);
        assert_eq!(answer.code, 2, "{answer:?}");
        assert!(!answer.words.contains("hint"), "{answer:?}");
    }
}

#[test]
fn a_schema_goes_on_from_a_cursor_in_its_order() {
    let shell = Shell::new();
    let mut text =
        "{\"id\":\"0\",\"pipeline\":\"p\",\"created_at\":\"2000-01-01T00:00:00Z\"}\n".to_owned();
    for n in 0..10_002 {
        text.push_str(&format!(
            "{{\"id\":\"n{n}\",\"pipeline\":\"p\",\"created_at\":\"2001-01-01T00:00:00Z\",\"data\":{{\"n\":{n}}}}}\n"
        ));
    }
    assert_eq!(shell.run_with(["import"], &text).code, 0);
    for order in [&[][..], &["--newest"]] {
        let first = shell.run([&["list", "--limit", "1"], order].concat());
        let cursor = next_page(&first.words).pop().unwrap();
        let words = [&["schema", "-f", "json", "--cursor", &cursor], order].concat();
        let schema = shell.run(words);
        assert_eq!(schema.code, 0, "{schema:?}");
        assert!(schema.data.contains("\"samples\": 10000"), "{schema:?}");
        assert!(
            schema
                .words
                .contains("of the first 10,000 samples of 10,002"),
            "{schema:?}"
        );
    }
}

#[test]
fn tail_shows_the_newest_behind_a_cursor() {
    let shell = Shell::with_six();
    let first = shell.run(["list", "--limit", "3"]);
    let cursor = next_page(&first.words).pop().unwrap();
    let ids = |words: &[&str]| {
        let data = shell.data([&["tail", "--cursor", &cursor], words].concat());
        let ids = data.lines().map(|line| line[7..8].to_owned());
        ids.collect::<String>()
    };
    assert_eq!(ids(&[]), "def");
    assert_eq!(ids(&["--limit", "2"]), "ef");
    assert_eq!(ids(&["--limit", "0"]), "");
    let newest = shell.run(["list", "--limit", "3", "--newest"]);
    let cursor = next_page(&newest.words).pop().unwrap();
    assert_eq!(shell.run(["tail", "--cursor", &cursor]).code, 2);
}
