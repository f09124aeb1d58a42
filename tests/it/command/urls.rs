//! Storages by URL: `--db`, and `copy` from one into another.

use super::{Shell, six};

#[test]
fn a_copy_into_another_file_is_equal() {
    let shell = Shell::with_six();
    let (from, to) = (shell.db(), shell.path("other.redb"));
    let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
    let answer = shell.run(["copy", from, to, "--verify"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(answer.data, "");
    let words = "copied 6 samples: 6 inserted, 0 replaced; the target has 6; 6 equal, 0 missing, 0 different in";
    assert!(answer.words.starts_with(words), "{answer:?}");
    assert_eq!(shell.data(["-d", to, "list"]), shell.data(["list"]));

    let answer = shell.run(["copy", from, to, "--pipeline", "odd"]);
    assert!(
        answer
            .words
            .starts_with("copied 3 samples: 0 inserted, 3 replaced; the target has 3 in"),
        "{answer:?}"
    );
    assert_eq!(shell.data(["-d", &format!("redb:{to}"), "count"]), "6\n");
}

#[test]
fn a_copy_that_makes_no_sense_is_refused() {
    let shell = Shell::with_six();
    let from = shell.db();
    let from = from.to_str().unwrap();
    for (words, code, told) in [
        (vec!["copy", from, from], 2, "SRC and DST are the same"),
        (
            vec!["copy", from, &format!("redb:{from}")],
            2,
            "SRC and DST are the same",
        ),
        (vec!["copy", from], 2, "<DST>"),
        (vec!["copy", from, "memroy:"], 2, "did you mean memory:?"),
        (vec!["copy", "nowhere.redb", "memory:"], 1, "not found"),
        (
            vec!["copy", from, "memory:", "--statu", "ready"],
            2,
            "--status",
        ),
    ] {
        let answer = shell.run(words.iter().copied());
        assert_eq!(answer.code, code, "{words:?}: {answer:?}");
        assert!(answer.words.contains(told), "{words:?}: {answer:?}");
        assert_eq!(answer.data, "");
    }
}

#[cfg(feature = "files")]
#[test]
fn a_folder_is_not_copied_onto_itself() {
    let shell = Shell::with_six();
    let folder = shell.path("folder");
    let db = shell.db();
    let (plain, roundabout) = (
        format!("file:{}", folder.display()),
        format!("file://{}/.", folder.display()),
    );
    shell.data(["copy", db.to_str().unwrap(), &plain]);
    let answer = shell.run(["copy", &plain, &roundabout]);
    assert_eq!(answer.code, 2, "{answer:?}");
    assert!(
        answer.words.contains("SRC and DST are the same"),
        "{answer:?}"
    );
}

#[test]
fn what_is_stored_in_memory_is_told_to_be_gone() {
    let shell = Shell::new();
    let answer = shell.run_with(["-d", "memory:", "import", "-"], &six());
    assert_eq!(answer.code, 0, "{answer:?}");
    let told = "what is stored in memory: is gone when this ends\n";
    assert!(answer.words.starts_with(told), "{answer:?}");
}

/// There is no broker at this address, and none is looked for.
#[cfg(feature = "kafka")]
#[test]
fn nothing_is_read_from_a_stream() {
    let shell = Shell::new();
    for words in [&["list"][..], &["count"], &["export"], &["tail"]] {
        let words = [&["-d", "kafka://127.0.0.1:1/topic"], words].concat();
        let answer = shell.run(words.iter().copied());
        assert_eq!(answer.code, 1, "{answer:?}");
        let told = "error: from kafka: nothing is read here\n hint: samplestore copy writes into a topic\n";
        assert_eq!(answer.words, told);
    }
}

#[cfg(feature = "kafka")]
#[test]
fn a_stream_cannot_be_verified() {
    let Some(broker) = crate::servers::kafka::shared() else {
        return;
    };
    let shell = Shell::with_six();
    let url = format!("kafka://{}/{}", broker.servers(), broker.topic());
    let db = shell.db();
    let answer = shell.run(["copy", db.to_str().unwrap(), &url, "--verify"]);
    assert_eq!(answer.code, 2, "{answer:?}");
    assert!(
        answer.words.contains("--verify reads the target"),
        "{answer:?}"
    );
    let copied = shell.run(["copy", db.to_str().unwrap(), &url]);
    assert_eq!(copied.code, 0, "{copied:?}");
}

#[cfg(feature = "files")]
#[test]
fn a_copy_of_what_is_damaged_hints_at_nothing_that_refuses() {
    let shell = Shell::with_six();
    let (folder, db) = (shell.path("f"), shell.db());
    let (url, db) = (format!("file:{}", folder.display()), db.to_str().unwrap());
    shell.data(["copy", db, &url]);
    std::fs::write(folder.join("samples/a.json"), "{").unwrap();
    let answer = shell.run(["copy", &url, "memory:"]);
    assert_eq!(answer.code, 5, "{answer:?}");
    assert!(!answer.words.contains("hint"), "{answer:?}");
    let answer = shell.run(["copy", &url, db]);
    assert_eq!(answer.code, 5, "{answer:?}");
    let hint = format!("hint: samplestore -d {db} check says whether it is that file\n");
    assert!(answer.words.ends_with(&hint), "{answer:?}");
    std::fs::write(folder.join("samplestore.json"), "{").unwrap();
    let answer = shell.run(["copy", &url, db]);
    assert_eq!(answer.code, 5, "{answer:?}");
    assert!(!answer.words.contains("hint"), "{answer:?}");
}

#[cfg(feature = "files")]
#[test]
fn a_folder_that_lost_its_mark_is_not_called_empty() {
    let shell = Shell::new();
    let folder = shell.path("f");
    let url = format!("file:{}", folder.display());
    assert_eq!(shell.run_with(["-d", &url, "import"], &six()).code, 0);
    std::fs::remove_file(folder.join("samplestore.json")).unwrap();
    let answer = shell.run(["-d", &url, "count"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(
        answer.words.contains("though samples are there"),
        "{answer:?}"
    );
    assert_eq!(shell.run_with(["-d", &url, "import"], &six()).code, 0);
    assert_eq!(shell.data(["-d", &url, "count"]), "6\n");
}

/// Verbs that take a database file alone say so, and what else there is.
#[test]
fn verbs_that_need_a_file_say_so() {
    let shell = Shell::new();
    let chapter = include_str!("../../../src/docs/backends.md");
    let row = chapter
        .lines()
        .find(|line| line.ends_with("| a database file alone |"));
    let row = row.unwrap().replace("tail --follow", "tail");
    let verbs: Vec<_> = row.split('`').skip(1).step_by(2).collect();
    assert_eq!(verbs.len(), 10, "{verbs:?}");
    let target = shell.path("target");
    for verb in verbs {
        let words = match verb {
            "tail" => vec!["tail", "--follow"],
            "prune" => vec!["prune", "--older-than", "30d", "--yes"],
            "index" => vec!["index", "list"],
            "backup" | "salvage" => vec![verb, target.to_str().unwrap()],
            verb => vec![verb],
        };
        let answer = shell.run([&["-d", "memory:"][..], &words].concat());
        assert_eq!(answer.code, 2, "{answer:?}");
        let said = "this needs a database file, and memory: is none";
        assert!(answer.words.contains(said), "{answer:?}");
        assert_eq!(
            answer.words.contains("rm --before"),
            verb == "prune",
            "{answer:?}"
        );
        let help = shell.data([verb, "--help"]).replace('\n', " ");
        assert!(help.contains("for a database file"), "{help}");
    }
}

#[test]
fn copy_tells_of_no_flag_that_it_refuses() {
    let shell = Shell::new();
    let help = shell.data(["copy", "--help"]);
    assert!(!help.contains("--db") && help.contains("--wait"), "{help}");
    let page = shell.data(["man", "copy"]);
    assert!(!page.contains("\\-\\-db"), "{page}");
    let completions = shell.data(["completions", "bash"]);
    let flags = |verb: &str| {
        let part = completions
            .split(&format!("samplestore__subcmd__{verb})"))
            .nth(1);
        let part = part.unwrap_or_else(|| panic!("{completions}"));
        part.lines()
            .find(|line| line.contains("opts="))
            .unwrap()
            .to_owned()
    };
    assert!(!flags("copy").contains("--db"), "{}", flags("copy"));
    for verb in ["list", "dlq__subcmd__retry"] {
        assert!(flags(verb).contains("--db"), "{}", flags(verb));
    }
}

#[cfg(not(feature = "s3"))]
#[test]
fn a_scheme_that_is_off_names_its_feature() {
    let answer = Shell::new().run(["-d", "s3://bucket/prefix", "count"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(
        answer.words.contains("build with --features s3"),
        "{answer:?}"
    );
}

#[cfg(all(feature = "files", unix))]
#[test]
fn a_copy_shows_how_far_it_is() {
    use super::terminal::{ended, on_terminal};

    let shell = Shell::new();
    let answer = shell.run_with(["import", "-"], &many(5_000));
    assert_eq!(answer.code, 0, "{answer:?}");
    let (db, url) = (shell.db(), format!("file:{}", shell.path("f").display()));
    let words = ["copy", db.to_str().unwrap(), &url];
    let (text, code) = ended(&mut on_terminal(&shell, &words));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("/5,000 samples"), "{text}");
    assert!(text.contains("copied 5,000 samples"), "{text}");
    let quiet = [&words[..], &["-q"]].concat();
    let (text, code) = ended(&mut on_terminal(&shell, &quiet));
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains("/5,000 samples"), "{text}");
}

/// Samples of one instant in their text form, so that only the order of storing tells them apart.
#[cfg(feature = "files")]
fn many(count: usize) -> String {
    let line = |number| {
        format!(
            r#"{{"id":"s-{number}","pipeline":"p","created_at":"2013-06-01T00:00:00Z"}}{}"#,
            '\n'
        )
    };
    (0..count).map(line).collect()
}

#[cfg(feature = "files")]
#[test]
fn a_copy_that_was_killed_is_whole_when_it_is_run_again() {
    use std::process::{Command, Stdio};

    let shell = Shell::new();
    let answer = shell.run_with(["import", "-"], &many(5_000));
    assert_eq!(answer.code, 0, "{answer:?}");
    let (db, folder) = (shell.db(), shell.path("folder"));
    let url = format!("file:{}", folder.display());
    let words = ["copy", db.to_str().unwrap(), &url, "--verify"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_samplestore"))
        .args(words)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let written = || {
        let samples = std::fs::read_dir(folder.join("samples"));
        samples.map_or(0, Iterator::count)
    };
    while written() < 1_500 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before it was killed"
        );
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let left = written();
    assert!(left < 5_000, "{left}");

    let answer = shell.run(words);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(
        answer.words.contains("5,000 equal, 0 missing, 0 different"),
        "{answer:?}"
    );
    assert_eq!(shell.data(["-d", &url, "list"]), shell.data(["list"]));
}

#[cfg(feature = "s3")]
#[test]
fn keys_for_s3_come_from_the_environment_or_a_profile() {
    let Some(server) = crate::servers::s3::shared() else {
        return;
    };
    let shell = Shell::new();
    let url = server.url();
    let (url, _) = url.split_once('?').unwrap();
    let nothing = shell.file("nothing", "");
    let file = shell.file(
        "keys",
        "[work]\naws_access_key_id = tests\naws_secret_access_key = of-no-value\n",
    );
    let run = |variables: &[(&str, &str)]| {
        let mut command = shell.command();
        command.args(["-d", url, "import", "-"]).write_stdin(six());
        command.env("AWS_ENDPOINT_URL", server.endpoint());
        for variable in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"] {
            command.env_remove(variable);
        }
        command
            .env("HOME", shell.path(""))
            .env("USERPROFILE", shell.path(""))
            .env("AWS_CONFIG_FILE", &nothing)
            .env("AWS_SHARED_CREDENTIALS_FILE", &nothing);
        command.envs(variables.iter().copied());
        super::answer(&mut command)
    };
    let keys = [
        ("AWS_ACCESS_KEY_ID", "tests"),
        ("AWS_SECRET_ACCESS_KEY", "of-no-value"),
    ];
    let profile = [
        ("AWS_PROFILE", "work"),
        ("AWS_SHARED_CREDENTIALS_FILE", file.as_str()),
    ];
    let answer = run(&keys);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(
        answer.words.starts_with("inserted 6, replaced 0"),
        "{answer:?}"
    );
    let answer = run(&profile);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(
        answer.words.starts_with("inserted 0, replaced 6"),
        "{answer:?}"
    );
    // What is set to nothing is not set: the files are where they always are.
    std::fs::create_dir(shell.path(".aws")).unwrap();
    std::fs::copy(&file, shell.path(".aws/credentials")).unwrap();
    let at_home = [
        ("AWS_PROFILE", "work"),
        ("AWS_SHARED_CREDENTIALS_FILE", ""),
        ("AWS_CONFIG_FILE", ""),
    ];
    let answer = run(&at_home);
    assert_eq!(answer.code, 0, "{answer:?}");
    // Who has keys in the environment has what else a profile says from there.
    let config = format!("[default]\nendpoint_url = {}\n", server.endpoint());
    let config = shell.file("config", config);
    let endpoint = [("AWS_ENDPOINT_URL", ""), ("AWS_CONFIG_FILE", &config)];
    let answer = run(&[keys, endpoint].concat());
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(
        answer.words.starts_with("inserted 0, replaced 6"),
        "{answer:?}"
    );
}

/// A machine of Amazon's cloud that has no role says 404, as a bucket does that is not there.
#[cfg(feature = "s3")]
#[test]
fn a_machine_without_a_role_is_no_missing_bucket() {
    use std::io::{Read, Write};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    // It ends with the process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let answer = "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let shell = Shell::new();
    let nothing = shell.file("nothing", "");
    let schemes: &[&str] = match cfg!(feature = "delta") {
        true => &["s3", "delta+s3"],
        false => &["s3"],
    };
    for scheme in schemes {
        let url = format!("{scheme}://bucket/prefix");
        let mut command = shell.command();
        command.args(["-d", &url, "count"]);
        for variable in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"] {
            command.env_remove(variable);
        }
        command
            .env("AWS_CONFIG_FILE", &nothing)
            .env("AWS_SHARED_CREDENTIALS_FILE", &nothing)
            .env("AWS_METADATA_ENDPOINT", &endpoint);
        let answer = super::answer(&mut command);
        assert_eq!(answer.code, 1, "{answer:?}");
        assert!(
            !answer.words.contains("bucket,") && !answer.words.contains("no such bucket"),
            "{answer:?}"
        );
        let is_told = answer.words.contains("by a role of the machine");
        assert!(is_told || *scheme != "s3", "{answer:?}");
    }
}

#[cfg(feature = "azure")]
#[test]
fn a_token_for_azure_that_fits_into_no_request_is_named() {
    let shell = Shell::new();
    let url = "az://container/prefix?account=a&endpoint=http://127.0.0.1:1";
    let mut command = shell.command();
    command.args(["-d", url, "count"]);
    command.env("AZURE_STORAGE_TOKEN", "hush\n");
    let answer = super::answer(&mut command);
    assert_eq!(answer.code, 2, "{answer:?}");
    assert!(answer.words.contains("AZURE_STORAGE_TOKEN"), "{answer:?}");
    assert!(
        !answer.words.contains("hush") && !answer.words.contains("panicked"),
        "{answer:?}"
    );
}
