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

/// What becomes of rows whose status is misspelt, by their rejects and by the file itself when both are corrected.
fn corrected_both_ways(csv: &str, flags: &[&str]) -> [String; 2] {
    let shell = Shell::new();
    let rejects = shell.path("rejects");
    let file = shell.file("a.csv", csv);
    let words = ["import", &file, "--rejects", rejects.to_str().unwrap()];
    let refused = shell.run([&words, flags].concat());
    assert_eq!(refused.code, 3, "{refused:?}");
    let found = fields(&fs::read_to_string(&rejects).unwrap());
    let corrected = found.iter().map(|record| format!("{record}\n"));
    let corrected = corrected.collect::<String>().replace("reday", "ready");
    let done = shell.run_with([&["import", "-"], flags].concat(), &corrected);
    assert_eq!(done.code, 0, "{done:?}");

    let other = Shell::new();
    let file = other.file("a.csv", csv.replace("reday", "ready"));
    let done = other.run([&["import", &file], flags].concat());
    assert_eq!(done.code, 0, "{done:?}");
    [shell, other].map(|shell| shell.data(["export"]))
}

/// Ids that are other texts when they are taken for numbers or bools.
const IDS: [&str; 9] = [
    "1.10",
    "12345e67",
    "1234567890123456789",
    "18446744073709551615",
    "True",
    "-0",
    "1e3",
    "0012",
    "7",
];

#[test]
fn corrected_rejects_keep_their_ids_and_leave_those_of_others() {
    let mut csv = "id,pipe,state,at,n,code\n".to_owned();
    for (minute, id) in IDS.iter().enumerate() {
        csv.push_str(&format!(
            "{id},1.0,reday,2013-06-01T12:{minute:02}:00Z,-999,{id}\n"
        ));
    }
    // Others have the ids that these would have as numbers and bools.
    for (minute, id) in ["1.1", "true", "1000.0", "12", "-0.0"].iter().enumerate() {
        csv.push_str(&format!("{id},1,ready,2013-06-02T12:{minute:02}:00Z,5,x\n"));
    }
    let flags = [
        "--id-field",
        "id",
        "--pipeline-field",
        "pipe",
        "--status-field",
        "state",
        "--created-at-field",
        "at",
        "--measurement",
        "n",
        "--null=-999",
    ];
    let [by_rejects, by_file] = corrected_both_ways(&csv, &flags);
    assert_eq!(by_rejects, by_file);
    assert_eq!(by_file.lines().count(), IDS.len() + 5);
    assert!(!by_file.contains("999"), "{by_file}");
}

/// The parts of a joined id are data, too: the id is kept, and of the data all but the types that a text in JSON cannot have.
#[test]
fn corrected_rejects_keep_ids_that_are_joined() {
    let mut csv = "user,session,state,at\n".to_owned();
    for id in IDS {
        csv.push_str(&format!("u,{id},reday,2013-06-01T12:00:00Z\n"));
    }
    let flags = [
        "--pipeline",
        "p",
        "--id-field",
        "user",
        "--id-field",
        "session",
        "--status-field",
        "state",
        "--created-at-field",
        "at",
    ];
    let samples = corrected_both_ways(&csv, &flags).map(|exported| -> Vec<Json> {
        let lines = exported.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    });
    let ids = |samples: &[Json]| -> Vec<Json> {
        let ids = samples.iter().map(|sample| sample["id"].clone());
        ids.collect()
    };
    assert_eq!(ids(&samples[0]), ids(&samples[1]));
    assert_eq!(samples[0].len(), IDS.len());
    assert_eq!(samples[0].last().unwrap()["data"]["session"], 7);
}

/// The words of the help about rejects are run as they stand there.
#[cfg(unix)]
#[test]
fn the_recipe_for_rejects_is_true() {
    let help = super::answer(super::bare().args(["import", "--help"])).data;
    let words: Vec<_> = help.split_whitespace().collect();
    let help = words.join(" ");
    let (_, recipe) = help.split_once("are imported by ").unwrap();
    let (recipe, _) = recipe.split_once(" with the same flags").unwrap();

    let shell = Shell::new();
    let csv = "id;state;n\n1.10;reday;1\n2;ready\n3;ready;1\n";
    let lines = shell.file("a.jsonl", "{\"id\":4,\"state\":\"reday\"}\n{\n");
    let mut kept = String::new();
    for words in [
        &["import", "-", "--format", "csv", "--delimiter", ";"][..],
        &["import", &lines],
    ] {
        let rejects = shell.path("rejects.jsonl");
        let told = ["--overwrite", "--rejects", rejects.to_str().unwrap()];
        let answer = shell.run_with([words, &told, &FLAGS].concat(), csv);
        assert_eq!(answer.code, 3, "{answer:?}");
        kept.push_str(&fs::read_to_string(&rejects).unwrap());
    }
    for name in ["fields", "cells", "text"] {
        assert!(kept.contains(&format!("\"{name}\":")), "{name}: {kept}");
    }
    shell.file("rejects.jsonl", kept.replace("reday", "ready"));
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_samplestore"));
    let path = std::env::var("PATH").unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", &format!("{recipe} \"$@\""), "sh"])
        .args(FLAGS)
        .current_dir(shell.path("."))
        .env(
            "PATH",
            format!("{}:{path}", bin.parent().unwrap().display()),
        )
        .env("SAMPLESTORE_DB", shell.db())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let ids = shell.data(["list", "-f", "csv"]);
    let mut ids: Vec<_> = ids
        .lines()
        .skip(1)
        .map(|row| row.split(',').next())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, ["1.10", "3", "4"].map(Some));
}
