//! `import`: records that are nearly what they should be.

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
