//! Every example of every verb's help, and those of the README, run on a terminal as they stand there. Each must end well.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rexpect::session::spawn_command;
use tempfile::TempDir;

use super::terminal::ended;
use super::{Shell, answer, bare, weather};

/// No line of an example is longer, so that it stands whole on a terminal of 80 columns.
const COLUMNS: usize = 80;
/// An example about a bucket, which is made before it, with some samples in it.
const OF_BUCKET: &str = "copy s3://bucket/weather weather.redb";
/// An example about a table, which is made before it.
const OF_TABLE: &str = "-d delta+file:weather compact";

/// The words of every verb, with those of the verbs within it.
fn verbs() -> Vec<Vec<String>> {
    let listed = |words: &[String]| -> Vec<String> {
        let words = words.iter().map(String::as_str);
        let help = answer(bare().args(words.chain(["--help"]))).data;
        let Some((_, list)) = help.split_once("\nCommands:\n") else {
            return Vec::new();
        };
        let lines = list.lines().take_while(|line| !line.is_empty());
        let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        let names = names.filter_map(|line| line.split_whitespace().next());
        names
            .filter(|name| *name != "help")
            .map(str::to_owned)
            .collect()
    };
    let mut verbs = Vec::new();
    for verb in listed(&[]) {
        let inner = listed(std::slice::from_ref(&verb));
        verbs.push(vec![verb.clone()]);
        verbs.extend(inner.into_iter().map(|inner| vec![verb.clone(), inner]));
    }
    verbs
}

/// The examples in the help of a verb, each with all of its lines.
fn examples(verb: &[String]) -> Vec<String> {
    let words = verb.iter().map(String::as_str);
    let help = answer(bare().args(words.chain(["--help"]))).data;
    let (_, text) = help
        .split_once("\nExamples:\n")
        .unwrap_or_else(|| panic!("{verb:?}"));
    let mut examples = Vec::<String>::new();
    let mut goes_on = false;
    for line in text.lines().take_while(|line| line.starts_with("  ")) {
        assert!(line.chars().count() <= COLUMNS, "{verb:?} {line}");
        match examples.last_mut().filter(|_| goes_on) {
            Some(example) => example.push_str(&format!("\n{line}")),
            None => examples.push(line.trim().to_owned()),
        }
        goes_on = line.ends_with('\\');
    }
    examples
}

/// A folder with all that the examples name.
fn prepared() -> TempDir {
    let shell = Shell::new();
    let weather = weather();
    // Two days of each month are enough.
    let is_wanted = |line: &str| {
        let day = line.split(',').nth(3).map(str::parse::<u8>);
        day.is_some_and(|day| day.is_ok_and(|day| day <= 2))
    };
    let rows = weather.lines().enumerate();
    let rows = rows.filter(|(number, line)| *number == 0 || is_wanted(line));
    let rows: String = rows.map(|(_, line)| format!("{line}\n")).collect();
    let csv = shell.file("nyc-weather.csv", rows);
    let db = shell.path("weather.db");
    let db = db.to_str().unwrap();
    let run = |words: &[&str], input: &str| {
        let done = shell.run_with([&["-d", db], words].concat(), input);
        assert_eq!(done.code, 0, "{words:?} {done:?}");
    };
    let words = "--id-field origin --id-field time_hour --pipeline-field origin \
                 --created-at-field time_hour --null NA --measurement temp";
    let words: Vec<_> = ["import", &csv]
        .into_iter()
        .chain(words.split(' '))
        .collect();
    run(&words, "");
    run(
        &["mark", "measured", "--all", "--before", "2013-07", "--yes"],
        "",
    );
    let failed: String = (0..3).fold(String::new(), |text, n| {
        let message = format!("reading {n} has no wind_dir");
        let reason = format!(
            r#"{{"stage":"check","message":"{message}","attempts":1,"at":"2014-01-05T09:00:00Z"}}"#
        );
        format!("{text}{{\"id\":\"f{n}\",\"pipeline\":\"JFK\",\"status\":\"dlq\",\"reason\":{reason}}}\n")
    });
    run(&["import"], &failed);
    for id in ["a", "b", "c"] {
        run(
            &[
                "put",
                "--pipeline",
                "scratch",
                "--id",
                id,
                "--data",
                "wind speed=1",
            ],
            "",
        );
    }
    run(&["index", "add", "measurements.temp"], "");
    for copy in [
        "a.db",
        "b.db",
        "a.redb",
        "b.redb",
        "weather.redb",
        "damaged.db",
    ] {
        fs::copy(db, shell.path(copy)).unwrap();
    }
    shell.file("events.json", r#"[{"n":1},{"n":2}]"#);
    run(&["backup", shell.path("nightly.db").to_str().unwrap()], "");
    shell.file("rejects.jsonl", "");
    shell.into_folder()
}

fn copied(folder: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    for made in [
        ".local/share/bash-completion/completions",
        ".zfunc",
        ".config/fish/completions",
        "bin",
    ] {
        fs::create_dir_all(copy.path().join(made)).unwrap();
    }
    // Not every machine has one, and this one would wait for a key.
    let man = copy.path().join("bin/man");
    fs::write(&man, "#!/bin/sh\ncat > /dev/null\n").unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&man, fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

/// Runs a script on a terminal, where whatever asks is answered yes and what goes on for ever is ended.
fn run(folder: &Path, script: &str) {
    let bin = Path::new(env!("CARGO_BIN_EXE_samplestore"))
        .parent()
        .unwrap();
    let path = std::env::var("PATH").unwrap();
    let signals = match cfg!(target_os = "linux") {
        true => "env --default-signal=INT ",
        false => "",
    };
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            &format!("stty cols 100 rows 24; exec {signals}bash -o pipefail -e -c \"$0\""),
            script,
        ])
        .current_dir(folder)
        .env("HOME", folder)
        .env(
            "PATH",
            format!("{}:{}:{path}", folder.join("bin").display(), bin.display()),
        )
        .env_remove("SAMPLESTORE_DB");
    let mut session = spawn_command(command, Some(120_000)).unwrap();
    let follows = script.contains("--follow");
    if follows {
        thread::sleep(Duration::from_millis(1_000));
        session.send_control('c').unwrap();
    } else {
        session.send_line("y").unwrap();
    }
    let (text, code) = ended(&mut session);
    assert!(
        code == 0 || follows && code == 130,
        "{script}\nended with {code} and said\n{text}"
    );
}

