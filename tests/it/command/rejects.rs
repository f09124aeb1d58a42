//! `import --rejects`: the file it makes, and what can be done with it.

use std::fs;

use serde_json::{Value as Json, json};

use super::Shell;

const FLAGS: [&str; 6] = [
    "--pipeline",
    "p",
    "--id-field",
    "id",
    "--status-field",
    "state",
];

fn fields(rejects: &str) -> Vec<Json> {
    let lines = rejects.lines().map(|line| {
        let line: Json = serde_json::from_str(line).unwrap();
        line["fields"].clone()
    });
    lines.collect()
}

#[test]
fn a_file_that_is_there_is_kept_unless_it_may_be_overwritten() {
    let shell = Shell::new();
    let good = shell.file("good.csv", "id,state\na,ready\n");
    let bad = shell.file("bad.csv", "id,state\nb,reday\n");
    let rejects = shell.file("rejects", "kept\n");
    let import = |file: &str, more: &[&str]| {
        let words = ["import", file, "--rejects", &rejects];
        shell.run([&words, more, &FLAGS].concat())
    };
    for file in [&good, &bad] {
        let refused = import(file, &[]);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.words.contains("hint: --overwrite"), "{refused:?}");
        assert!(!shell.db().exists(), "nothing is done before that");
        assert_eq!(fs::read_to_string(&rejects).unwrap(), "kept\n");
    }
    // Without a reject there is nothing to put in its place.
    assert_eq!(import(&good, &["--overwrite"]).code, 0);
    assert_eq!(fs::read_to_string(&rejects).unwrap(), "kept\n");
    assert_eq!(import(&bad, &["--overwrite"]).code, 3);
    let written = fs::read_to_string(&rejects).unwrap();
    assert_eq!(fields(&written), [json!({"id": "b", "state": "reday"})]);

    shell.file("rejects", "");
    assert_eq!(import(&bad, &[]).code, 3, "an empty file holds nothing");
    assert_eq!(fs::read_to_string(&rejects).unwrap(), written);
    assert_eq!(shell.run(["import", &good, "--overwrite"]).code, 2);
}

#[test]
fn it_is_made_at_the_first_reject_and_not_before() {
    let shell = Shell::new();
    let good = shell.file("good.csv", "id,state\na,ready\n");
    let rejects = shell.path("rejects");
    let words = ["import", &good, "--rejects", rejects.to_str().unwrap()];
    assert_eq!(shell.run([&words[..], &FLAGS].concat()).code, 0);
    assert!(!rejects.exists());
    let nowhere = shell.path("no/such/rejects");
    let words = ["import", &good, "--rejects", nowhere.to_str().unwrap()];
    let answer = shell.run([&words[..], &FLAGS].concat());
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.words.contains("no/such/rejects"), "{answer:?}");
}

#[test]
fn corrected_rejects_are_imported_as_the_others_were() {
    let shell = Shell::new();
    let rejects = shell.path("rejects");
    let csv = "id,state,n,code,none\nb,reday,2,0012,\n";
    let file = shell.file("a.csv", csv);
    let words = ["import", &file, "--rejects", rejects.to_str().unwrap()];
    assert_eq!(shell.run([&words[..], &FLAGS].concat()).code, 3);
    let written = fs::read_to_string(&rejects).unwrap();
    let found = fields(&written);
    assert_eq!(
        found,
        [json!({"id": "b", "state": "reday", "n": 2, "code": "0012"})]
    );
    let corrected = found[0].to_string().replace("reday", "ready");
    let words = [&["import", "-"][..], &FLAGS].concat();
    assert_eq!(shell.run_with(words, &corrected).code, 0);
    let by_rejects = shell.data(["get", "b", "-f", "csv"]);

    let other = Shell::new();
    let file = other.file("a.csv", csv.replace("reday", "ready"));
    let words = [&["import", &file][..], &FLAGS].concat();
    assert_eq!(other.run(words).code, 0);
    let [by_rejects, by_file] = [by_rejects, other.data(["get", "b", "-f", "csv"])].map(|text| {
        // All but the instant of creation.
        let row = text.lines().nth(1).unwrap().to_owned();
        let cells: Vec<_> = row.split(',').map(str::to_owned).collect();
        [&cells[..3], &cells[4..]].concat()
    });
    assert_eq!(by_rejects, by_file);
}

