//! `import`: records that are nearly what they should be.

use std::fs;
use std::io::Write;

use super::Shell;
use super::import::figures;

#[test]
fn instants_of_records_are_in_figures_from_the_year_on() {
    let flags = ["--pipeline", "p", "--created-at-field", "at"];
    for at in [
        "9am 2013-06-01",
        "9am -05:00",
        "10am 01-02-2013",
        "3pm june-2013",
        "1pm-2pm",
        "9am-5pm mon",
        "13:00 2013-06-01",
        "01-02-03",
        "yesterday",
        "2h",
    ] {
        for (name, text) in [
            ("a.csv", format!("at\n{at}\n")),
            ("a.jsonl", format!("{{\"at\":\"{at}\"}}\n")),
        ] {
            let shell = Shell::new();
            let file = shell.file(name, text);
            let answer = shell.run([&["import", &file][..], &flags].concat());
            assert_eq!(answer.code, 3, "{at}: {answer:?}");
            assert_eq!(figures(&answer.words), [0, 0, 0, 1], "{at}");
        }
    }
    let shell = Shell::new();
    let file = shell.file(
        "a.csv",
        "at\n 2013-06-01 12:30\n2013-06-01T14:30:00+02:00\n2013-06\n-0044-03-15T00:00:00Z\n",
    );
    shell.data([&["import", &file][..], &flags].concat());
    let at = "2013-06-01T12:30:00Z";
    assert_eq!(shell.data(["count", "--since", at, "--until", at]), "2\n");
}

#[test]
fn what_follows_an_array_takes_no_record_with_it() {
    let shell = Shell::new();
    let text = "[{\"id\":\"a\",\"pipeline\":\"p\"},{\"id\":\"b\",\"pipeline\":\"p\"}] x";
    let answer = shell.run_with(["import", "--format", "json"], text);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.words.contains("follows the array"), "{answer:?}");
    assert_eq!(figures(&answer.words), [2, 0, 0, 0]);
}

#[test]
fn a_byte_order_mark_is_of_no_record() {
    let shell = Shell::new();
    let sample = "\u{feff}{\"id\":\"a\",\"pipeline\":\"p\"}";
    assert_eq!(shell.run_with(["put"], sample).code, 0);
    assert_eq!(shell.run_with(["import"], sample).code, 0);
    assert_eq!(shell.data(["count"]), "1\n");
}

#[test]
fn an_id_goes_into_a_pipe_as_it_is_and_into_a_table_so_that_it_is_seen() {
    let shell = Shell::new();
    let id = "a\u{200d}b\u{61c}\u{e0041}";
    let put = ["put", "--pipeline", "p", "--id", id, "-q"];
    assert_eq!(shell.data(put), format!("{id}\n"));
    assert!(shell.data(["list"]).contains(id));
    let table = shell.data(["list", "-f", "table"]);
    assert!(table.contains("a\\u{200d}b\\u{61c}\\u{e0041} "), "{table}");
}

#[test]
fn how_many_more_were_rejected_is_told_as_other_counts_are() {
    let answer = Shell::new().run_with(["import"], &"x\n".repeat(1_006));
    assert!(answer.words.contains("rejected 1,001 more;"), "{answer:?}");
}

#[test]
fn a_quote_that_is_not_closed_is_hinted_at() {
    let shell = Shell::new();
    let file = shell.file("a.csv", "a,b\n1,\"2\n3,4\n5,6\",7\n8,9\n");
    let answer = shell.run(["import", &file, "--pipeline", "p"]);
    assert_eq!(figures(&answer.words), [1, 0, 0, 1], "{answer:?}");
    assert!(
        answer.words.contains("a quote that is not closed"),
        "{answer:?}"
    );
    let short = shell.file("b.csv", "a,b\n1\n");
    let answer = shell.run(["import", &short, "--pipeline", "p"]);
    assert!(!answer.words.contains("hint"), "{answer:?}");
}

#[test]
fn a_record_without_end_is_not_held_in_memory() {
    let shell = Shell::new();
    // What is not written of a file is read as zeros.
    let with_long = |name: &str, begin: &str, end: &str| {
        let path = shell.file(name, begin);
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.set_len((417 << 20) + begin.len() as u64).unwrap();
        file.write_all(end.as_bytes()).unwrap();
        path
    };
    let lines = with_long("long.jsonl", "", "\n{\"id\":\"b\",\"pipeline\":\"p\"}\n");
    let answer = shell.run(["import", &lines]);
    assert_eq!(answer.code, 3, "{answer:?}");
    assert!(
        answer.words.contains("line 1: it is longer than 416 MiB"),
        "{answer:?}"
    );
    assert_eq!(shell.data(["count"]), "1\n");

    let quote = with_long("open.csv", "id\nc\n\"", "");
    let answer = shell.run(["import", &quote, "--pipeline", "p", "--id-field", "id"]);
    assert_eq!(answer.code, 1, "{:?}", answer.words);
    assert!(
        answer.words.contains("is a quote not closed?"),
        "{:?}",
        answer.words
    );
    assert_eq!(shell.data(["count"]), "2\n");
}
