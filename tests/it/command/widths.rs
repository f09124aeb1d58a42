//! Tables on terminals of any width: what is cut, what is left out, and rows that need more room than those before them.

use std::fmt::Write as _;

use super::Shell;
use super::terminal::{ended, on_narrow_terminal};

/// What is printed on a terminal of so many columns, without colours.
fn shown(shell: &Shell, words: &[&str], columns: u16) -> String {
    let words = [words, &["--color", "never", "-q"]].concat();
    let (text, code) = ended(&mut on_narrow_terminal(shell, &words, columns));
    assert_eq!(code, 0, "{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= columns.into(), "{words:?} {line:?}");
    }
    text
}

#[test]
fn later_rows_get_the_room_that_there_is() {
    let shell = Shell::new();
    let mut text = String::new();
    for n in 0..300 {
        writeln!(
            text,
            r#"{{"id":"a{n}","pipeline":"p","created_at":"2013-06-01T00:00:00Z"}}"#
        )
        .unwrap();
    }
    let id = "sensor-north-building-4711";
    let fields = r#""created_at":"2014-06-01T00:00:00Z","status":"measured""#;
    writeln!(
        text,
        r#"{{"id":"{id}","pipeline":"temperature-pipeline",{fields},"measurements":{{"temp":21.5}},"data":{{"n":1}}}}"#
    )
    .unwrap();
    assert_eq!(shell.run_with(["import"], &text).code, 0);
    let whole = format!("{id}  temperature-pipeline  measured  2014-06-01T00:00:00Z");
    let list = ["list", "--limit", "1000"];
    let wide = shown(&shell, &list, 160);
    assert!(
        wide.contains(&format!("{whole}  temp=21.5     n=1")),
        "{wide}"
    );
    let heads = wide.lines().filter(|line| line.starts_with("id "));
    assert_eq!(heads.count(), 2, "with columns that were empty before");
    // Where there is no room, columns are left out before an id is cut.
    for columns in [30, 40, 60] {
        let narrow = shown(&shell, &list, columns);
        assert!(narrow.contains(id), "{narrow}");
    }

    // While another process writes.
    let shell = Shell::with_six();
    let follow = ["tail", "--follow", "--limit", "1", "--color", "never"];
    let mut session = on_narrow_terminal(&shell, &follow, 160);
    session.exp_string("2013-06-01T05:").unwrap();
    let put = ["put", "--pipeline", "temperature-pipeline", "--id", id];
    shell.data([&put[..], &["--status", "measured"]].concat());
    session
        .exp_string(&format!("{id}  temperature-pipeline  measured  20"))
        .unwrap();
    session.send_control('c').unwrap();
    assert_eq!(ended(&mut session).1, 130);
}

#[test]
fn why_samples_failed_is_seen_on_a_narrow_terminal() {
    let shell = Shell::new();
    let message = "the station is not one of those that are known";
    let text: String = (0..3).fold(String::new(), |text, n| {
        let reason = format!(
            r#"{{"stage":"parse","message":"{message}","attempts":1,"at":"2013-07-01T01:0{n}:00Z"}}"#
        );
        format!(
            "{text}{{\"id\":\"n{n}\",\"pipeline\":\"even\",\"status\":\"dlq\",\"reason\":{reason},\"data\":{{\"word\":\"w\",\"n\":{n}}},\"created_at\":\"2013-07-01T00:00:00Z\"}}\n"
        )
    });
    assert_eq!(shell.run_with(["import"], &text).code, 0);
    let groups = shown(&shell, &["dlq", "group"], 80);
    assert!(
        groups.contains("the station is not one of those"),
        "{groups}"
    );
    assert!(groups.contains("  2013-07-01"), "{groups}");
    assert!(!groups.contains("2013-07-0…"), "{groups}");
    let list = shown(&shell, &["list", "--status", "dlq"], 60);
    assert!(list.contains("parse: the station is"), "{list}");
}

#[test]
fn a_narrow_terminal_cuts_no_id_while_there_is_another_column() {
    let shell = Shell::with_six();
    let id = "0190b7a0-1111-7222-8333-444455556666";
    shell.data(["put", "--pipeline", "a long name", "--id", id]);
    for columns in [40, 50, 60, 80, 120] {
        for words in [
            &["list"][..],
            &["dlq", "list"],
            &["dlq", "group"],
            &["schema"],
            &["facets"],
            &["facets", "--by", "pipeline"],
            &["hist"],
            &["tail"],
        ] {
            let text = shown(&shell, words, columns);
            if ["list", "tail"].contains(&words[0]) {
                assert!(text.contains(id), "{columns} {text}");
            }
            if words[0] == "facets" {
                assert!(!text.contains('…'), "{columns} {text}");
            }
        }
    }
}