#[test]
fn every_example_of_every_verb_runs() {
    let verbs = verbs();
    assert!(verbs.len() > 30, "{verbs:?}");
    let prepared = prepared();
    let (mut count, mut tables, mut buckets) = (0, 0, 0);
    for verb in &verbs {
        let examples = examples(verb);
        assert!(!examples.is_empty(), "{verb:?}");
        for example in examples {
            let words = example.strip_prefix("samplestore ").unwrap_or(&example);
            if words.starts_with(OF_BUCKET) {
                #[cfg(feature = "s3")]
                run_on_bucket(copied(prepared.path()).path(), &example);
                buckets += 1;
                continue;
            }
            if words == OF_TABLE {
                if cfg!(feature = "delta") {
                    let made = "samplestore copy weather.db delta+file:weather";
                    run(
                        copied(prepared.path()).path(),
                        &format!("{made}\n{example}"),
                    );
                }
                tables += 1;
                continue;
            }
            #[cfg(not(feature = "files"))]
            if words.contains(" file:") {
                continue;
            }
            #[cfg(not(feature = "arrow"))]
            if words.contains(".parquet") {
                continue;
            }
            run(copied(prepared.path()).path(), &example);
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
    assert_eq!((tables, buckets), (1, 1));
}

/// Runs an example that reads from a bucket, on a server of the tests.
#[cfg(feature = "s3")]
fn run_on_bucket(folder: &Path, example: &str) {
    let Some(server) = crate::servers::s3::shared() else {
        return;
    };
    let made = server.request("PUT", "/bucket");
    assert!(made.starts_with("HTTP/1.1 200"), "{made}");
    let endpoint = server.endpoint();
    run(
        folder,
        &format!(
            "export AWS_ENDPOINT_URL={endpoint} AWS_ACCESS_KEY_ID=tests AWS_SECRET_ACCESS_KEY=none\n\
             samplestore copy weather.db s3://bucket/weather --pipeline JFK --limit 20\n\
             samplestore -d s3://bucket/weather put --pipeline JFK --id of-today\n\
             {example}\nsamplestore -d weather.redb get of-today"
        ),
    );
}

/// The commands of the README's chapter about the command line, behind the one that installs it.
fn of_readme() -> Vec<String> {
    let readme = include_str!("../../../README.md");
    let (_, chapter) = readme.split_once("## The command line\n").unwrap();
    let (_, block) = chapter.split_once("```sh\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let mut commands = Vec::<String>::new();
    let mut goes_on = false;
    for line in block.lines() {
        match commands.last_mut().filter(|_| goes_on) {
            Some(command) => command.push_str(&format!("\n{line}")),
            None => commands.push(line.to_owned()),
        }
        goes_on = line.ends_with('\\');
    }
    assert!(commands[0].starts_with("cargo install "));
    commands.split_off(1)
}

#[test]
fn the_story_of_the_readme_gives_something() {
    let shell = Shell::new();
    let folder: PathBuf = shell.path(".");
    fs::create_dir_all(folder.join("examples/data")).unwrap();
    fs::write(folder.join("examples/data/nyc-weather.csv"), weather()).unwrap();
    let commands = of_readme();
    let named = commands
        .iter()
        .find(|command| command.starts_with("export "))
        .unwrap();
    for command in &commands {
        #[cfg(not(feature = "files"))]
        if command.contains(" file:") {
            continue;
        }
        run(&folder, &format!("{named}\n{command}"));
    }
    let exported = fs::read_to_string(folder.join("ready.csv")).unwrap();
    assert!(
        exported.lines().count() > 100,
        "{}",
        exported.lines().count()
    );
    assert!(
        exported
            .lines()
            .next()
            .unwrap()
            .contains("measurements.temp")
    );
}