#[test]
fn json_is_kept_to_the_last_digit() {
    let shell = Shell::new();
    let rejects = shell.path("rejects");
    let words = ["--rejects", rejects.to_str().unwrap(), "--overwrite"];
    let number = "18446744073709551616";
    for (format, text) in [
        (
            "jsonl",
            format!("{{\"id\":\"a\",\"pipeline\":\"p\",\"data\":{{\"n\":{number}}}}}"),
        ),
        (
            "json",
            format!("[{{\"id\":\"a\",\n\"pipeline\":\"p\",\r\n\"data\":{{\"n\":{number}}}}}]"),
        ),
    ] {
        let words = [&["import", "--format", format][..], &words].concat();
        assert_eq!(shell.run_with(words, &text).code, 3);
        let written = fs::read_to_string(&rejects).unwrap();
        assert_eq!(written.lines().count(), 1, "{written}");
        assert!(
            written.contains(&format!("{{\"n\":{number}}}")),
            "{written}"
        );
    }
}

#[test]
fn records_that_are_no_samples_say_which_flags_take_them() {
    let shell = Shell::new();
    let foreign = "{\"user\":\"u\",\"n\":1}\n{\"user\":\"v\",\"n\":2}\n";
    let answer = shell.run_with(["import"], foreign);
    assert_eq!(answer.code, 3, "{answer:?}");
    assert_eq!(answer.words.matches("hint: ").count(), 1, "{answer:?}");
    for flag in ["--pipeline-field", "--id-field", "--measurement"] {
        assert!(answer.words.contains(flag), "{answer:?}");
    }
    let flags = ["import", "--pipeline", "p", "--id-field", "user"];
    assert_eq!(shell.run_with(flags, foreign).code, 0);

    let rejects = shell.path("rejects");
    let words = ["import", "--rejects", rejects.to_str().unwrap()];
    let kept = shell.run_with(words, foreign);
    assert!(kept.words.contains("hint: with --pipeline"), "{kept:?}");

    // What is nearly a sample is told by its reason alone.
    for text in [
        "x",
        "{\"id\":\"a\",\"pipeline\":\"p\",\"stauts\":\"ready\"}",
    ] {
        let answer = shell.run_with(["import"], text);
        assert_eq!(answer.code, 3, "{answer:?}");
        assert!(!answer.words.contains("hint: "), "{answer:?}");
    }
}

#[test]
fn corrected_rejects_of_an_export_are_the_samples_that_they_were() {
    let shell = Shell::with_six();
    let file = shell.path("all.csv");
    let file = file.to_str().unwrap();
    shell.data(["export", file]);
    let text = fs::read_to_string(file).unwrap();
    fs::write(file, text.replace(",dlq,", ",dql,")).unwrap();
    let rejects = shell.path("rejects");
    let other = shell.path("other.db");
    let other = ["-d", other.to_str().unwrap()];
    let words = ["import", file, "--rejects", rejects.to_str().unwrap()];
    assert_eq!(shell.run([&other[..], &words].concat()).code, 3);
    let found = fields(&fs::read_to_string(&rejects).unwrap());
    assert_eq!(found[0]["data"], json!({"n": 5, "word": "w5"}));
    assert_eq!(found[0]["reason"]["attempts"], 3);
    let corrected = found[0].to_string().replace("dql", "dlq");
    let done = shell.run_with([&other[..], &["import", "-"]].concat(), &corrected);
    assert_eq!(done.code, 0, "{done:?}");
    let all = shell.data([&other[..], &["export"]].concat());
    assert_eq!(all, shell.data(["export"]));
}
